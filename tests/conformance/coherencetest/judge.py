# SPDX-License-Identifier: Apache-2.0
"""The mount against the source, when nobody changes anything any more.

The mount is asked only as any program would ask, and first for what a later question could renew in
the kernel: reading makes it ask for the times again, and listing brings attributes along. So all
attributes come first, then content, then listings, and all attributes once more.
"""
import os
import stat
import time

from coherencetest import tree
from coherencetest.changes import ACCESS_ACL, DEFAULT_ACL
from crashtest.account import name_of

FIELDS = ["st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns",
          "st_ctime_ns"]


def fields(st):
    return {name: oct(getattr(st, name)) if name == "st_mode" else getattr(st, name)
            for name in FIELDS}


# --- what can be asked: of a path, or of what is open ---------------------------------------------


def attributes(path):
    return fields(os.lstat(path))


def xattrs(path):
    """The ACLs by name, too: the kernel remembers that there is none. As getfacl does it, which
    looks at the file first."""
    mode = os.lstat(path).st_mode
    names = set(os.listxattr(path, follow_symlinks=False))
    found = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    for name in () if stat.S_ISLNK(mode) else (ACCESS_ACL, DEFAULT_ACL):
        try:
            found["asked for " + name] = os.getxattr(path, name)
        except OSError as error:
            found["asked for " + name] = name_of(error.errno)
    return found


def content(path):
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if not stat.S_ISREG(mode):
        return None
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(fd, "rb", buffering=0) as file:
        return file.readall()


def listing(path):
    with os.scandir(path) as entries:
        return {entry.name: ("directory" if entry.is_dir(follow_symlinks=False) else
                             "symlink" if entry.is_symlink() else
                             "file" if entry.is_file(follow_symlinks=False) else "other",
                             entry.inode()) for entry in entries}


def attributes_of_open(fd):
    return fields(os.fstat(fd))


def content_of_open(fd):
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        return sorted(os.listdir(fd))
    return os.pread(fd, 1 << 20, 0)


# --- asking ---------------------------------------------------------------------------------------


def ask(aspect, of):
    """ESTALE is not an answer that anybody could use, so it is a difference as well."""
    try:
        return aspect(of)
    except OSError as error:
        return name_of(error.errno)


class Judge:
    """`stopped`: when the last change was made."""

    def __init__(self, stopped, patience):
        self.stopped, self.patience = stopped, patience
        self.asked, self.late, self.longest, self.wrong = 0, 0, 0.0, []

    def compare(self, questions):
        """Of each question (name, aspect, (on the mount, on the source)) both must give the same
        answer, in the end. Called once for each kind of question, see above."""
        waiting = []
        for question in questions:
            self.asked += 1
            if difference(question):
                waiting.append(question)
        self.late += len(waiting)
        deadline = time.monotonic() + self.patience
        while waiting:
            time.sleep(0.001)
            last = time.monotonic() > deadline
            still = [(question, text) for question in waiting if (text := difference(question))]
            if len(still) < len(waiting):
                self.longest = max(self.longest, time.monotonic() - self.stopped)
            waiting = [question for question, _ in still]
            if last:
                self.wrong += [f"stale: {text}" for _, text in still]
                break

    def compare_trees(self, mount, source):
        """Returns how much there is to ask about."""
        known = list(tree.walk(source))
        there = [""] + [path for path, _ in known]
        directories = [""] + [path for path, is_directory in known if is_directory]
        # In each directory also those that are not there: did the kernel see them go?
        names = dict.fromkeys(there)
        for directory in directories:
            names.update(dict.fromkeys(os.path.join(directory, name) for name in tree.NAMES))

        for aspect, paths in ((attributes, names), (xattrs, there), (content, there),
                              (listing, directories), (attributes, names)):
            self.compare([(repr(path), aspect, (os.path.join(mount, path),
                                                os.path.join(source, path))) for path in paths])
            if self.wrong:
                self.wrong[:0] = dead_directories(directories, mount, source)
                break  # the rest would follow from it
        return {"paths": len(there), "absent ones": len(names) - len(there)}


def difference(question):
    name, aspect, (mount, source) = question
    ours, theirs = ask(aspect, mount), ask(aspect, source)
    return "" if ours == theirs else f"{aspect.__name__} of {name}: {differences(ours, theirs)}"


def differences(ours, theirs):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(key for key in ours.keys() | theirs.keys()
                      if ours.get(key) != theirs.get(key))
        return "; ".join(f"{key!r}: the mount says {brief(ours.get(key))}, "
                         f"the source {brief(theirs.get(key))}" for key in keys)
    return f"the mount says {brief(ours)}, the source {brief(theirs)}"


def brief(value):
    if isinstance(value, bytes) and len(value) > 40:
        return f"{len(value)} bytes {value[:16]!r}..."
    if isinstance(value, dict):  # attributes of something that the other side does not have
        value = {key: value[key] for key in ("st_mode", "st_ino", "st_size") if key in value}
    return repr(value)


def dead_directories(directories, mount, source):
    """Those that are right in themselves, but in which nothing can be found or made. So they are
    when the kernel has seen a directory removed under a name, and believed it to be this one, which
    had been moved away behind it. It stays like this for as long as the kernel has this inode, and
    one such directory explains all that is missing below it."""
    return [f"stale: the kernel takes directory {path!r} for a removed one"
            for path in directories
            if ask(attributes, os.path.join(mount, path)) == ask(attributes,
                                                                 os.path.join(source, path))
            and not ask(listing, os.path.join(mount, path))
            and ask(listing, os.path.join(source, path))]
