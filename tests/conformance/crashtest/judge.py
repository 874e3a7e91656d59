# SPDX-License-Identifier: Apache-2.0
"""What the models say, against what is there."""
import hashlib
import os
import stat

from crashtest.model import DIRECTORY, FILE, SYMLINK
from crashtest.names import KINDS

MOST_TOLD = 20


def look_at(path):
    st = os.lstat(path)
    kind = KINDS.get(stat.S_IFMT(st.st_mode), "something else")
    content, xattrs = None, {}
    if kind == FILE:
        with open(path, "rb") as file:
            data = file.read()
        content = (len(data), hashlib.sha256(data).hexdigest())
    elif kind == SYMLINK:
        content = os.readlink(path)
    if kind in (FILE, DIRECTORY):
        xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)
                  if name.startswith("user.")}
    return {"kind": kind, "mode": None if kind == SYMLINK else stat.S_IMODE(st.st_mode),
            "nlink": st.st_nlink, "content": content, "xattrs": xattrs,
            "same": (st.st_dev, st.st_ino)}


def look_at_all(root):
    """{path below root: description}"""
    found, waiting = {}, [""]
    while waiting:
        directory = waiting.pop()
        for name in os.listdir(root + directory):
            path = f"{directory}/{name}"
            found[path] = look_at(root + path)
            if found[path]["kind"] == DIRECTORY:
                waiting.append(path)
    return found


def compare(wanted, found, where, counts_directories):
    """Returns what is wrong."""
    wrong = [f"{where}: {path!r} is missing" for path in sorted(wanted.keys() - found.keys())]
    wrong += [f"{where}: {path!r} is there, and should not be"
              for path in sorted(found.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & found.keys()):
        want, got = wanted[path], found[path]
        aspects = ["kind", "mode", "content", "xattrs"]
        if want["nlink"] is not None and (counts_directories or want["kind"] != DIRECTORY):
            aspects.append("nlink")
        wrong += [f"{where}: {aspect} of {path!r} is {got[aspect]!r} instead of {want[aspect]!r}"
                  for aspect in aspects if got[aspect] != want[aspect]]
    return wrong + compare_links(wanted, found, where)


def compare_links(wanted, found, where):
    """The same names must be links to the same inodes."""
    wrong, inode_of, node_of = [], {}, {}
    for path in sorted(wanted.keys() & found.keys()):
        node, inode = wanted[path]["same"], found[path]["same"]
        if inode_of.setdefault(node, inode) != inode:
            wrong.append(f"{where}: {path!r} is another inode than its other links")
        if node_of.setdefault(inode, node) != node:
            wrong.append(f"{where}: {path!r} is the same inode as something else")
    return wrong


def tell(wrong):
    for line in wrong[:MOST_TOLD]:
        print(line)
    if len(wrong) > MOST_TOLD:
        print(f"... and {len(wrong) - MOST_TOLD} more")
