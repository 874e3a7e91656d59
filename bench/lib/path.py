# SPDX-License-Identifier: Apache-2.0
"""Where the time of one request goes: the smallest request in several settings, beside a round trip
through pipes, which is what the scheduler alone costs; on an idle machine and on one whose CPUs
are all busy with other programs."""

import contextlib
import json
import os
import subprocess
import sys

from . import arena, contenders, report, results
from .micro import run_operations
from .rounds import rounds

NEEDED = ["native", "passthroughfs", "recover=off", "dev", "-o transport=dev,recover=off,threads=1"]
PIPE = "one byte through pipes and back, both threads on one CPU"
WAYS = {"recover=off": "io_uring (recover=off)", "dev": "/dev/fuse (recover=off)",
        "passthroughfs": "/dev/fuse (recover=on)"}
FREE = {name: f"GETATTR, {way}, caller where the scheduler likes" for name, way in WAYS.items()}
BUSY = ", every CPU busy"
MEAN = " (mean)"


@contextlib.contextmanager
def hogs(count):
    """Other programs that compute all the time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def settings():
    """(row, contender, operation, CPU of the caller or None)"""
    cpus = sorted(os.sched_getaffinity(0))
    first, other = cpus[0], cpus[-1]
    yield "statx, natively", "native", "getattr", None
    yield PIPE, "native", "pipe_same_cpu", None
    if other != first:
        yield "the same, threads on two CPUs", "native", "pipe_other_cpu", None
    for name, row in FREE.items():
        yield row, name, "getattr", None
        for cpu in sorted({first, other}):
            yield row.replace("where the scheduler likes", f"on CPU {cpu}"), name, "getattr", cpu
    single = NEEDED[-1]
    yield "GETATTR, /dev/fuse, one worker, caller on its CPU", single, "getattr", first
    if other != first:
        yield "GETATTR, /dev/fuse, one worker, caller on another CPU", single, "getattr", other


def daemon_microseconds(mount):
    """The median that the daemon itself sees, of GETATTR."""
    done = subprocess.run([contenders.our_program(), "stats", mount.dir, "--json"],
                          capture_output=True, text=True, timeout=20)
    for operation in json.loads(done.stdout)["operations"] if done.returncode == 0 else []:
        if operation["name"] == "GETATTR":
            return operation["p50_us"]
    return None


def measure(kind, parent, plan, seconds):
    """The section: all in a column `us`, rows for the mean and for busy CPUs apart."""
    section = results.Section(f"path-{kind}", "One request", "us")
    rows = list(settings())

    def one(turn, text, name, operation, cpu, busy=""):
        mount = mounted.get(name)
        found = run_operations(mount, [operation], seconds=seconds, cpu=cpu) if mount else "none"
        if not isinstance(found, str):
            section.add(text + busy, "us", turn, found[0]["us_median"])
            section.add(text + busy + MEAN, "us", turn, found[0]["us_mean"])

    with arena.Arena(kind, parent, NEEDED) as mounted:
        for turn in rounds("one request", plan.rounds, plan.seconds):
            for row in rows:
                one(turn, *row)
            with hogs(len(os.sched_getaffinity(0))):
                for row in rows:
                    if row[0] in (PIPE, *FREE.values()):
                        one(turn, *row, busy=BUSY)
        for name, way in WAYS.items():
            inside = daemon_microseconds(mounted.get(name)) if mounted.get(name) else None
            if inside:
                section.add(f"of that, in the daemon (steps 4 to 6), {way}", "us", 0, inside)
    section.finish()
    return section


def markdown(section):
    lines = []
    for row in section.values:
        if row.endswith(MEAN) or row.endswith(BUSY):
            continue
        cells = [row]
        for text in (row, row + MEAN, row + BUSY, row + BUSY + MEAN):
            cells.append(report.number(section.median(text, "us"))
                         + report.percent(section.spread(text, "us")))
        lines.append(cells)
    return "\n".join([*report.table(["us", "median", "mean", "median, every CPU busy", "mean"],
                                    lines), "", report.circumstances(section)])
