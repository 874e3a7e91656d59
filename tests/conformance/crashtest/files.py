# SPDX-License-Identifier: Apache-2.0
"""Open files and mappings. A file stays the file that was opened, whatever happens to its names."""
import errno
import mmap
import os

from crashtest import kernel, model, names
from crashtest.model import DIRECTORY, FILE, SYMLINK, Node

MOST_OPEN, MOST_MAPPED, MOST_SIZE = 8, 3, 100000


class Description:
    """What descriptors that are duplicates of each other have in common."""

    def __init__(self, node, flags):
        self.node, self.flags, self.position = node, flags, 0
        access = flags & os.O_ACCMODE
        self.reads, self.writes = access != os.O_WRONLY, access != os.O_RDONLY
        self.appends = bool(flags & os.O_APPEND)


class Open:
    def __init__(self, fd, description):
        self.fd, self.description, self.node = fd, description, description.node

    def __str__(self):
        return f"fd {self.fd}"


def keep(c, opened):
    if len(c.files) >= MOST_OPEN:
        close_one(c)
    c.files.append(opened)


def create(c):
    directory, name = c.place()
    extra = c.random.choice([os.O_EXCL, os.O_EXCL, 0, os.O_TRUNC, os.O_APPEND])
    flags = os.O_CREAT | os.O_NOFOLLOW | extra | c.random.choice([os.O_RDWR, os.O_WRONLY])
    mode = c.random.choice(names.FILE_MODES)
    node = directory.names.get(name)
    if node is None:
        wanted = 0
    elif flags & os.O_EXCL:
        wanted = errno.EEXIST
    elif node.kind in (FILE, DIRECTORY, SYMLINK):
        wanted = {FILE: 0, DIRECTORY: errno.EISDIR, SYMLINK: errno.ELOOP}[node.kind]
    else:
        return
    path = directory.path(name)
    fd = c.call(f"open {path} flags {flags:o} mode {mode:o}", wanted, os.open, path, flags, mode)
    if wanted:
        return
    if node is None:
        node = Node(FILE, mode & ~c.umask)
        directory.add(name, node)
    elif flags & os.O_TRUNC:
        node.truncate(0)
    keep(c, Open(fd, Description(node, flags)))
    if c.random.random() < 0.7:
        write_to(c, c.files[-1])


def open_existing(c):
    directory, name = c.existing_place(FILE)
    node = directory.names.get(name)
    if node is None or node.kind != FILE:
        return
    flags = (c.random.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY])
             | c.random.choice([0, 0, os.O_APPEND]))
    if flags & os.O_ACCMODE and c.random.random() < 0.15:
        flags |= os.O_TRUNC
    path = directory.path(name)
    fd = c.call(f"open {path} flags {flags:o}", 0, os.open, path, flags)
    if flags & os.O_TRUNC:
        node.truncate(0)
    keep(c, Open(fd, Description(node, flags)))


def temporary(c):
    """A file without a name, that may get one."""
    directory, name = c.place()
    path = directory.path()
    mode = c.random.choice(names.FILE_MODES)
    fd = c.call(f"open O_TMPFILE in {path}", 0, os.open, path, os.O_TMPFILE | os.O_RDWR, mode)
    node = Node(FILE, mode & ~c.umask)
    node.nlink = 0
    keep(c, Open(fd, Description(node, os.O_RDWR)))
    write_to(c, c.files[-1])
    if c.random.random() < 0.6:
        wanted = model.result_of_making(directory, name)
        target = directory.path(name)
        c.call(f"linkat fd {fd} to {target}", wanted, kernel.link_open_file, fd, target)
        if not wanted:
            node.nlink = 1
            directory.add(name, node)


def duplicate(c, opened):
    fd = c.call(f"dup {opened}", 0, os.dup, opened.fd)
    keep(c, Open(fd, opened.description))


def close(c, opened):
    c.files.remove(opened)
    c.call(f"close {opened}", 0, os.close, opened.fd)


def close_one(c):
    close(c, c.random.choice(c.files))


