# SPDX-License-Identifier: Apache-2.0
"""Directories that are listed a bit at a time, while names come and go: each name that is there all
the time must be told exactly once."""
import collections
import errno
import os

from crashtest import kernel
from crashtest.model import DIRECTORY, FILE, Node

MOST_STREAMS = 3


class Stream:
    def __init__(self, fd, node):
        self.fd, self.node = fd, node
        self.told = []  # (name, cookie of what is behind it)
        node.streams.append(self)
        self.start_again()

    def start_again(self):
        self.told.clear()
        self.at_start = {".", ".."} | set(self.node.names)
        self.touched = set()  # came or went since then
        self.added = collections.Counter()

    def __str__(self):
        place = self.node.path() if self.node.nlink else "what was removed"
        return f"listing fd {self.fd} of {place}"


def open_stream(c):
    if len(c.streams) >= MOST_STREAMS:
        return
    directory = c.big if c.random.random() < 0.6 else c.random.choice(c.directories())
    path = directory.path()
    fd = c.call(f"open directory {path}", 0, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
    c.streams.append(Stream(fd, directory))


def read_stream(c):
    if not c.streams:
        return
    stream = c.random.choice(c.streams)
    size = c.random.choice([300, 600, 1500])
    removed = stream.node.nlink == 0
    entries = c.call(f"getdents {stream} {size}", errno.ENOENT if removed else 0, kernel.getdents,
                     stream.fd, size)
    if entries:
        stream.told.extend(entries)
    elif removed or c.random.random() < 0.7:
        finish(c, stream)
    else:
        check_told(c, stream)
        rewind(c, stream)


def check_told(c, stream):
    """At the end of a listing."""
    told = collections.Counter(name for name, _ in stream.told)
    if not stream.node.exclusive:
        told = {name: count for name, count in told.items()
                if name in (".", "..") or name.startswith(c.prefix)}
    wrong = [f"{name}, which was never there" for name in told.keys() - stream.at_start
             - stream.touched]
    # tmpfs keeps its entries in two orders, of which a rename onto a name leaves one as it was, and
    # finds another one where a name has gone: a listing that is interrupted there, or goes back to
    # there, can begin again, or leave something out.
    if not c.mixes_order_up or (stream.node.exclusive and not stream.touched):
        wrong += [f"{name} {told.get(name, 0)} times" for name in stream.at_start - stream.touched
                  if told.get(name, 0) != 1]
        # What is removed and made again may be told each time.
        wrong += [f"{name} {told[name]} times" for name in stream.touched
                  if told.get(name, 0) > (name in stream.at_start) + stream.added[name]]
    if wrong:
        c.fail(f"{stream}: told {', '.join(sorted(wrong)[:10])}")


def finish(c, stream):
    if stream.node.nlink:
        check_told(c, stream)
    close_stream(c, stream)


def close_stream(c, stream):
    c.streams.remove(stream)
    stream.node.streams.remove(stream)
    c.call(f"close {stream}", 0, os.close, stream.fd)


def rewind(c, stream):
    c.call(f"rewind {stream}", 0, os.lseek, stream.fd, 0, os.SEEK_SET)
    stream.start_again()


def go_back(c):
    """seekdir to a place where the listing has been."""
    stream = c.random.choice(c.streams) if c.streams else None
    if stream is None or len(stream.told) < 2 or stream.node.nlink == 0:
        return
    index = c.random.randrange(len(stream.told))
    c.call(f"seekdir {stream} behind entry {index}", 0, os.lseek, stream.fd, stream.told[index][1],
           os.SEEK_SET)
    del stream.told[index + 1:]


def sync_directory(c):
    if c.streams:
        stream = c.random.choice(c.streams)
        c.call(f"fsync {stream}", 0, os.fsync, stream.fd)


def work_in_open_directory(c):
    """By the descriptor of a listing, whatever has become of the directory's name."""
    if not c.streams:
        return
    stream = c.random.choice(c.streams)
    directory, name = stream.node, c.prefix + "at"
    text = f"{name} at {stream}"
    removed = directory.nlink == 0
    if name in directory.names:
        node = directory.names[name]
        wanted = errno.ENOTDIR if node.kind != DIRECTORY else errno.ENOTEMPTY if node.names else 0
        c.call(f"rmdir {text}", wanted, os.rmdir, name, dir_fd=stream.fd)
        if not wanted:
            node.nlink = 0
            directory.take(name)
    else:
        c.call(f"mkdir {text}", errno.ENOENT if removed else 0, os.mkdir, name, 0o700,
               dir_fd=stream.fd)
        if not removed:
            directory.add(name, Node(DIRECTORY, 0o700 & ~c.umask))


def stir(c):
    """Names come and go in the directory that is large."""
    name = f"n{c.random.randrange(3 * c.many):04}" + "x" * 20
    path = c.big.path(name)
    if name not in c.big.names:
        fd = c.call(f"create {path}", 0, os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.close(fd)
        c.big.add(name, Node(FILE, 0o600))
    elif c.random.random() < 0.5 and c.big.names[name].nlink == 1:
        c.call(f"unlink {path}", 0, os.unlink, path)
        c.big.remove(name)


def let_go(c):
    """Reads what is half read to its end."""
    for stream in list(c.streams):
        while stream.node.nlink:
            entries = c.call(f"getdents {stream}", 0, kernel.getdents, stream.fd, 2000)
            if not entries:
                break
            stream.told.extend(entries)
        finish(c, stream)


WORK = {open_stream: 2, read_stream: 10, go_back: 1, sync_directory: 1, work_in_open_directory: 2,
        stir: 8}
