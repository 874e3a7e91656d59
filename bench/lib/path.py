# SPDX-License-Identifier: Apache-2.0
"""Where the time of one request goes: the smallest request in several settings, beside a round trip
through pipes, which is what the scheduler alone costs."""

import json
import os
import subprocess

from . import contenders, report, results
from .contenders import say
from .micro import run_operations

NEEDED = ["native", "passthroughfs", "-o threads=1"]


def daemon_microseconds(mount):
    """The median that the daemon itself sees, of GETATTR."""
    done = subprocess.run([contenders.our_program(), "stats", mount.dir, "--json"],
                          capture_output=True, text=True, timeout=20)
    for operation in json.loads(done.stdout)["operations"] if done.returncode == 0 else []:
        if operation["name"] == "GETATTR":
            return operation["p50_us"]
    return None


def measure(kind, parent, rounds, seconds):
    cpus = sorted(os.sched_getaffinity(0))
    first, other = cpus[0], cpus[-1]
    rows = [("statx, natively", "native", "getattr", None),
            ("one byte through pipes and back, both threads on one CPU", "native", "pipe_same_cpu",
             None),
            ("the same, threads on two CPUs", "native", "pipe_other_cpu", None),
            ("GETATTR, one worker, caller on its CPU", "-o threads=1", "getattr", first),
            ("GETATTR, one worker, caller on another CPU", "-o threads=1", "getattr", other),
            ("GETATTR, a worker per CPU, caller on one CPU", "passthroughfs", "getattr", first),
            ("GETATTR, a worker per CPU, caller where the scheduler likes", "passthroughfs",
             "getattr", None)]
    if first == other:
        rows = [row for row in rows if row[3] != other or row[1] == "passthroughfs"][:-1]
    section = results.Section(f"path-{kind}", "One request", "us")
    with contenders.Arena(kind, parent, NEEDED) as arena:
        mounts = {mount.name: mount for mount in arena.mounts}
        for turn in range(rounds):
            say(f"bench: one request: round {turn + 1} of {rounds}")
            for text, name, operation, cpu in rows:
                if name not in mounts:
                    continue
                found = run_operations(mounts[name], [operation], seconds=seconds, cpu=cpu)
                if not isinstance(found, str):
                    section.add(text, "us", turn, found[0]["us_median"])
        inside = daemon_microseconds(mounts["passthroughfs"]) if "passthroughfs" in mounts else None
    section.finish()
    lines = [[text, report.number(section.median(text, "us")),
              report.percent(section.spread(text, "us"))] for text, *_ in rows]
    if inside:
        lines.append(["of that, in the daemon (steps 4 to 6)", report.number(inside), ""])
    return "\n".join([*report.table(["", "us", ""], lines), "", report.circumstances(section)])
