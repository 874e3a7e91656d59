# SPDX-License-Identifier: Apache-2.0
"""What a run measures: the sets, who takes part in each, and how long each may take."""

import dataclasses

from . import contenders

ALL = list(contenders.CONTENDERS)
# Whole work takes long, and what these others are about shows in single operations.
WORK = [name for name in ALL if name not in ("dev", "io=daemon", "stateless")]
MANY = [name for name in ALL if name not in ("io=daemon", "stateless")]
DATABASE = [name for name in WORK if name not in ("mergerfs", "passthrough_hp")]
PINNED = ["native", "passthroughfs", "recover=off", "dev", "bindfs", "passthrough_ll"]
QUICK = ["native", "passthroughfs", "recover=off", "bindfs", "passthrough_ll"]


@dataclasses.dataclass
class Plan:
    """Of one set on one kind of file system."""
    names: list
    rounds: int
    seconds: float  # no further round that would end later


@dataclasses.dataclass
class Set:
    text: str
    names: list
    # (rounds, seconds) on tmpfs, on disk, and with --quick on tmpfs and on disk
    tmpfs: tuple
    disk: tuple = None
    quick: tuple = None
    quick_disk: tuple = None


# In the order in which they run. Single operations first: they mind most what came before.
SETS = {
    "path": Set("the smallest request, by where caller and worker run, and beside busy programs",
                ALL, (7, 60)),
    "micro": Set("single operations, one client", ALL, (7, 150), (4, 90), (3, 35), (2, 20)),
    "pinned": Set("single operations, the client on CPU 0, on CPU 1 and free", PINNED, (4, 65)),
    "clients": Set("single operations, 2 and 8 clients", MANY, (5, 40), (3, 25), (2, 10)),
    "syscalls": Set("system calls and requests per operation of the daemon (strace)", ALL, (1, 60)),
    "tree": Set("untar, grep -r, find, rm -rf of 20,000 files", WORK, (5, 130), (3, 130), (2, 10)),
    "git": Set("clone, status and checkout of 10,000 files", WORK, (5, 90), (3, 90), (2, 15)),
    "build": Set("a C++ build with ninja", WORK, (3, 110), (2, 70)),
    "sqlite": Set("commits and a load", WORK, (5, 40), (3, 50), (3, 10)),
    "fio": Set("random reads and writes", WORK, (3, 60), (3, 60)),
    "journal": Set("what the record of changes costs", ALL, (7, 40)),
    "pgbench": Set("PostgreSQL, if it is installed", DATABASE, (3, 100), (3, 100)),
}


def plan_of(name, kind, args, only):
    """None: this set is not measured there, unless it was asked for by name."""
    what = SETS[name]
    chosen = getattr(what, f"quick{'_disk' if kind == 'disk' else ''}" if args.quick else kind)
    if chosen is None:
        if not args.sets:
            return None
        chosen = what.tmpfs
    rounds, seconds = chosen
    names = only or ([n for n in QUICK if n in what.names] if args.quick else what.names)
    return Plan(names, args.rounds or rounds, 60 * args.minutes if args.minutes else seconds)
