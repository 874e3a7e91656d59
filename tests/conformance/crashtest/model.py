# SPDX-License-Identifier: Apache-2.0
"""What should be there: a tree of nodes, and what the calls that change names must give."""
import errno
import hashlib

from crashtest.kernel import EXCHANGE, NOREPLACE

FILE, DIRECTORY, SYMLINK, FIFO = "file", "directory", "symlink", "fifo"


class Node:
    """An inode."""

    def __init__(self, kind, mode=0o777, target=None):
        self.kind, self.mode, self.target = kind, mode, target
        self.nlink = 1           # of directories: 0 once it is removed
        self.data = bytearray()  # of files
        self.xattrs = {}
        self.mtime = None        # in nanoseconds, if it was set and is to be still so
        self.mapped = False      # once: its times move when the kernel likes
        self.ino = None          # as it was seen first; must stay
        # Directories.
        self.names = {}
        self.parent, self.name = None, None  # a directory with a parent has one name
        self.root_path = None                # without a parent: where it is
        self.streams = []                    # that list it now
        self.exclusive = True                # nobody else has names in it

    def add(self, name, node):
        self.names[name] = node
        for stream in self.streams:
            stream.added[name] += 1
        if node.kind == DIRECTORY:
            node.parent, node.name = self, name
        self.tell_streams(name)

    def take(self, name):
        self.tell_streams(name)
        return self.names.pop(name)

    def remove(self, name):
        """The name goes, and perhaps the node."""
        self.take(name).nlink -= 1

    def tell_streams(self, name):
        for stream in self.streams:
            stream.touched.add(name)

    def path(self, name=None):
        own = self.root_path if self.parent is None else self.parent.path(self.name)
        return own if name is None else f"{own}/{name}"

    def is_at_or_above(self, node):
        while node is not None:
            if node is self:
                return True
            node = node.parent
        return False

    def links(self):
        """st_nlink."""
        if self.kind != DIRECTORY or self.nlink == 0:
            return self.nlink
        return 2 + sum(node.kind == DIRECTORY for node in self.names.values())

    # What changes a file's data.
    def write(self, at, data):
        if not data:
            return
        if len(self.data) < at:
            self.data.extend(bytes(at - len(self.data)))
        self.data[at:at + len(data)] = data
        self.mtime = None

    def truncate(self, size):
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.mtime = None

    def describe(self):
        """As the judge wants it: what can be seen of this node."""
        content = {FILE: lambda: (len(self.data), hashlib.sha256(self.data).hexdigest()),
                   SYMLINK: lambda: self.target}.get(self.kind, lambda: None)()
        links = self.links() if self.exclusive else None
        return {"kind": self.kind, "mode": None if self.kind == SYMLINK else self.mode,
                "nlink": links, "content": content, "xattrs": dict(self.xattrs),
                "same": id(self)}


def describe_tree(top, path):
    """{path: description} of all below `top`."""
    found = {}
    for name, node in top.names.items():
        found[f"{path}/{name}"] = node.describe()
        if node.kind == DIRECTORY:
            found.update(describe_tree(node, f"{path}/{name}"))
    return found


# --- what a call on names must give: an errno or 0 ------------------------------------------------


def result_of_making(directory, name):
    return errno.EEXIST if name in directory.names else 0


def result_of_unlink(directory, name):
    node = directory.names.get(name)
    if node is None:
        return errno.ENOENT
    return errno.EISDIR if node.kind == DIRECTORY else 0


def result_of_rmdir(directory, name):
    node = directory.names.get(name)
    if node is None:
        return errno.ENOENT
    if node.kind != DIRECTORY:
        return errno.ENOTDIR
    return errno.ENOTEMPTY if node.names else 0


def result_of_link(node, directory, name):
    if node is None:
        return errno.ENOENT
    if name in directory.names:
        return errno.EEXIST
    return errno.EPERM if node.kind == DIRECTORY else 0


def result_of_rename(old_dir, old_name, new_dir, new_name, flags):
    old, new = old_dir.names.get(old_name), new_dir.names.get(new_name)
    exchange = bool(flags & EXCHANGE)
    if old is None:
        return errno.ENOENT
    if flags & NOREPLACE and new is not None:
        return errno.EEXIST
    if exchange and new is None:
        return errno.ENOENT
    if old.kind == DIRECTORY and old.is_at_or_above(new_dir):
        return errno.EINVAL
    if new is not None and new.kind == DIRECTORY and new.is_at_or_above(old_dir):
        return errno.EINVAL if exchange else errno.ENOTEMPTY
    if new is None or new is old or exchange:
        return 0
    if old.kind == DIRECTORY and new.kind != DIRECTORY:
        return errno.ENOTDIR
    if old.kind != DIRECTORY and new.kind == DIRECTORY:
        return errno.EISDIR
    return errno.ENOTEMPTY if new.names else 0


def apply_rename(old_dir, old_name, new_dir, new_name, flags):
    old, new = old_dir.names.get(old_name), new_dir.names.get(new_name)
    if old is new:
        return
    old_dir.take(old_name)
    if flags & EXCHANGE:
        new_dir.take(new_name)
        old_dir.add(old_name, new)
    elif new is not None:
        new_dir.remove(new_name)
    if new is not None:
        if new.kind == DIRECTORY and not flags & EXCHANGE:
            new.nlink = 0
    new_dir.add(new_name, old)
