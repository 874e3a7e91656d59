# SPDX-License-Identifier: Apache-2.0
"""Commands that are timed."""

import os
import statistics
import subprocess
import time


class StepFailed(Exception):
    pass


class Steps:
    """Times commands; one instance per contender and round."""

    def __init__(self, record, environment):
        self._record = record
        self._environment = environment

    def time(self, label, command, *, cwd=None, allowed=(0,), again=1):
        """`again`: a short one is done that many times, and the median is taken."""
        os.sync()  # what others left to write is not this step's
        took = []
        for _ in range(again):
            start = time.monotonic()
            self.run(command, cwd=cwd, allowed=allowed)
            took.append(time.monotonic() - start)
        self._record(label, statistics.median(took))

    def run(self, command, *, cwd=None, allowed=(0,)):
        try:
            done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors="replace", timeout=600,
                                  env={**os.environ, **self._environment})
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{command[0]}: no end within 10 minutes")
        if done.returncode not in allowed:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise StepFailed(f"{command[0]} ended with {done.returncode}: {lines[-1][:200]}")
        return done.stdout

    def record(self, label, value):
        self._record(label, value)
