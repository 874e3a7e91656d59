# SPDX-License-Identifier: Apache-2.0
"""The calls that change names and attributes, and those that look at them."""
import errno
import os
import stat

from crashtest import kernel, model
from crashtest.model import DIRECTORY, FIFO, FILE, SYMLINK, Node

KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO}
FILE_MODES = [0o600, 0o640, 0o644, 0o666, 0o700, 0o755]
DIRECTORY_MODES = [0o700, 0o750, 0o755, 0o777, 0o1777]
XATTRS = ["user.one", "user.two", "user.three"]


def make(c, how, kind, modes):
    directory, name = c.place()
    mode = c.random.choice(modes)
    wanted = model.result_of_making(directory, name)
    path = directory.path(name)
    c.call(f"{how.__name__} {path} {mode:o}", wanted, how, path, mode)
    if not wanted:
        directory.add(name, Node(kind, mode & ~c.umask))


def mkdir(c):
    make(c, os.mkdir, DIRECTORY, DIRECTORY_MODES)


def mkfifo(c):
    make(c, os.mkfifo, FIFO, FILE_MODES)


def symlink(c):
    directory, name = c.place()
    target = "to/" + c.random.choice("abc") * c.random.randint(1, 60)
    wanted = model.result_of_making(directory, name)
    path = directory.path(name)
    c.call(f"symlink {path}", wanted, os.symlink, target, path)
    if not wanted:
        directory.add(name, Node(SYMLINK, target=target))


def unlink(c):
    directory, name = c.existing_place()
    wanted = model.result_of_unlink(directory, name)
    path = directory.path(name)
    c.call(f"unlink {path}", wanted, os.unlink, path)
    if not wanted:
        directory.remove(name)


def rmdir(c):
    directory, name = c.existing_place(DIRECTORY)
    wanted = model.result_of_rmdir(directory, name)
    path = directory.path(name)
    c.call(f"rmdir {path}", wanted, os.rmdir, path)
    if not wanted:
        directory.names[name].nlink = 0
        directory.take(name)


def link(c):
    old_dir, old_name = c.existing_place()
    new_dir, new_name = c.place()
    node = old_dir.names.get(old_name)
    wanted = model.result_of_link(node, new_dir, new_name)
    old, new = old_dir.path(old_name), new_dir.path(new_name)
    c.call(f"link {old} {new}", wanted, os.link, old, new, follow_symlinks=False)
    if not wanted:
        node.nlink += 1
        new_dir.add(new_name, node)


def rename(c):
    flags = c.random.choice([0, 0, 0, 0, kernel.NOREPLACE, kernel.EXCHANGE])
    old_dir, old_name = c.existing_place()
    new_dir, new_name = c.existing_place() if flags & kernel.EXCHANGE else c.place()
    wanted = model.result_of_rename(old_dir, old_name, new_dir, new_name, flags)
    old, new = old_dir.path(old_name), new_dir.path(new_name)
    c.call(f"rename {old} {new} flags {flags}", wanted, kernel.renameat2, old, new, flags)
    if not wanted:
        model.apply_rename(old_dir, old_name, new_dir, new_name, flags)


def truncate(c):
    directory, name = c.existing_place(FILE)
    node = directory.names.get(name)
    size = c.random.randint(0, 30000)
    if node is None:
        wanted = errno.ENOENT
    elif node.kind in (FILE, DIRECTORY):
        wanted = 0 if node.kind == FILE else errno.EISDIR
    else:
        return
    path = directory.path(name)
    c.call(f"truncate {path} {size}", wanted, os.truncate, path, size)
    if not wanted:
        node.truncate(size)


def chmod(c):
    directory, name = c.existing_place()
    node = directory.names.get(name)
    if node is not None and node.kind == SYMLINK:
        return
    modes = DIRECTORY_MODES if node is not None and node.kind == DIRECTORY else FILE_MODES
    mode = c.random.choice(modes)
    path = directory.path(name)
    c.call(f"chmod {path} {mode:o}", 0 if node else errno.ENOENT, os.chmod, path, mode)
    if node:
        node.mode = mode


def set_times(c):
    directory, name = c.existing_place(FILE)
    node = directory.names.get(name)
    when = c.random.randint(0, 2**60)
    path = directory.path(name)
    c.call(f"utimensat {path} {when}", 0 if node else errno.ENOENT, os.utime, path,
           ns=(when, when), follow_symlinks=False)
    if node and node.kind == FILE and not node.mapped:
        node.mtime = when


