# SPDX-License-Identifier: Apache-2.0
"""One client's calls, and whether their results are those that are wanted."""
import collections
import errno
import time


class Failure(Exception):
    """A call gave something else than it must."""


def name_of(number):
    return errno.errorcode.get(number, str(number)) if number else "success"


class Account:
    def __init__(self, who, seed):
        self.who, self.seed = who, seed
        self.steps = 0
        self.calls = 0
        self.recent = collections.deque(maxlen=40)
        self.mistake = None  # one that is made on purpose, see selftest

    def call(self, text, wanted, function, *arguments, **named):
        """Makes one call, which must end with the errno `wanted` (0: none). Returns its value."""
        self.calls += 1
        text = text.replace("\n", "\\n")
        self.recent.append(f"step {self.steps}, {time.monotonic():.4f}: {text}")
        value, got = None, 0
        if self.mistake is not None:
            function = self.mistake.instead_of(self, text, wanted, function)
        try:
            value = function(*arguments, **named)
        except OSError as error:
            got = error.errno
        if got != wanted:
            self.fail(f"{text}: {name_of(got)} instead of {name_of(wanted)}")
        return value

    def same(self, text, got, wanted):
        if got != wanted:
            self.fail(f"{text}: {brief(got)} instead of {brief(wanted)}"
                      + first_difference(got, wanted))

    def fail(self, text):
        raise Failure(f"{self.who}, step {self.steps}, seed {self.seed}: {text}\n  "
                      + "\n  ".join(self.recent))


def brief(value):
    if isinstance(value, (bytes, bytearray)) and len(value) > 40:
        return f"{len(value)} bytes {bytes(value[:16])!r}..."
    return repr(value)


def first_difference(got, wanted):
    if not isinstance(got, (bytes, bytearray)) or not isinstance(wanted, (bytes, bytearray)):
        return ""
    for at, (one, other) in enumerate(zip(got, wanted)):
        if one != other:
            return f", they differ at {at}"
    return f", one ends at {min(len(got), len(wanted))}"
