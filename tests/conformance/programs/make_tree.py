#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the same rich tree each time: make_tree.py DIRECTORY (which must not exist)."""
import os
import random
import struct
import sys

USER, GROUP = 50001, 50010


def acl(entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
ACCESS = acl([(1, 7, NOBODY), (2, 5, USER), (4, 5, NOBODY), (16, 5, NOBODY), (32, 4, NOBODY)])
DEFAULT = acl([(1, 7, NOBODY), (4, 7, NOBODY), (8, 7, GROUP), (16, 7, NOBODY), (32, 0, NOBODY)])


def write(path, data, mode=0o644):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def main(top):
    rng = random.Random(1)
    os.mkdir(top)
    for number in range(20):
        directory = os.path.join(top, "dir%d" % number, "sub")
        os.makedirs(directory)
        for name in range(15):
            size = rng.choice([0, 1, 100, 4095, 4096, 4097, 20000, 70000])
            write(os.path.join(directory, "file%d" % name), rng.randbytes(size))
    at = lambda name: os.path.join(top, name)
    write(at("script"), b"#!/bin/sh\necho ok\n", 0o755)
    write(at("nobody may"), b"secret", 0o000)
    write(at("new\nline and \xc3\xa4 \xff".encode("latin1").decode("utf8", "surrogateescape")), b"x")
    write(at("n" * 255), b"long")
    write(at("setid"), b"x", 0o755)
    os.link(at("script"), at("dir1/hard link"))
    os.link(at("script"), at("dir2/another"))
    os.symlink("script", at("link"))
    os.symlink("/nowhere/at/all", at("dangling"))
    os.symlink("t" * 4000, at("long link"))
    os.mkfifo(at("fifo"))
    os.mkdir(at("empty"))
    os.mkdir(at("sticky"))
    os.chmod(at("sticky"), 0o1777)
    with open(at("sparse"), "wb") as file:
        for block in (0, 40, 41, 900):
            file.seek(block * 4096)
            file.write(b"data" * 1024)
        file.truncate(8 << 20)
    write(at("xattrs"), b"x")
    os.setxattr(at("xattrs"), "user.short", b"1")
    os.setxattr(at("xattrs"), "user.long", b"v" * 1500)
    os.setxattr(at("dir3"), "user.of a directory", b"yes")
    os.setxattr(at("dir4/sub/file1"), "system.posix_acl_access", ACCESS)
    os.setxattr(at("dir5"), "system.posix_acl_default", DEFAULT)
    if os.geteuid() == 0:
        os.mknod(at("null"), 0o20666, os.makedev(1, 3))
        os.setxattr(at("xattrs"), "trusted.t", b"2")
        os.lchown(at("link"), USER, GROUP)
        os.chown(at("setid"), USER, GROUP)
        for name in range(5):
            os.chown(at("dir6/sub/file%d" % name), USER, GROUP)
    os.chmod(at("setid"), 0o6755)
    # Children before parents, or their creation would move the parents' times.
    for number, (path, names, files) in enumerate(os.walk(top, topdown=False)):
        for name in sorted(files) + sorted(names) + ["."]:
            stamp = (1_000_000_000 + number) * 10**9 + 123_456_789
            os.utime(os.path.join(path, name), ns=(stamp, stamp + 1), follow_symlinks=False)


main(sys.argv[1])