def write_to(c, opened):
    data = c.random.randbytes(c.random.choice([1, 100, 3000, 9000, 20000]))
    file = opened.description
    at = len(file.node.data) if file.appends else file.position
    if at + len(data) > MOST_SIZE:
        return
    wanted = 0 if file.writes else errno.EBADF
    count = c.call(f"write {opened} {len(data)} at {at}", wanted, os.write, opened.fd, data)
    if not wanted:
        c.same(f"count written to {opened}", count, len(data))
        file.node.write(at, data)
        file.position = at + len(data)


def read_from(c, opened):
    file, size = opened.description, c.random.choice([1, 500, 5000, 30000])
    wanted = 0 if file.reads else errno.EBADF
    data = c.call(f"read {opened} {size} at {file.position}", wanted, os.read, opened.fd, size)
    if not wanted:
        c.same(f"data read from {opened}", data,
               bytes(file.node.data[file.position:file.position + size]))
        file.position += len(data)


def pwrite(c, opened):
    data = c.random.randbytes(c.random.choice([1, 200, 4096, 9000]))
    file, at = opened.description, c.random.randint(0, 40000)
    wanted = 0 if file.writes else errno.EBADF
    if file.appends:  # Linux appends here, too
        at = len(file.node.data)
    if at + len(data) > MOST_SIZE:
        return
    count = c.call(f"pwrite {opened} {len(data)} at {at}", wanted, os.pwrite, opened.fd, data, at)
    if not wanted:
        c.same(f"count written to {opened}", count, len(data))
        file.node.write(at, data)


def pread(c, opened):
    file, at, size = opened.description, c.random.randint(0, 40000), c.random.randint(1, 20000)
    wanted = 0 if file.reads else errno.EBADF
    data = c.call(f"pread {opened} {size} at {at}", wanted, os.pread, opened.fd, size, at)
    if not wanted:
        c.same(f"data at {at} of {opened}", data, bytes(file.node.data[at:at + size]))


def seek(c, opened):
    file = opened.description
    whence = c.random.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
    base = {os.SEEK_SET: 0, os.SEEK_CUR: file.position, os.SEEK_END: len(file.node.data)}[whence]
    target = c.random.randint(0, 20000)
    found = c.call(f"lseek {opened} to {target}", 0, os.lseek, opened.fd, target - base, whence)
    c.same(f"position of {opened}", found, target)
    file.position = target


def ftruncate(c, opened):
    size = c.random.randint(0, 30000)
    wanted = 0 if opened.description.writes else errno.EINVAL
    c.call(f"ftruncate {opened} {size}", wanted, os.ftruncate, opened.fd, size)
    if not wanted:
        opened.node.truncate(size)


def fallocate(c, opened):
    node = opened.node
    mode = c.random.choice([0, kernel.KEEP_SIZE, kernel.PUNCH_HOLE | kernel.KEEP_SIZE]
                           + [kernel.ZERO_RANGE] * c.can_zero_ranges)
    at, size = c.random.randint(0, 20000), c.random.randint(1, 9000)
    wanted = 0 if opened.description.writes else errno.EBADF
    c.call(f"fallocate {opened} mode {mode} {at} {size}", wanted, kernel.fallocate, opened.fd, mode,
           at, size)
    if wanted:
        return
    if not mode & kernel.KEEP_SIZE and len(node.data) < at + size:
        node.truncate(at + size)
    if mode & (kernel.PUNCH_HOLE | kernel.ZERO_RANGE):
        end = min(at + size, len(node.data))
        if at < end:
            node.data[at:end] = bytes(end - at)
    node.mtime = None


def copy_range(c, opened):
    other = c.random.choice(c.files)
    source, target = opened.description, other.description
    if source.node is target.node:
        return
    at, to, size = (c.random.randint(0, 9000) for _ in range(3))
    wanted = 0 if source.reads and target.writes and not target.appends else errno.EBADF
    count = c.call(f"copy_file_range {opened} {at} to {other} {to}, {size}", wanted,
                   os.copy_file_range, opened.fd, other.fd, size, at, to)
    if wanted:
        return
    data = source.node.data[at:at + size]
    if not 0 <= count <= len(data) or (data and count == 0):
        c.fail(f"copy_file_range to {other} copied {count} of {len(data)}")
    target.node.write(to, data[:count])


