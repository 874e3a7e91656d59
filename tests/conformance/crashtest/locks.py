# SPDX-License-Identifier: Apache-2.0
"""Locks that are held while the server dies, against a second process: it must be refused as long
as they are held, and gets them when they are released."""
import errno
import fcntl
import json
import os
import select
import signal
import socket

from crashtest import kernel
from crashtest.account import name_of

# Each kind on bytes of its own: POSIX and OFD locks would see each other.
RANGES = {"posix": (0, 1000), "ofd": (2000, 1000)}
KINDS = ["flock", "posix", "ofd"]
EXCLUSIVE, SHARED, NONE = "exclusive", "shared", "none"
FLOCK = {EXCLUSIVE: fcntl.LOCK_EX, SHARED: fcntl.LOCK_SH, NONE: fcntl.LOCK_UN}
RECORD = {EXCLUSIVE: fcntl.F_WRLCK, SHARED: fcntl.F_RDLCK, NONE: fcntl.F_UNLCK}
PATIENCE = 60


def lock(fd, kind, how, wait=False):
    if kind == "flock":
        fcntl.flock(fd, FLOCK[how] | (0 if wait else fcntl.LOCK_NB))
        return
    commands = {"posix": (fcntl.F_SETLK, fcntl.F_SETLKW),
                "ofd": (kernel.OFD_SETLK, kernel.OFD_SETLKW)}
    kernel.record_lock(fd, commands[kind][wait], RECORD[how], *RANGES[kind])


class Rival:
    """The second process. It does what it is told, one thing at a time."""

    def __init__(self, path, others_fd):
        self.line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                kernel.die_with_parent(signal.SIGKILL)
                self.line.close()
                os.close(others_fd)
                self.serve(os.open(path, os.O_RDWR), other)
            finally:
                os._exit(0)
        other.close()

    @staticmethod
    def serve(fd, line):
        while True:
            told = line.recv(1000)
            if not told:
                return
            what, kind, how = json.loads(told)
            answer = [0, 0, 0]
            try:
                if what == "who":
                    answer[1:] = kernel.record_lock(fd, fcntl.F_GETLK, RECORD[how], *RANGES[kind])
                else:
                    lock(fd, kind, how, what == "wait")
            except OSError as error:
                answer[0] = error.errno
            line.send(json.dumps(answer).encode())

    def tell(self, *words):
        self.line.send(json.dumps(words).encode())

    def has_answered(self, seconds):
        return bool(select.select([self.line], [], [], seconds)[0])

    def answer(self, c, text):
        if not self.has_answered(PATIENCE):
            c.fail(f"{text}: no answer in {PATIENCE} s")
        answer = self.line.recv(1000)
        if not answer:
            c.fail(f"{text}: the second process is gone")
        return json.loads(answer)

    def stop(self):
        if self.pid is not None:
            self.line.close()
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None


class Locks:
    def __init__(self, path):
        fd = os.open(path, os.O_RDWR)
        self.fd, self.path = fd, path
        self.held = dict.fromkeys(KINDS, NONE)
        self.waits = None  # for which kind the rival waits
        self.rival = Rival(path, fd)


def set_lock(c, kind, how):
    c.call(f"{kind} lock: {how}", 0, lock, c.locks.fd, kind, how)
    c.locks.held[kind] = how


def change(c):
    kind = c.random.choice(KINDS)
    if kind == c.locks.waits:
        release_to_rival(c, kind)
    else:
        set_lock(c, kind, c.random.choice([EXCLUSIVE, EXCLUSIVE, SHARED, NONE]))


def ask_rival(c, what, kind, how):
    text = f"second process: {what} {kind} {how}"
    c.recent.append(f"step {c.steps}: {text}")
    c.locks.rival.tell(what, kind, how)
    return c.locks.rival.answer(c, text)


def compete(c):
    if c.locks.waits:
        if c.locks.rival.has_answered(0):
            c.fail(f"second process: got the {c.locks.waits} lock, which is held, or an error: "
                   f"{c.locks.rival.answer(c, '')}")
        return
    kind, how = c.random.choice(KINDS), c.random.choice([EXCLUSIVE, SHARED])
    held = c.locks.held[kind]
    conflict = held == EXCLUSIVE or (held == SHARED and how == EXCLUSIVE)
    error, _, _ = ask_rival(c, "try", kind, how)
    wanted = errno.EAGAIN if conflict else 0
    if error != wanted:
        c.fail(f"second process: {how} {kind} lock gave {name_of(error)} instead of "
               f"{name_of(wanted)}, held is {held}")
    if not conflict:
        c.same("unlock by second process", ask_rival(c, "try", kind, NONE)[0], 0)
    if kind == "posix":
        error, found, pid = ask_rival(c, "who", kind, how)
        wanted = (0, RECORD[held], os.getpid()) if conflict else (0, fcntl.F_UNLCK, 0)
        c.same("F_GETLK by second process", (error, found, pid), wanted)


def let_rival_wait(c):
    if c.locks.waits:
        return
    kind = c.random.choice(KINDS)
    if c.locks.held[kind] != EXCLUSIVE:
        set_lock(c, kind, EXCLUSIVE)
    c.recent.append(f"step {c.steps}: second process waits for {kind}")
    c.locks.rival.tell("wait", kind, c.random.choice([EXCLUSIVE, SHARED]))
    c.locks.waits = kind


def release_to_rival(c, kind):
    compete(c)
    set_lock(c, kind, NONE)
    error, _, _ = c.locks.rival.answer(c, f"second process: {kind} lock after its release")
    c.locks.waits = None
    c.same("lock that the second process waited for", name_of(error), name_of(0))
    # Now it is the client that is refused.
    c.call(f"{kind} lock, which the second process has", errno.EAGAIN, lock, c.locks.fd, kind,
           EXCLUSIVE)
    c.same("unlock by second process", ask_rival(c, "try", kind, NONE)[0], 0)


def let_go(c):
    if c.locks.waits:
        release_to_rival(c, c.locks.waits)
    c.locks.rival.stop()
    c.call("close the lock file", 0, os.close, c.locks.fd)


WORK = {change: 3, compete: 4, let_rival_wait: 1}
