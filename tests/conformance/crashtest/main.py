# SPDX-License-Identifier: Apache-2.0
"""The options, and what must happen whatever else does: an end in time, and cleaning up."""
import argparse
import os
import random
import signal
import sys

from crashtest import deaths, faults, judge, load, selftest
from crashtest.mount import Mount, MountError, Native

KINDS = ["kills", "guardian_deaths", "deputy_deaths", "double_deaths", "upgrades", "upgrade_deaths"]
LONGER = 3  # with $PFS_LONG


def parse():
    parser = argparse.ArgumentParser(prog="crashtest.py", description=__doc__)
    parser.add_argument("program", nargs="?", help="passthroughfs; none with --native")
    parser.add_argument("--native", action="store_true", help="work on a directory without a mount")
    parser.add_argument("--kills", type=int, default=25, metavar="N",
                        help="deaths of the server; without any death only the work, for --seconds")
    parser.add_argument("--guardian-deaths", type=int, default=0, metavar="N")
    parser.add_argument("--deputy-deaths", type=int, default=0, metavar="N")
    parser.add_argument("--double-deaths", type=int, default=0, metavar="N",
                        help="server and guardian within a moment")
    parser.add_argument("--upgrades", type=int, default=0, metavar="N",
                        help="how often a copy of the program takes over")
    parser.add_argument("--upgrade-deaths", type=int, default=0, metavar="N",
                        help="upgrades in which servers die")
    parser.add_argument("--slow", action="store_true", help="the program has sanitizers")
    parser.add_argument("--interval", type=float, default=300, help="ms between kills, on average")
    parser.add_argument("--signal", choices=sorted(deaths.SIGNALS), default="KILL")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--limit", type=int, default=int(os.environ.get("PFS_TIMEOUT", 600)),
                        help="seconds until all must have ended (default $PFS_TIMEOUT, or 600)")
    parser.add_argument("--patience", type=int, default=90,
                        help="seconds that a client may take for one step, and a server to start")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--many", type=int, default=300, help="names in a client's large directory")
    parser.add_argument("--option", action="append", default=[], help="a mount option")
    parser.add_argument("--base", help="where the temporary tree is made")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fault", help="one of " + ", ".join(faults.POINTS) + ", or all")
    parser.add_argument("--first", type=int, default=1, help="the first N of --fault")
    parser.add_argument("--most", type=int, default=100, help="up to how many N of --fault")
    parser.add_argument("--every", type=int, default=1, help="only each so-manyth N of --fault")
    parser.add_argument("--again", action="store_true", help="--fault in each later server, too")
    parser.add_argument("--self-test", action="store_true",
                        help="make mistakes on purpose, without a mount: each must be noticed")
    parser.add_argument("--keep", action="store_true", help="keep the temporary tree")
    options = parser.parse_args()
    options.mistake = None
    options.native |= options.self_test
    if options.native:
        for kind in KINDS:
            setattr(options, kind, 0)
        options.fault = None
    elif options.program is None:
        parser.error("which program?")
    if options.seed is None:
        options.seed = random.randrange(10**6)
    options.mount_options = list(options.option)
    if os.geteuid() == 0:
        options.mount_options.append("allow_other")
    if os.environ.get("PFS_LONG"):
        options.seconds *= LONGER
        options.every = max(1, options.every // LONGER)
        for kind in KINDS:
            setattr(options, kind, getattr(options, kind) * LONGER)
    dies = options.fault or any(getattr(options, kind) for kind in KINDS)
    if dies and not any(option.startswith("recover=") for option in options.option):
        options.mount_options.insert(0, "recover=on")
    return options


def out_of_time(number, _):
    raise MountError(f"not at an end in time, or told to stop ({signal.Signals(number).name})")


def main():
    options = parse()
    sys.stdout.reconfigure(errors="backslashreplace")  # not all names are text
    print(f"seed {options.seed}", flush=True)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, out_of_time)
    signal.alarm(options.limit)
    try:
        way = (selftest.run if options.self_test else faults.run if options.fault else run_load)
        wrong = way(options)
    except MountError as error:
        wrong = [str(error)]
    judge.tell(wrong)
    print(f"seed {options.seed}: {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


def run_load(options):
    site = (Native(options.base) if options.native
            else Mount(options.program, options.base, options.mount_options))
    wrong = ["did not get to an end"]
    try:
        wrong = load.run(options, site)
    finally:
        site.clean_up(options.keep or bool(wrong))
    return wrong
