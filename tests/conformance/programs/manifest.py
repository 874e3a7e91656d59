#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Describes a tree completely, one line per name: manifest.py DIRECTORY."""
import hashlib
import os
import stat
import sys


def content(path, info):
    if stat.S_ISLNK(info.st_mode):
        return "-> " + repr(os.readlink(os.fsencode(path)))
    if not stat.S_ISREG(info.st_mode):
        return "-"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def attributes(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    values = (os.getxattr(path, name, follow_symlinks=False) for name in names)
    return ["%s=%s" % (name, hashlib.sha256(value).hexdigest()[:8]) for name, value in zip(names, values)]


def main(top):
    links = {}
    paths = [top]
    for path, names, files in os.walk(top):
        paths += [os.path.join(path, name) for name in names + files]
    for path in sorted(paths):
        info = os.lstat(path)
        is_dir = stat.S_ISDIR(info.st_mode)
        fields = [
            repr(os.path.relpath(os.fsencode(path), os.fsencode(top))),
            stat.filemode(info.st_mode),
            "%d:%d" % (info.st_uid, info.st_gid),
            "-" if is_dir else "nlink=%d size=%d" % (info.st_nlink, info.st_size),
            "mtime=%d" % info.st_mtime_ns,
            "rdev=%d" % info.st_rdev,
            content(path, info),
        ] + attributes(path)
        if info.st_nlink > 1 and not is_dir:
            fields.append("group=%d" % links.setdefault(info.st_ino, len(links)))
        print(*fields)


main(sys.argv[1])
