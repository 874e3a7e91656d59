# SPDX-License-Identifier: Apache-2.0
"""How long clients wait when a server dies."""
import os
import random
import time

from crashtest.account import Failure, name_of

SLOW = 0.0002  # faster calls are not worth a note
DATA_SIZE = 1 << 20


def ask_for_names(root):
    """Looks names up that do not exist; no cache knows an answer."""
    numbers = random.Random()

    def call():
        try:
            os.stat(f"{root}/nobody{numbers.getrandbits(60)}")
        except FileNotFoundError:
            return
        raise Failure("probe of names: a name is found that does not exist")
    return call


def read_open_file(root):
    content = random.Random(1).randbytes(DATA_SIZE)
    path = f"{root}/probed"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    os.write(fd, content)
    os.unlink(path)
    numbers = random.Random()

    def call():
        at = numbers.randrange(DATA_SIZE)
        if os.pread(fd, 4096, at) != content[at:at + 4096]:
            raise Failure(f"probe of reads: other data at {at}")
    return call


KINDS = {"names": ask_for_names, "reads": read_open_file}


def run(kind, root, pulse, number):
    """Returns the slow calls as (start, end). The pulse is when the last call that ended began."""
    call = KINDS[kind](root)
    slow = []
    while not pulse.stopped():
        start = time.monotonic()
        try:
            call()
        except OSError as error:
            raise Failure(f"probe of {kind}: {name_of(error.errno)}") from error
        end = time.monotonic()
        pulse.beat(number, int(start * 1e6))
        if end - start > SLOW:
            slow.append((start, end))
        time.sleep(0.0003)
    return slow


def pauses(slow, moments):
    """For each moment, how long a call that was under way or began soon after took from then."""
    found = []
    for moment, until in moments:
        waits = [end - max(start, moment) for start, end in slow if end > moment and start < until]
        found.append(max(waits, default=SLOW))
    return found


def describe(values):
    ordered = sorted(values)
    if not ordered:
        return "none"
    return (f"median {1000 * ordered[len(ordered) // 2]:.1f} ms, "
            f"p90 {1000 * ordered[len(ordered) * 9 // 10]:.1f} ms, "
            f"longest {1000 * ordered[-1]:.1f} ms")
