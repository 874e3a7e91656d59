# SPDX-License-Identifier: Apache-2.0
"""A process that makes calls, and the results that no call may have."""
import collections
import contextlib
import errno
import os
import random
import time

from coherencetest import tree
from crashtest.account import Failure, name_of

# The tree is contended: what a call is about may be gone, or something else, by then.
EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
            errno.EINVAL, errno.ENODATA, errno.EPERM}
# A name that was replaced behind the mount between two steps of one call can be ESTALE, which the
# kernel itself tries again once. So can a directory that was moved behind it, as long as others
# rename through it: it takes its new place only when nobody does so at that moment. Somebody who
# asks anew must get through. A rename(2) between two directories does only if somebody has looked
# the name up before: it is itself what keeps directories from being moved. That is so over every
# transport.
ESTALE_TRIES = 10


def look_up(arguments):
    for argument in arguments:
        if isinstance(argument, str):
            with contextlib.suppress(OSError):
                os.lstat(argument)


class Worker:
    def __init__(self, who, number, root, seed, pulse):
        self.who, self.number, self.root, self.pulse = who, number, root, pulse
        self.seed = seed
        self.random = random.Random(f"{seed}.{who}")
        self.temporary = tree.TEMPORARY[number]
        self.counts = collections.Counter()
        self.recent = collections.deque(maxlen=20)

    # --- calls ---

    def call(self, function, *arguments, also=(), **named):
        """Makes one call. Raises OSError if it failed in one of the ways that it may, or `also`."""
        self.counts["calls"] += 1
        self.pulse.beat(self.number, self.counts["calls"])
        self.recent.append((time.monotonic(), function, arguments))
        for attempt in range(ESTALE_TRIES):
            try:
                return function(*arguments, **named)
            except OSError as error:
                if error.errno in EXPECTED or error.errno in also:
                    self.counts["in vain"] += 1
                    raise
                if error.errno != errno.ESTALE:
                    self.fail(name_of(error.errno))
                self.counts[f"ESTALE of {getattr(function, '__name__', function)}"] += 1
                time.sleep(0.002 * 2**attempt)
                look_up(arguments)
        self.fail(f"ESTALE, {ESTALE_TRIES} times one after another")

    def fail(self, text):
        steps = [f"{moment:.4f} {getattr(function, '__name__', function)}"
                 f"({', '.join(map(brief, arguments))})"
                 for moment, function, arguments in self.recent]
        raise Failure(f"{self.who}, seed {self.seed}, {time.monotonic():.4f}: {text} of "
                      f"{steps.pop()}, after:\n  " + "\n  ".join(steps))

    def run(self, work, pause=0):
        """Does this work, {function: weight}, until all stop, with a pause now and then. Returns
        counts."""
        functions, weights = list(work), list(work.values())
        while not self.pulse.stopped():
            if pause and self.random.random() < 0.02:
                time.sleep(self.random.uniform(0, pause))
            with contextlib.suppress(OSError):
                self.random.choices(functions, weights)[0](self)
        return self.counts

    # --- names ---

    def directory(self):
        depth = self.random.choice([0, 1, 1, 2, 2, 2, 3])
        names = [self.random.choice(tree.DIRECTORIES if self.random.random() < 0.9 else tree.NEW)
                 for _ in range(depth)]
        return os.path.join(self.root, *names)

    def path(self, *kinds):
        """Somewhere, one of these names; without any, of all that processes share."""
        names = self.random.choice(kinds or (tree.FILES, tree.FILES, tree.FILES, tree.LINKS,
                                             tree.NEW, tree.SYMLINKS, tree.DIRECTORIES))
        return os.path.join(self.directory(), self.random.choice(names))

    def sibling(self, path, name):
        return os.path.join(os.path.dirname(path), name)

    def bytes(self, most=6000):
        return self.random.randbytes(self.random.randint(1, most))


def brief(argument):
    text = repr(argument)
    return text if isinstance(argument, str) or len(text) < 40 else text[:40] + "..."
