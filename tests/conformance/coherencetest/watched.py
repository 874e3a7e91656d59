# SPDX-License-Identifier: Apache-2.0
"""Whether this kernel lets this user watch a file system, as `cache=coherent` must."""
import ctypes
import os

from crashtest import kernel

CLASS_NOTIF, CLOEXEC, UNLIMITED_QUEUE = 0, 1, 0x10
REPORT_DFID_NAME_TARGET = 0x200 | 0x400 | 0x800 | 0x1000
MARK_ADD, MARK_FILESYSTEM = 1, 0x100
CREATE = 0x100


def can_watch(directory):
    """Returns why not, or nothing."""
    try:
        fd = kernel.check(kernel.libc.fanotify_init(
            CLASS_NOTIF | CLOEXEC | UNLIMITED_QUEUE | REPORT_DFID_NAME_TARGET, os.O_RDONLY))
    except OSError as error:
        return f"fanotify_init: {error.strerror}"
    try:
        kernel.check(kernel.libc.fanotify_mark(fd, MARK_ADD | MARK_FILESYSTEM,
                                               ctypes.c_uint64(CREATE), kernel.AT_FDCWD,
                                               os.fsencode(directory)))
    except OSError as error:
        return f"fanotify_mark: {error.strerror}"
    finally:
        os.close(fd)
    return ""
