# SPDX-License-Identifier: Apache-2.0
"""Mounts of the contenders over one kind of file system, and how they are taken down."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import time

from .contenders import Unavailable, command_for, is_ours, our_program, say

LISTED, LISTED_FILES = "listed", 1000  # a directory in each source, there before the mount


def more_descriptors():
    """passthroughfs asks for as many descriptors as it may have; some peers, which keep one for
    each known file too, would stop at the usual 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/fs/nr_open") as limit:
        possible = int(limit.read())
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, possible))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def mounted_at(path):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == path for line in mounts)


class Mount:
    """One contender over a source directory. For `native` both are the same directory."""

    def __init__(self, name, base, source=None):
        self.name = name
        self.base = os.path.join(base, re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-"))
        self.source = source or os.path.join(self.base, "source")
        self.dir = self.source
        self.process = None
        os.makedirs(self.base)
        if source is None:
            prepare_listed(self.source)
        if name != "native":
            self.dir = os.path.join(self.base, "mount")
            os.makedirs(self.dir)
            self._start()

    def _start(self):
        command = command_for(self.name)(self.source, self.dir, self.base)
        self.log = os.path.join(self.base, "log")
        with open(self.log, "wb") as log:
            # In a session of its own, so that ctrl-C does not end it before we have unmounted.
            # Its journal goes with the rest.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=None if is_ours(self.name) else more_descriptors,
                env={**os.environ, "XDG_STATE_HOME": self.base})
        try:
            self._wait_until_served()
        except BaseException:
            self.unmount()
            raise

    def _wait_until_served(self):
        deadline = time.monotonic() + 20
        while not mounted_at(self.dir):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    text = " ".join(log.read().split()) or "no message"
                raise Unavailable(f"does not mount: {text[:300]}")
            time.sleep(0.01)
        os.statvfs(self.dir)  # answered once the mount serves

    def serving_pid(self):
        """The process that answers: with recover=on a child of the one that was started."""
        if is_ours(self.name):
            done = subprocess.run([our_program(), "stats", self.dir, "--json"],
                                  capture_output=True, text=True, timeout=20)
            if done.returncode == 0:
                return json.loads(done.stdout).get("server_pid") or self.process.pid
        return self.process.pid

    def restart(self):
        if self.process is not None:
            self.unmount()
            self._start()

    def unmount(self):
        if self.process is None:
            return
        unmount(self.dir)
        for stop in (None, signal.SIGTERM, signal.SIGKILL):
            if stop:
                self.process.send_signal(stop)
            try:
                self.process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue
        if mounted_at(self.dir):  # the process was killed: what it left
            unmount(self.dir)
        self.process = None


def prepare_listed(source):
    os.makedirs(os.path.join(source, LISTED))
    for i in range(LISTED_FILES):
        os.mknod(os.path.join(source, LISTED, f"f{i:07}"))


def unmount(path):
    tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    lazily = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
    for attempt in range(20):
        if not mounted_at(path):
            return
        command = tool if attempt < 19 else lazily
        if subprocess.run([*command, path], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)


class Arena:
    """Mounts of all contenders over one kind of file system, taken down at the end of `with`.

    Each has a source of its own; with `one_source` all have the same, which `prepare` fills."""

    def __init__(self, kind, parent, names, *, prepare=None, one_source=False):
        self.kind = kind
        self.base = os.path.join(os.path.realpath(parent), f"passthroughfs-bench.{os.getpid()}")
        self.mounts = []
        self.missing = {}  # name: reason
        self._names = names
        self._prepare = prepare
        self._source = os.path.join(self.base, "source") if one_source else None

    def __enter__(self):
        os.makedirs(self._source or self.base)
        try:
            if self._prepare:
                self._prepare(self._source)
            for name in self._names:
                try:
                    self.mounts.append(Mount(name, self.base, self._source))
                except Unavailable as reason:
                    self.missing[name] = str(reason)
                    say(f"{name} cannot be measured: {reason}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def rotated(self, turn, names=None):
        """All, or those with these names, and each turn begins with another one."""
        mounts = [m for m in self.mounts if names is None or m.name in names]
        turn %= max(1, len(mounts))
        return mounts[turn:] + mounts[:turn]

    def restart(self, mount):
        """After a failure: what made this one fail may not spoil the next set for it. One that
        does not come back is out: its mountpoint is a native directory now."""
        try:
            mount.restart()
        except Unavailable as reason:
            self.mounts.remove(mount)
            self.missing[mount.name] = f"after a failure it {reason}"
            say(f"{mount.name} is out: {reason}")

    def get(self, name):
        return next((m for m in self.mounts if m.name == name), None)

    def close(self):
        # A second ctrl-C may not leave mounts behind.
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        old = {s: signal.signal(s, signal.SIG_IGN) for s in signals}
        try:
            for mount in self.mounts:
                mount.unmount()
            left = [m.dir for m in self.mounts if m.name != "native" and mounted_at(m.dir)]
            if left:
                say(f"still mounted: {' '.join(left)}; {self.base} is left as it is")
            else:  # much faster than shutil.rmtree when there are a million files
                subprocess.run(["rm", "-rf", "--one-file-system", self.base])
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
