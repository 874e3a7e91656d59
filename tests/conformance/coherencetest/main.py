# SPDX-License-Identifier: Apache-2.0
"""The options, and what must happen whatever else does: an end in time, and cleaning up."""
import argparse
import os
import random
import shutil
import signal
import sys

from coherencetest import load, watched
from crashtest.mount import Mount, MountError

SKIP = 77
MOST_TOLD = 30


def parse():
    parser = argparse.ArgumentParser(prog="coherencetest.py", description=__doc__)
    parser.add_argument("program", help="passthroughfs")
    parser.add_argument("--options", default="cache=coherent,journal=off", help="mount options")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=2, metavar="S", help="for each round")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--kills", type=float, default=0, metavar="MS",
                        help="the server dies every so many milliseconds, on average")
    parser.add_argument("--base", default="/var/tmp", metavar="DIR", help="where the source lies")
    parser.add_argument("--deadline", type=float, default=5, metavar="S",
                        help="for how long the mount may show what was before")
    parser.add_argument("--expect-stale", action="store_true",
                        help="succeed if something stale is found, and nothing worse")
    parser.add_argument("--limit", type=int, default=int(os.environ.get("PFS_TIMEOUT", 600)),
                        help="seconds until all must have ended (default $PFS_TIMEOUT, or 600)")
    parser.add_argument("--patience", type=float, default=60, metavar="S",
                        help="that one call may take, and a server to start")
    parser.add_argument("--keep", action="store_true", help="keep the temporary tree")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**6)
    options.mount_options = options.options.split(",")
    return options


def obstacle():
    """Why nothing of this can run here, or nothing."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "neither root nor fusermount3"
    if os.geteuid() != 0:
        return "chown needs root"
    return ""


class CoherentMount(Mount):
    prefix = "pfs-coherencetest-"


def out_of_time(number, _):
    for each in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # what cleans up is not to be stopped by the next one
    raise MountError(f"not at an end in time, or told to stop ({signal.Signals(number).name})")


def main():
    options = parse()
    sys.stdout.reconfigure(errors="backslashreplace")  # not all names are text
    if why := obstacle():
        print(f"cannot run here: {why}")
        return 1 if os.environ.get("CI") == "true" else SKIP
    if "cache=coherent" in options.mount_options and (why := watched.can_watch(options.base)):
        print(f"{options.base} cannot be watched: {why}")
        return SKIP
    print(f"seed {options.seed}, {options.options}, {options.base}", flush=True)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, out_of_time)
    signal.alarm(options.limit)
    try:
        wrong = run(options)
    except MountError as error:
        wrong = [str(error)]
    for line in wrong[:MOST_TOLD]:
        print(line)
    if len(wrong) > MOST_TOLD:
        print(f"... and {len(wrong) - MOST_TOLD} more")
    if options.expect_stale:
        found = [line for line in wrong if line.startswith("stale: ")]
        passed = bool(found) and len(found) + 1 == len(wrong)  # the other line is the round
        print(f"{len(found)} stale answers, which was {'wanted' if passed else 'not all'}")
    else:
        passed = not wrong
    print(f"seed {options.seed}: {'passed' if passed else 'failed'}")
    return 0 if passed else 1


def run(options):
    """Returns what is wrong."""
    site = CoherentMount(options.program, options.base, options.mount_options)
    wrong = ["did not get to an end"]
    try:
        site.start()
        if options.kills:
            site.check_recovers()
        wrong = load.run(options, site)
    finally:
        site.clean_up(options.keep)
    return wrong
