# SPDX-License-Identifier: Apache-2.0
"""The names, and the tree that a round begins with.

The names are few and the same in each directory: so they meet again and again, and whether a name
exists can be asked for each one that was ever used.
"""
import contextlib
import os
import random
import stat

DIRECTORIES = ["da", "db", "dc", "dd"]
FILES = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "ümlaut", "\udcff\udcfe", "new\nline",
         "long name " + "n" * 60]
LINKS = ["h0", "h1", "h2"]     # hard links, to begin with
SYMLINKS = ["s0", "s1", "s2"]
NEW = ["n0", "n1", "n2", "n3", "n4", "n5"]  # not there, to begin with
TEMPORARY = [f".new{number}" for number in range(16)]  # one for each process
NAMES = DIRECTORIES + FILES + LINKS + SYMLINKS + NEW + TEMPORARY

# Not one that leads out of the tree, from whichever directory.
TARGETS = ["f0", "f1", "n0", "da/f2", "nothing", "to/" + "x" * 100]

DEEPEST = 4
MOST_ENTRIES = 500


def populate(source, seed):
    """Makes what is missing, on the source: a round should find enough to work on. Takes away what
    has gone so deep that nobody works on it, and what is too much to be looked at in a moment."""
    numbers = random.Random(f"{seed}.tree")
    prune(source)
    for first in [""] + DIRECTORIES:
        for second in [""] + DIRECTORIES if first else [""]:
            directory = os.path.normpath(os.path.join(source, first, second))
            if os.path.lexists(directory) and not stat.S_ISDIR(os.lstat(directory).st_mode):
                os.unlink(directory)
            os.makedirs(directory, exist_ok=True)
            fill(directory, numbers)


def fill(directory, numbers):
    for name in FILES:
        with contextlib.suppress(OSError), open(os.path.join(directory, name), "xb") as file:
            file.write(numbers.randbytes(numbers.choice([0, 10, 3000, 10000])))
    for name in LINKS:
        with contextlib.suppress(OSError):
            os.link(os.path.join(directory, numbers.choice(FILES)), os.path.join(directory, name),
                    follow_symlinks=False)
    for name in SYMLINKS:
        with contextlib.suppress(OSError):
            os.symlink(numbers.choice(TARGETS), os.path.join(directory, name))


def prune(source):
    entries = list(walk(source))
    for number, (path, is_directory) in enumerate(entries):
        if path.count("/") >= DEEPEST or number > MOST_ENTRIES:
            remove(os.path.join(source, path), is_directory)


def remove(path, is_directory):
    with contextlib.suppress(FileNotFoundError):  # gone with what it was in
        if is_directory:
            for below, kind in reversed(list(walk(path))):
                (os.rmdir if kind else os.unlink)(os.path.join(path, below))
            os.rmdir(path)
        else:
            os.unlink(path)


def walk(root):
    """(path below root, whether it is a directory), each directory before what is in it."""
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(root, directory)) as entries:
            for entry in entries:
                path = os.path.join(directory, entry.name)
                is_directory = entry.is_dir(follow_symlinks=False)
                yield path, is_directory
                if is_directory:
                    waiting.append(path)
