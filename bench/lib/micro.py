# SPDX-License-Identifier: Apache-2.0
"""Single operations, timed by pfs_microbench."""

import json
import os
import subprocess

from .arena import LISTED, LISTED_FILES
from .contenders import microbench
from .results import Section
from .rounds import rounds

OPERATIONS = ["read_4k", "read_4k_uncached", "write_4k", "append", "open_close", "create_close",
              "stat", "fstat",
              "getattr", "lookup_missing", "unlink", "rename", "mkdir_rmdir", "ftruncate", "chmod",
              "readdir", "read_1m", "read_1m_first", "write_1m"]
# With several clients: one data operation, one answered from caches, and the kinds of requests.
CLIENT_OPERATIONS = ["read_4k", "write_4k", "open_close", "create_close", "stat", "getattr",
                     "lookup_missing"]
PINNED_OPERATIONS = ["read_4k", "write_4k", "open_close", "create_close", "getattr",
                     "lookup_missing", "unlink", "rename", "ftruncate", "chmod"]
PIPES = ["pipe_same_cpu", "pipe_other_cpu"]


def run_operations(mount, operations, *, seconds=1, count=0, clients=1, mode="threads", pin=False,
                   extra=(), timeout=None, cpu=None):
    """The results as dicts, or a string that says why there are none. `cpu` keeps the whole program
    there, `pin` each client on a CPU of its own."""
    command = [str(microbench()), mount.dir, "--source", mount.source, "--op",
               ",".join(operations), "--clients", str(clients), "--mode", mode,
               "--seconds", str(seconds), "--count", str(count), *extra]
    if pin:
        command.append("--pin")
    timeout = timeout or 60 + 20 * seconds * len(operations)
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"no end within {timeout:.0f} s"
    if done.returncode != 0:
        return done.stderr.strip() or f"ended with {done.returncode}"
    return json.loads(done.stdout)


def run_microbench(mount, operation, **options):
    listed = ["--population", f"{mount.dir}/{LISTED}", "--files", str(LISTED_FILES), "--flat"]
    results = run_operations(mount, [operation], extra=listed, **options)
    return results if isinstance(results, str) else results[0]


def measure(arena, plan, *, operations, seconds, clients=1, mode="threads", pin=False):
    """One client: microseconds that an operation takes. More: throughput of all, as microseconds
    per operation and client."""
    several = clients > 1
    who = f", {clients} clients ({mode}{', pinned' if pin else ''})" if several else ""
    name = "micro" if not several else f"clients{clients}"
    section = Section(f"{name}-{arena.kind}", f"Single operations{who} on {arena.kind}", "us")
    if several:
        section.note("Microseconds per operation as one of the clients sees them, waiting included "
                     "(the mean: clients divided by operations per second).")
    else:
        section.note("Microseconds per operation: the median batch (64 repetitions, fewer for the "
                     "long ones) in each round; "
                     + ("the client is pinned." if pin else "the scheduler places the client."))
        section.note("read_4k_uncached: not in the mount's page cache, but in the source's. "
                     "read_1m_first: the same, in order, with read-ahead. getattr: statx with "
                     "AT_STATX_FORCE_SYNC, the smallest request there is.")
        section.note(f"readdir lists a directory of {LISTED_FILES} files.")
    failed = set()
    for turn in rounds(section.title, plan.rounds, plan.seconds):
        for number, operation in enumerate(operations):
            # For each operation contenders are neighbours in time, and each comes first once.
            for mount in arena.rotated(turn + number, plan.names):
                result = _once(section, failed, mount, operation, operation, turn, seconds=seconds,
                               clients=clients, mode=mode, pin=pin)
                if result:
                    section.add(operation, mount.name, turn,
                                result["us_mean" if several else "us_median"])
        native = arena.get("native")
        for operation in PIPES if native and not several else []:
            result = _once(section, failed, native, operation, operation, turn, seconds=seconds)
            if result:
                section.add(operation, "native", turn, result["us_median"])
    section.finish()
    return section


def measure_pinned(arena, plan, *, operations, seconds):
    """One client that stays on a CPU, beside one that the scheduler places."""
    section = Section(f"pinned-{arena.kind}", f"Single operations, pinned clients, on {arena.kind}",
                      "us")
    section.note("Microseconds per operation, as for a client that the scheduler places. With a "
                 "server thread for each CPU no CPU should be a dear one to be on.")
    cpus = sorted(os.sched_getaffinity(0))
    places = [("free", None), *((f"on CPU {cpu}", cpu) for cpu in cpus[:2])]
    failed = set()
    for turn in rounds(section.title, plan.rounds, plan.seconds):
        for number, operation in enumerate(operations):
            for where, cpu in places:
                row = f"{operation}, {where}"
                for mount in arena.rotated(turn + number, plan.names):
                    result = _once(section, failed, mount, operation, row, turn, seconds=seconds,
                                   cpu=cpu)
                    if result:
                        section.add(row, mount.name, turn, result["us_median"])
    section.finish()
    return section


def _once(section, failed, mount, operation, row, turn, **options):
    """The result, or None: then it is noted why, once, and not tried again."""
    if (row, mount.name) in failed:
        return None
    result = run_microbench(mount, operation, **options)
    if isinstance(result, str):
        failed.add((row, mount.name))
        section.note(f"{mount.name}, {row}: {result}")
        section.add(row, mount.name, turn, None)
        return None
    return result
