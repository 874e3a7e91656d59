# SPDX-License-Identifier: Apache-2.0
"""Mistakes as a server could make them when it recovers: a call that runs twice, or not at all
while it tells success. Each must be noticed."""
import contextlib
import io

from crashtest import load, locks
from crashtest.mount import Native

SECONDS = 15  # at most; it ends when it is noticed
# One may do no harm: a lock that is released without being held, a file that nobody looks at again.
MADE = 60

# By how the call begins in a client's account. Not those that may be repeated unnoticed.
TWICE = ["mkdir", "mkfifo", "symlink", "unlink", "rmdir", "link ", "rename", "linkat",
         "append record", "write fd", "removexattr", "getdents", "read fd"]
NEVER = ["mkdir", "mkfifo", "symlink", "unlink", "rmdir", "link ", "rename", "linkat",
         "append record", "write fd", "pwrite", "truncate", "ftruncate", "fallocate", "chmod",
         "fchmod", "setxattr", "fsetxattr", "removexattr", "utimensat", "flock lock: exclusive",
         "posix lock: exclusive", "ofd lock: exclusive", "flock lock: none", "posix lock: none",
         "ofd lock: none", "rewind", "seekdir", "lseek"]


class Mistake:
    def __init__(self, what, call):
        self.what, self.call, self.met = what, call, 0

    def __str__(self):
        return f"{self.call.strip()}, {self.what}"

    def instead_of(self, account, text, wanted, function):
        if account.steps < 50 or wanted or not text.startswith(self.call):
            return function
        self.met += 1
        if self.met % 2 == 0 or self.met > 2 * MADE:
            return function

        def twice(*arguments, **named):
            function(*arguments, **named)
            return function(*arguments, **named)

        def never(*arguments, **_):
            if text.startswith("lseek"):
                return int(text.rsplit(" ", 1)[1])
            return len(arguments[1]) if "write" in text or "append" in text else None
        return twice if self.what == "twice" else never


def noticed(options, mistake):
    """What was noticed first, if anything."""
    options.mistake, options.clients, options.seconds = mistake, 2, SECONDS
    options.many = 50
    site = Native(options.base)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            wrong = load.run(options, site)
    finally:
        site.clean_up(False)
    return wrong[0].splitlines()[0] if wrong else None


def run(options):
    """Returns what is wrong."""
    missed = []
    locks.PATIENCE = 5
    for what, calls in (("twice", TWICE), ("never", NEVER)):
        for call in calls:
            mistake = Mistake(what, call)
            found = noticed(options, mistake)
            print(f"{mistake}: {found}"[:200], flush=True)
            if not found:
                missed.append(f"nobody noticed the mistake: {mistake}")
    return missed