def node_for_xattrs(c):
    directory, name = c.existing_place(c.random.choice([FILE, FILE, DIRECTORY]))
    node = directory.names.get(name)
    if node is not None and node.kind not in (FILE, DIRECTORY):
        return None, None
    return directory.path(name), node


def result_of_setxattr(node, name, flags):
    if flags == os.XATTR_CREATE and name in node.xattrs:
        return errno.EEXIST
    if flags == os.XATTR_REPLACE and name not in node.xattrs:
        return errno.ENODATA
    return 0


def setxattr(c):
    path, node = node_for_xattrs(c)
    if path is None:
        return
    name, flags = c.random.choice(XATTRS), c.random.choice([0, os.XATTR_CREATE, os.XATTR_REPLACE])
    value = c.random.randbytes(c.random.randint(0, 100))
    wanted = result_of_setxattr(node, name, flags) if node else errno.ENOENT
    c.call(f"setxattr {path} {name} flags {flags}", wanted, os.setxattr, path, name, value, flags)
    if not wanted:
        node.xattrs[name] = value


def removexattr(c):
    path, node = node_for_xattrs(c)
    if path is None:
        return
    name = c.random.choice(XATTRS)
    wanted = errno.ENOENT if node is None else 0 if name in node.xattrs else errno.ENODATA
    c.call(f"removexattr {path} {name}", wanted, os.removexattr, path, name)
    if not wanted:
        del node.xattrs[name]


# --- looking --------------------------------------------------------------------------------------


def check_stat(c, text, node, st):
    c.same(f"kind of {text}", KINDS.get(stat.S_IFMT(st.st_mode)), node.kind)
    if node.kind != SYMLINK:
        c.same(f"mode of {text}", oct(stat.S_IMODE(st.st_mode)), oct(node.mode))
    if node.kind != DIRECTORY or (node.exclusive and node.nlink and c.counts_directories):
        c.same(f"links of {text}", st.st_nlink, node.links())
    if node.kind == FILE:
        c.same(f"size of {text}", st.st_size, len(node.data))
        if node.mtime is not None:
            c.same(f"mtime of {text}", st.st_mtime_ns, node.mtime)
    if node.ino is None:
        node.ino = st.st_ino
    c.same(f"inode number of {text}", st.st_ino, node.ino)


def look(c):
    directory, name = c.existing_place()
    node = directory.names.get(name)
    path = directory.path(name)
    st = c.call(f"lstat {path}", 0 if node else errno.ENOENT, os.lstat, path)
    if node is None:
        return
    check_stat(c, path, node, st)
    if node.kind == SYMLINK:
        c.same(f"target of {path}", c.call(f"readlink {path}", 0, os.readlink, path), node.target)
    elif node.kind == FILE:
        check_content(c, path, node)
    if node.kind in (FILE, DIRECTORY):
        check_xattrs(c, path, node)


def check_content(c, path, node):
    fd = c.call(f"open {path} to read", 0, os.open, path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        data = c.call(f"read all of {path}", 0, os.pread, fd, len(node.data) + 10, 0)
        c.same(f"content of {path}", data, bytes(node.data))
    finally:
        os.close(fd)


def check_xattrs(c, path, node):
    listed = c.call(f"listxattr {path}", 0, os.listxattr, path)
    c.same(f"xattrs of {path}", sorted(x for x in listed if x.startswith("user.")),
           sorted(node.xattrs))
    name = c.random.choice(XATTRS)
    wanted = 0 if name in node.xattrs else errno.ENODATA
    value = c.call(f"getxattr {path} {name}", wanted, os.getxattr, path, name)
    c.same(f"{name} of {path}", value, node.xattrs.get(name))


def list_directory(c):
    directory = c.random.choice(c.directories())
    path = directory.path()
    names = c.call(f"list {path}", 0, os.listdir, path)
    if not directory.exclusive:
        names = [name for name in names if name.startswith(c.prefix)]
    c.same(f"names in {path}", sorted(names), sorted(directory.names))


WORK = {mkdir: 5, mkfifo: 2, symlink: 3, unlink: 9, rmdir: 4, link: 4, rename: 10, truncate: 3,
        chmod: 3, set_times: 3, setxattr: 4, removexattr: 3, look: 10, list_directory: 2}
