# SPDX-License-Identifier: Apache-2.0
"""Those that look through the mount, so that the kernel knows what there is and what there is not,
and those that keep files and directories open."""
import contextlib
import os
import stat

from coherencetest import judge, tree
from coherencetest.changes import ACCESS_ACL, NO_ACL, XATTRS
from coherencetest.worker import Worker

MOST_OPEN = 60


def walk(w, directory=None, deepest=3):
    """Lists, asks for all that is there, and for what is not."""
    directory = directory or w.root
    with w.call(os.scandir, directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False))
                 for entry in w.call(list, entries)]
    for name in {name for name, _ in found}.union(w.random.sample(tree.NAMES, 20)):
        with contextlib.suppress(OSError):
            w.call(os.lstat, os.path.join(directory, name))
    if deepest and not w.pulse.stopped():
        for name, is_directory in found:
            if is_directory:
                with contextlib.suppress(OSError):
                    walk(w, os.path.join(directory, name), deepest - 1)


def look(w):
    w.call(w.random.choice([os.lstat, os.lstat, os.stat]), w.path())


def look_in_one_directory(w):
    """Absence is only known of names that somebody has asked for."""
    directory = w.directory()
    for name in tree.NAMES:
        with contextlib.suppress(OSError):
            w.call(os.lstat, os.path.join(directory, name))


def read(w):
    fd = w.call(os.open, w.path(), os.O_RDONLY | os.O_NONBLOCK)
    try:
        w.call(os.fstat, fd)
        w.call(os.read, fd, 1 << 16)
    finally:
        os.close(fd)


def read_link(w):
    w.call(os.readlink, w.path(tree.SYMLINKS, tree.SYMLINKS, tree.NEW))


def read_xattrs(w):
    path = w.path()
    w.call(os.listxattr, path, follow_symlinks=False)
    w.call(os.getxattr, path, w.random.choice([ACCESS_ACL, *XATTRS]), follow_symlinks=False,
           also=NO_ACL)


WORK = {walk: 1, look: 30, look_in_one_directory: 4, read: 15, read_link: 5, read_xattrs: 5}


# --- keeping open ---------------------------------------------------------------------------------


class Holder(Worker):
    """Keeps files and directories open through the mount, and each of them on the source, too, to
    know afterwards what it should look like: it may have no name any more by then."""

    def __init__(self, who, number, root, source, seed, pulse):
        super().__init__(who, number, root, seed, pulse)
        self.source, self.pairs = source, []

    def path_of(self, fd):
        return os.readlink(f"/proc/self/fd/{fd}")

    def hold(self):
        path = self.path()
        flags = self.random.choice([os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY])
        if self.random.random() < 0.3:
            path, flags = self.directory(), os.O_RDONLY
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        if len(self.pairs) >= MOST_OPEN:
            self.let_go()
        ours = self.call(os.open, path, flags)
        try:
            theirs = os.open(self.source + path[len(self.root):],
                             os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            os.close(ours)
            raise
        # Nobody can reuse the number of an inode that is open.
        st = self.call(os.fstat, ours)
        if st.st_ino != os.fstat(theirs).st_ino:
            os.close(ours)
            os.close(theirs)
            return
        self.pairs.append((ours, theirs, flags & os.O_ACCMODE, stat.S_ISDIR(st.st_mode)))

    def let_go(self):
        ours, theirs, _, _ = self.pairs.pop(self.random.randrange(len(self.pairs)))
        os.close(ours)
        os.close(theirs)

    def use(self):
        """One that is open. Nobody can be told that it is gone."""
        if not self.pairs:
            return
        ours, _, mode, is_directory = self.random.choice(self.pairs)
        self.call(os.fstat, ours)
        if is_directory:
            self.call(os.listdir, ours)
        elif mode != os.O_WRONLY and self.random.random() < 0.5:
            self.call(os.pread, ours, 4096, 0)
        elif mode != os.O_RDONLY and self.random.random() < 0.3:
            self.call(os.pwrite, ours, self.bytes(100), self.random.randint(0, 9000))

    def questions(self, aspect):
        for ours, theirs, mode, is_directory in self.pairs:
            if aspect is judge.attributes_of_open or is_directory or mode != os.O_WRONLY:
                yield f"open file {self.path_of(theirs)!r}", aspect, (ours, theirs)


def hold(holder):
    holder.hold()


def use(holder):
    holder.use()


HOLD = {hold: 4, use: 6, look: 1}

# What is asked of what is open, attributes before anything that could renew them.
ASPECTS = [judge.attributes_of_open, judge.content_of_open]
