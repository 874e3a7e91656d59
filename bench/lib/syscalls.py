# SPDX-License-Identifier: Apache-2.0
"""Counts what one file operation makes the daemon do: requests from the kernel, and system calls.

Each operation is done N times from here, one system call each, while strace counts the daemon's
calls and the daemon's own statistics count the requests. Nothing is timed: strace makes all slow.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from . import arena, contenders, report
from .contenders import say

# What the daemon does by itself (its monitor) and what begins and ends a trace.
NOT_COUNTED = {"restart_syscall", "clock_nanosleep", "futex", "poll", "accept4"}
# Younger than Debian 12's strace.
NEWER = {"syscall_0x1c4": "fchmodat2", "syscall_0x1c3": "cachestat"}


class Operation:
    """`once(i)` is counted; `before` and `after` are not."""

    def __init__(self, name, once, before=None, after=None):
        self.name = name
        self.once = once
        self.before = before or (lambda n: None)
        self.after = after or (lambda n: None)


def operations(directory):
    path = os.path.join(directory, "file")
    names = os.path.join(directory, "name")
    listed = os.path.join(os.path.dirname(directory), arena.LISTED)
    state = {}
    page = b"x" * 4096

    def make(_n=0, size=4096):
        with open(path, "wb", buffering=0) as file:
            file.write(b"x" * size)

    def opened(flags):
        def before(_n):
            make(size=1 << 20)
            state["fd"] = os.open(path, flags)
            if flags & os.O_RDWR:
                os.pread(state["fd"], 1 << 20, 0)
        return before

    def closed(_n):
        os.close(state.pop("fd"))
        os.unlink(path)

    def create_all(n):
        for i in range(n):
            os.close(os.open(f"{names}{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    def unlink_all(n):
        for i in range(n):
            os.unlink(f"{names}{i}")

    def unlink_file(_n):
        os.unlink(path)

    def dropped_read(i):
        os.posix_fadvise(state["fd"], 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(state["fd"], 4096, i % 256 * 4096)

    def missing(i):
        try:
            os.stat(f"{names}-missing{i}")
        except FileNotFoundError:
            pass

    def on_file(name, once):
        return Operation(name, once, make, unlink_file)

    def on_open(name, once, flags=os.O_RDWR):
        return Operation(name, once, opened(flags), closed)

    return [
        on_open("read 4 KiB, in the page cache",
                lambda i: os.pread(state["fd"], 4096, i % 256 * 4096)),
        on_open("read 4 KiB, not in the page cache", dropped_read),
        on_open("write 4 KiB", lambda i: os.pwrite(state["fd"], page, i % 256 * 4096)),
        on_open("append 100 bytes", lambda i: os.write(state["fd"], page[:100]),
                os.O_WRONLY | os.O_APPEND),
        on_file("open + close", lambda i: os.close(os.open(path, os.O_RDONLY))),
        Operation("create + close",
                  lambda i: os.close(os.open(f"{names}{i}",
                                             os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
                  after=unlink_all),
        on_file("stat by path, repeated", lambda i: os.stat(path)),
        on_open("fstat, repeated", lambda i: os.fstat(state["fd"])),
        on_open("write 4 KiB, then fstat",
                lambda i: (os.pwrite(state["fd"], page, 0), os.fstat(state["fd"]))),
        Operation("stat of a missing name", missing),
        Operation("unlink", lambda i: os.unlink(f"{names}{i}"), create_all),
        Operation("rename", lambda i: os.rename(f"{names}{i}", f"{names}-new{i}"), create_all,
                  lambda n: [os.unlink(f"{names}-new{i}") for i in range(n)]),
        Operation("mkdir + rmdir", lambda i: (os.mkdir(f"{names}-d"), os.rmdir(f"{names}-d"))),
        on_open("ftruncate", lambda i: os.ftruncate(state["fd"], 1 + i % 100)),
        on_file("chmod", lambda i: os.chmod(path, 0o600 + i % 2)),
        on_open("fsync", lambda i: os.fsync(state["fd"])),
        Operation(f"list a directory of {arena.LISTED_FILES}", lambda i: os.listdir(listed)),
    ]


class Trace:
    """strace on a daemon; `counts` after it has ended."""

    def __init__(self, pid):
        self.file = tempfile.NamedTemporaryFile(prefix="pfs-strace-", mode="r")
        self.process = subprocess.Popen(
            # Not -c: that leaves out what strace has no name for.
            ["strace", "-f", "-qq", "-s", "0", "-o", self.file.name, "-p", str(pid)],
            stderr=subprocess.PIPE, text=True, start_new_session=True)
        self._wait_until_attached(pid)

    def _wait_until_attached(self, pid):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise contenders.Unavailable("strace: " + self.process.stderr.read().strip())
            statuses = (pathlib.Path(f"/proc/{pid}/task") / t / "status"
                        for t in os.listdir(f"/proc/{pid}/task"))
            if all(re.search(r"TracerPid:\t[1-9]", s.read_text()) for s in statuses):
                return
            time.sleep(0.02)
        self.stop()
        raise contenders.Unavailable("strace does not attach")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        counts = {}
        for line in self.file.read().splitlines():
            match = re.match(r"\d+\s+([a-z_0-9]+)\(", line)
            name = NEWER.get(match[1], match[1]) if match else None
            if name and name not in NOT_COUNTED:
                counts[name] = counts.get(name, 0) + 1
        self.file.close()
        return counts


def requests(mount):
    done = subprocess.run([contenders.our_program(), "stats", mount.dir, "--json"],
                          capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise contenders.Unavailable("stats: " + done.stderr.strip())
    return {op["name"]: op["count"] for op in json.loads(done.stdout)["operations"]}


def settled_requests(mount):
    """RELEASE and FORGET come after the call that caused them: waits until no more come."""
    late = ("RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET")
    last = requests(mount)
    for _ in range(100):
        time.sleep(0.05)
        now = requests(mount)
        if all(now.get(name) == last.get(name) for name in late):
            break
        last = now
    return now


def per_operation(before, after, times):
    """{name: count per operation}, without what happens once in a while: the statistics command
    looks at the mount and closes descriptors, and the trace begins inside a read."""
    counts = {name: count - before.get(name, 0) for name, count in after.items()}
    result = {}
    for name, count in counts.items():
        if count > max(5, times * 0.05):
            near = round(count / times)
            result[name] = near if abs(count - near * times) <= 5 else count / times
    return result


def measure(mount, operation, times):
    directory = os.path.join(mount.dir, "counted")
    os.makedirs(directory, exist_ok=True)
    operation.before(times + 8)
    for i in range(8):  # what only the first call does: negotiated answers, first lookups
        operation.once(times + i)
    quiet = settled_requests(mount)
    trace = Trace(mount.serving_pid())
    try:
        for i in range(times):
            operation.once(i)
        time.sleep(0.1 + times / 5000)
    finally:
        calls = trace.stop()
    loud = settled_requests(mount)
    operation.after(times + 8)
    return per_operation(quiet, loud, times), per_operation({}, calls, times)


def text_of(counts):
    def amount(value):
        near = round(value)
        return "" if abs(value - 1) < 0.06 else (
            f"{near} " if abs(value - near) < 0.06 * max(1, near) else f"{value:.2f} ")
    if not counts:
        return "none"
    return ", ".join(f"{amount(v)}{name}" for name, v in
                     sorted(counts.items(), key=lambda item: -item[1]))


def total(counts):
    value = sum(counts.values())
    near = round(value)
    return f"{near}" if abs(value - near) < 0.1 * max(1, near) else f"{value:.1f}"


def measure_all(mounts, times, containing=""):
    """{contender: {operation: (requests, system calls)}}, each {name: count per operation}."""
    if not shutil.which("strace"):
        raise contenders.Unavailable("strace is not installed")
    result = {}
    for mount in mounts:
        directory = os.path.join(mount.dir, "counted")
        result[mount.name] = {}
        say(f"system calls of {mount.name}")
        for operation in operations(directory):
            if containing in operation.name:
                result[mount.name][operation.name] = measure(mount, operation, times)
    return result


MODES = {"passthroughfs": "`handles=table` (the default; `io=auto` finds kernel passthrough)",
         "io=daemon": "`handles=table`, `io=daemon`", "stateless": "`handles=stateless`"}


def markdown(counted):
    lines = []
    for name, column in counted.items():
        lines += [MODES.get(name, name) + ":", ""]
        rows = [[operation, text_of(requests), total(calls), text_of(calls)]
                for operation, (requests, calls) in column.items()]
        lines += report.table(["", "requests", "system calls", "which"], rows, "llrl") + [""]
    return "\n".join(lines)
