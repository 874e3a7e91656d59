# SPDX-License-Identifier: Apache-2.0
"""What a run measures: the sets, who takes part in each, and how long each may take."""

import dataclasses

from . import contenders

ALL = list(contenders.CONTENDERS)
MANY = [name for name in ALL if name not in ("io=daemon", "stateless")]
# Whole work takes long: without what shows in single operations; trees without writeback too.
WORK = [name for name in MANY if name != "dev"]
TREE = [name for name in WORK if name != "writeback"]
DATABASE = [name for name in WORK if name not in ("mergerfs", "passthrough_hp", "fuse-overlayfs")]
PINNED = ["native", "passthroughfs", "recover=off", "dev", "bindfs", "passthrough_ll"]
# What the aims are about. On disk one step of a tree costs what it costs on tmpfs and the disk.
FEW = ["native", "passthroughfs", "recover=off", "bindfs", "passthrough_ll"]


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
    disk_names: list = None


# In the order in which they run. Single operations first: they mind most what came before.
SETS = {
    "path": Set("the smallest request, by where caller and worker run, and beside busy programs",
                ALL, (7, 60)),
    "micro": Set("single operations, one client", ALL, (7, 150), (3, 70), (3, 35), (2, 20)),
    "pinned": Set("single operations, the client on CPU 0, on CPU 1 and free", PINNED, (4, 65)),
    "clients": Set("single operations, 2 and 8 clients", MANY, (5, 40), (2, 20), (2, 10)),
    "syscalls": Set("system calls and requests per operation of the daemon (strace)", ALL, (1, 60)),
    "tree": Set("untar, grep -r, find, rm -rf of 20,000 files", TREE, (4, 150), (2, 100), (2, 10),
                disk_names=FEW),
    "git": Set("clone, status and checkout of 4,000 files", TREE, (4, 100), (3, 60), (2, 15),
               disk_names=FEW),
    "build": Set("a C++ build with ninja", WORK, (4, 80), (3, 45), disk_names=FEW),
    "sqlite": Set("commits and a load", WORK, (5, 40), (4, 45), (3, 10)),
    "fio": Set("random reads and writes", WORK, (4, 70), (3, 50), disk_names=FEW),
    "journal": Set("what the record of changes costs", ALL, (7, 30)),  # its own contenders
    "pgbench": Set("PostgreSQL, if it is installed", DATABASE, (4, 100), (3, 80), disk_names=FEW),
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
    names = what.disk_names if kind == "disk" and what.disk_names else what.names
    if args.quick:
        names = [name for name in FEW if name in names]
    return Plan(only or names, args.rounds or rounds,
                60 * args.minutes if args.minutes else seconds)
