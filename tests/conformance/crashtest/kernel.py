# SPDX-License-Identifier: Apache-2.0
"""System calls that Python lacks. They raise OSError."""
import ctypes
import fcntl
import os
import struct

NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
OFD_SETLK, OFD_SETLKW = 37, 38
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
MS_REMOUNT, MNT_FORCE = 32, 1
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def renameat2(old, new, flags):
    check(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def link_open_file(fd, path):
    """Gives a name to an open file. (os.link() does not follow /proc/self/fd.)"""
    check(libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(path),
                      AT_SYMLINK_FOLLOW))


def fallocate(fd, mode, offset, length):
    check(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def getdents(fd, size):
    """[(name, cookie of the entry behind it)], empty at the end."""
    buffer = ctypes.create_string_buffer(size)
    length = check(libc.getdents64(fd, buffer, ctypes.c_size_t(size)))
    entries, at = [], 0
    while at < length:
        _, cookie, entry_length = struct.unpack_from("<QqH", buffer, at)
        name = buffer.raw[at + 19:at + entry_length].split(b"\0", 1)[0]
        entries.append((os.fsdecode(name), cookie))
        at += entry_length
    return entries


def record_lock(fd, command, kind, start, length):
    """fcntl() with a struct flock; kind F_RDLCK, F_WRLCK or F_UNLCK. Returns (kind, pid)."""
    asked = struct.pack("<hh4xqqi4x", kind, os.SEEK_SET, start, length, 0)
    found, _, _, _, pid = struct.unpack("<hh4xqqi4x", fcntl.fcntl(fd, command, asked))
    return found, pid


def forget_unused_names(mountpoint):
    """Makes the kernel forget the names and inodes of this one mount that nobody uses."""
    check(libc.mount(None, os.fsencode(mountpoint), None, ctypes.c_ulong(MS_REMOUNT), None))


def end_connection(mountpoint):
    """Makes all calls on a FUSE mount fail, from now on. It may stay mounted, if it is in use."""
    libc.umount2(os.fsencode(mountpoint), MNT_FORCE)


def become(user):
    """This process goes on as somebody who is not root, with its own /proc/self."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))


def die_with_parent(signal_number):
    check(libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0))
