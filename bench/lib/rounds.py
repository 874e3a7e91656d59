# SPDX-License-Identifier: Apache-2.0
"""How often the contenders take turns."""

import time

from .contenders import say


def rounds(title, most, seconds, least=2):
    """0, 1, ...: at most `most` rounds, at least `least`, and no further one that would probably
    end after `seconds`."""
    begun, longest = time.monotonic(), 0.0
    for turn in range(most):
        start = time.monotonic()
        if turn >= least and start - begun + longest > seconds:
            say(f"{title}: time is over after {turn} of {most} rounds")
            return
        say(f"{title}: round {turn + 1} of {most}")
        yield turn
        longest = max(longest, time.monotonic() - start)
