# SPDX-License-Identifier: Apache-2.0
"""The calls that change something, on the source or through the mount.

No call follows a link at the end of its path where it would make something, and none stores through
a mapping: such a store behind the mount tells nobody.
"""
import contextlib
import errno
import os
import struct

from coherencetest import tree
from crashtest import kernel

MODES = [0o600, 0o640, 0o644, 0o666, 0o700, 0o755, 0o2755, 0o4755]
OWNERS = [0, 1, 1000, 20000]
XATTRS = ["user.one", "user.two"]
ACCESS_ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
NO_ACL = {errno.EACCES, errno.ENOTSUP}  # one that this kind of file cannot have


def acl(user, bits):
    entries = [(1, 6, 0xFFFFFFFF), (2, bits, user), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF),
               (32, 4, 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@contextlib.contextmanager
def opened(w, path, flags):
    fd = w.call(os.open, path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, w.random.choice(MODES))
    try:
        yield fd
    finally:
        os.close(fd)


# --- data -----------------------------------------------------------------------------------------


def create(w):
    flags = os.O_CREAT | w.random.choice([0, os.O_EXCL, os.O_EXCL, os.O_TRUNC])
    with opened(w, w.path(), flags | w.random.choice([os.O_WRONLY, os.O_RDWR])) as fd:
        for _ in range(w.random.randint(0, 3)):
            w.call(os.write, fd, w.bytes())


def write(w):
    with opened(w, w.path(tree.FILES, tree.LINKS), w.random.choice([os.O_WRONLY, os.O_RDWR])) as fd:
        for _ in range(w.random.randint(1, 3)):
            w.call(os.pwrite, fd, w.bytes(), w.random.randint(0, 20000))


def append(w):
    with opened(w, w.path(tree.FILES, tree.LINKS), os.O_WRONLY | os.O_APPEND) as fd:
        w.call(os.write, fd, w.bytes(100))


def truncate(w):
    w.call(os.truncate, w.path(tree.FILES, tree.LINKS), w.random.choice([0, 1, 4096, 5000, 20000]))


# --- names ----------------------------------------------------------------------------------------


def unlink(w):
    w.call(os.unlink, w.path())


def mkdir(w):
    w.call(os.mkdir, w.path(tree.DIRECTORIES, tree.DIRECTORIES, tree.NEW), 0o755)


def rmdir(w):
    w.call(os.rmdir, w.path(tree.DIRECTORIES, tree.NEW))


def empty(w):
    """A directory, with all that is in it. It may be filled again meanwhile."""
    directory = w.path(tree.DIRECTORIES, tree.NEW)
    for name in w.call(os.listdir, directory):
        with contextlib.suppress(OSError):
            w.call(os.unlink, os.path.join(directory, name))
    w.call(os.rmdir, directory)


def rename(w):
    old = w.path()
    new = w.path() if w.random.random() < 0.6 else w.sibling(old, w.random.choice(tree.NEW))
    flags = w.random.choice([0, 0, 0, 0, kernel.NOREPLACE, kernel.EXCHANGE, kernel.EXCHANGE])
    w.call(kernel.renameat2, old, new, flags)


def rename_directory(w):
    old, new = w.path(tree.DIRECTORIES, tree.NEW), w.path(tree.DIRECTORIES, tree.NEW)
    w.call(kernel.renameat2, old, new, w.random.choice([0, kernel.EXCHANGE]))


def rename_back(w):
    """A whole directory goes and is there again, with what happened to it meanwhile."""
    old = w.path(tree.DIRECTORIES)
    new = w.sibling(old, w.temporary)
    w.call(os.rename, old, new)
    with contextlib.suppress(OSError):
        w.call(os.unlink, os.path.join(new, w.random.choice(tree.FILES)))
    w.call(os.rename, new, old)


def link(w):
    w.call(os.link, w.path(tree.FILES, tree.LINKS), w.path(tree.LINKS, tree.NEW),
           follow_symlinks=False)


def symlink(w):
    w.call(os.symlink, w.random.choice(tree.TARGETS), w.path(tree.SYMLINKS, tree.NEW))


def replace_symlink(w):
    path = w.path(tree.SYMLINKS)
    temporary = w.sibling(path, w.temporary)
    w.call(os.symlink, w.random.choice(tree.TARGETS), temporary)
    put_in_place(w, temporary, path)


def replace(w):
    """As editors save a file."""
    path = w.path(tree.FILES, tree.LINKS)
    temporary = w.sibling(path, w.temporary)
    with opened(w, temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
        w.call(os.write, fd, w.bytes())
    put_in_place(w, temporary, path)


def put_in_place(w, temporary, path):
    try:
        w.call(os.rename, temporary, path)
    except OSError:
        w.call(os.unlink, temporary)
        raise


def file_to_directory(w):
    path = w.path(tree.FILES, tree.NEW)
    w.call(os.unlink, path)
    w.call(os.mkdir, path)
    if w.random.random() < 0.5:
        with opened(w, os.path.join(path, w.random.choice(tree.FILES)), os.O_CREAT | os.O_WRONLY):
            pass


def directory_to_file(w):
    path = w.path(tree.FILES, tree.NEW)
    for name in w.call(os.listdir, path):
        with contextlib.suppress(OSError):
            w.call(os.unlink, os.path.join(path, name))
    w.call(os.rmdir, path)
    with opened(w, path, os.O_CREAT | os.O_WRONLY) as fd:
        w.call(os.write, fd, w.bytes(100))


def flicker(w):
    """A name comes and goes faster than anybody can be told."""
    path = w.path(tree.NEW, tree.FILES)
    for _ in range(w.random.randint(3, 20)):
        way = w.random.choice([make_file, make_file, os.unlink, os.unlink, os.mkdir, os.rmdir])
        with contextlib.suppress(OSError):
            w.call(way, path)


def make_file(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644))


# --- attributes -----------------------------------------------------------------------------------


def chmod(w):
    w.call(os.chmod, w.path(), w.random.choice(MODES))


def chown(w):
    w.call(os.lchown, w.path(), w.random.choice(OWNERS), w.random.choice(OWNERS))


def set_times(w):
    when = w.random.randint(0, 2**60)
    w.call(os.utime, w.path(), ns=(when, when), follow_symlinks=False)


def set_xattr(w):
    w.call(os.setxattr, w.path(), w.random.choice(XATTRS), w.bytes(100), follow_symlinks=False)


def remove_xattr(w):
    name = w.random.choice([*XATTRS, ACCESS_ACL, DEFAULT_ACL])
    w.call(os.removexattr, w.path(), name, follow_symlinks=False, also=NO_ACL)


def set_acl(w):
    """ACLs are what the kernel caches of extended attributes."""
    value = acl(w.random.choice(OWNERS), w.random.choice([0, 4, 6]))
    if w.random.random() < 0.7:
        w.call(os.setxattr, w.path(tree.FILES, tree.LINKS, tree.DIRECTORIES), ACCESS_ACL, value,
               also=NO_ACL)
    else:
        w.call(os.setxattr, w.path(tree.DIRECTORIES, tree.NEW), DEFAULT_ACL, value,
               also=NO_ACL)


WORK = {create: 16, write: 8, append: 6, truncate: 4,
        unlink: 6, mkdir: 5, rmdir: 5, empty: 4, rename: 10, rename_directory: 2, rename_back: 2,
        link: 6, symlink: 3, replace_symlink: 3, replace: 6, file_to_directory: 2,
        directory_to_file: 4, flicker: 3,
        chmod: 5, chown: 3, set_times: 4, set_xattr: 4, remove_xattr: 3, set_acl: 3}
