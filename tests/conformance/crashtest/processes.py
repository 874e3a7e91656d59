# SPDX-License-Identifier: Apache-2.0
"""Child processes, what they report, and what all of them share."""
import mmap
import os
import pickle
import signal
import struct
import time
import traceback

from crashtest import kernel
from crashtest.account import Failure


class Pulse:
    """Memory that all processes share: a wish to stop, and how far each has come."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 4096)

    def stop(self):
        self.memory[0] = 1

    def stopped(self):
        return self.memory[0] == 1

    def beat(self, number, value):
        struct.pack_into("q", self.memory, 8 + 8 * number, value)

    def value(self, number):
        return struct.unpack_from("q", self.memory, 8 + 8 * number)[0]


class Child:
    """A process that runs a function and leaves what it returned, or why it failed, in a file."""

    def __init__(self, name, path, function, *arguments):
        self.name, self.path, self.status = name, path, None
        self.pid = os.fork()
        if self.pid == 0:
            self.run(function, arguments)

    def run(self, function, arguments):
        status = 1
        file = open(self.path, "wb")  # as long as it has the right
        try:
            # Only its parent cleans up, so that dying is all that is left to do for a child.
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            kernel.die_with_parent(signal.SIGKILL)
            result = function(*arguments)
            status = 0
        except Failure as failure:
            result = str(failure)
        except BaseException:  # whatever it was must be told, and never leave this function
            result = f"{self.name}: {traceback.format_exc()}"
        try:
            with file:
                pickle.dump(result, file)
        finally:
            os._exit(status)

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def kill(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)

    def result(self):
        """(what it returned, why it failed), one of them None."""
        try:
            with open(self.path, "rb") as file:
                result = pickle.load(file)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None, f"{self.name} was ended by status {self.status}"
        return (result, None) if self.status == 0 else (None, result)