def look_at_open(c, opened):
    names.check_stat(c, str(opened), opened.node, c.call(f"fstat {opened}", 0, os.fstat, opened.fd))
    if opened.description.reads:
        data = c.call(f"pread all of {opened}", 0, os.pread, opened.fd, MOST_SIZE + 10, 0)
        c.same(f"content of {opened}", data, bytes(opened.node.data))


def fchmod(c, opened):
    mode = c.random.choice(names.FILE_MODES)
    c.call(f"fchmod {opened} {mode:o}", 0, os.fchmod, opened.fd, mode)
    opened.node.mode = mode


def set_times(c, opened):
    when = c.random.randint(0, 2**60)
    c.call(f"futimens {opened} {when}", 0, os.utime, opened.fd, ns=(when, when))
    if not opened.node.mapped:
        opened.node.mtime = when


def setxattr(c, opened):
    name, value = c.random.choice(names.XATTRS), c.random.randbytes(20)
    flags = c.random.choice([0, os.XATTR_CREATE, os.XATTR_REPLACE])
    wanted = names.result_of_setxattr(opened.node, name, flags)
    c.call(f"fsetxattr {opened} {name} flags {flags}", wanted, os.setxattr, opened.fd, name, value,
           flags)
    if not wanted:
        opened.node.xattrs[name] = value


def sync(c, opened):
    c.call(f"fsync {opened}", 0, c.random.choice([os.fsync, os.fdatasync]), opened.fd)


# --- mappings -------------------------------------------------------------------------------------


class Map:
    def __init__(self, node, mapping):
        self.node, self.mapping = node, mapping

    def window(self, c):
        """A part that is within the file, beyond which memory would be SIGBUS."""
        end = min(len(self.mapping), len(self.node.data))
        if end == 0:
            return 0, 0
        at = c.random.randrange(end)
        return at, min(end, at + c.random.randint(1, 5000))


def map_file(c, opened):
    node = opened.node
    if not opened.description.reads or not opened.description.writes or not node.data:
        return
    if len(c.maps) >= MOST_MAPPED:
        unmap(c, c.random.choice(c.maps))
    node.mapped, node.mtime = True, None
    mapping = c.call(f"mmap {opened} {len(node.data)}", 0, mmap.mmap, opened.fd, len(node.data))
    c.maps.append(Map(node, mapping))


def store(c):
    if not c.maps:
        return
    mapped = c.random.choice(c.maps)
    at, end = mapped.window(c)
    if at == end:
        return
    c.recent.append(f"step {c.steps}: compare and store {at}..{end} of a mapping")
    c.same("mapped data", mapped.mapping[at:end], bytes(mapped.node.data[at:end]))
    data = c.random.randbytes(end - at)
    mapped.mapping[at:end] = data
    mapped.node.data[at:end] = data


def unmap(c, mapped):
    c.maps.remove(mapped)
    c.call("msync", 0, mapped.mapping.flush)
    mapped.mapping.close()


def let_go(c):
    """Looks at all that is open a last time, and closes it."""
    for mapped in list(c.maps):
        unmap(c, mapped)
    for opened in list(c.files):
        look_at_open(c, opened)
        close(c, opened)


def on_an_open_file(work):
    def run(c):
        if c.files:
            work(c, c.random.choice(c.files))
    run.__name__ = work.__name__
    return run


WORK = {create: 10, open_existing: 6, temporary: 3, store: 5}
WORK.update({on_an_open_file(work): weight for work, weight in {
    duplicate: 1, close: 3, write_to: 8, read_from: 6, pwrite: 5, pread: 4, seek: 3, ftruncate: 3,
    fallocate: 3, copy_range: 4, look_at_open: 4, fchmod: 2, set_times: 2, setxattr: 2, sync: 1,
    map_file: 2}.items()})
