# SPDX-License-Identifier: Apache-2.0
"""What happens to the processes of a mount while clients work: the server, the guardian and its
deputy die, and other programs take over. After each of them all three are there again."""
import contextlib
import os
import random
import signal
import time

from crashtest.mount import MountError, lives, wait_until

SIGNALS = {"KILL": [signal.SIGKILL], "SEGV": [signal.SIGSEGV], "ABRT": [signal.SIGABRT],
           "BUS": [signal.SIGBUS],
           "mixed": [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS]}
UPGRADE_SECONDS = 60


class Deaths:
    """`wait_for(condition, text)` is how to wait while somebody looks after the clients, and
    `answered(moment)` whether the probe of names has had an answer to what it asked since."""

    def __init__(self, options, site, wait_for, answered):
        self.options, self.site = options, site
        self.wait_for, self.answered = wait_for, answered
        self.random = random.Random(f"{options.seed}.deaths")
        self.happened = {}  # kind: [(begin, end)]
        self.restarts = []
        self.refused = 0    # upgrades that did not come about, because servers died
        kinds = {self.server: options.kills, self.guardian: options.guardian_deaths,
                 self.deputy: options.deputy_deaths, self.both: options.double_deaths,
                 self.upgrade: options.upgrades, self.upgrade_and_server: options.upgrade_deaths}
        self.plan = [kind for kind, count in kinds.items() for _ in range(count)]
        self.random.shuffle(self.plan)

    def begin(self):
        self.site.check_recovers()
        stats = self.all_there()
        if stats["server_starts"] != 1:
            raise MountError(f"{stats['server_starts'] - 1} servers died by themselves")
        self.now = stats

    def all_there(self, changed=lambda stats: True):
        """Waits until guardian, deputy and server are there, and `changed`. Returns `stats`."""
        found = {}

        def look():
            found.update(self.site.stats())
            three = {found["guardian_pid"], found["deputy_pid"], found["server_pid"]}
            return (len(three) == 3 and all(map(lives, three)) and changed(found)
                    and not any("guardian is gone" in note for note in found.get("notes", [])))
        try:
            self.wait_for(look, "guardian, deputy and server")
        except MountError as error:
            told = {key: found.get(key) for key in ("guardian_pid", "deputy_pid", "server_pid",
                                                    "server_starts", "notes")}
            raise MountError(f"{error}; last: {told}\n{self.site.said()}") from error
        self.site.guardian_pid = found["guardian_pid"]
        return found

    def next(self):
        """One of what is planned."""
        kind = self.plan.pop()
        begin = time.monotonic()
        self.now = kind()
        self.happened.setdefault(kind.__name__, []).append((begin, self.end))
        return kind.__name__

    def all_answered(self):
        moment = time.monotonic()
        self.wait_for(lambda: self.answered(moment), "an answer")
        self.end = time.monotonic()

    def kill(self, who):
        number = self.random.choice(SIGNALS[self.options.signal])
        os.kill(self.now[who], number)
        return number.name

    # --- kinds ---

    def server(self):
        before, starts = self.site.children(), self.now["server_starts"]
        begin = time.monotonic()
        name = self.kill("server_pid")
        self.wait_for(lambda: self.site.children() - before, f"a new server after {name}")
        self.restarts.append(time.monotonic() - begin)
        self.all_answered()
        stats = self.all_there(lambda stats: stats["server_pid"] != self.now["server_pid"])
        if stats["server_starts"] != starts + 1:
            raise MountError(f"{stats['server_starts'] - starts} servers started after one death")
        return stats

    def guardian(self):
        server = self.now["server_pid"]
        self.site.guardian_pid = self.now["deputy_pid"]
        os.kill(self.now["guardian_pid"], signal.SIGKILL)
        self.all_answered()
        stats = self.all_there(lambda stats: stats["guardian_pid"] == self.now["deputy_pid"])
        if stats["server_pid"] != server:
            raise MountError(f"the server is another one after the death of its guardian:\n"
                             f"{self.site.said()}")
        return stats

    def deputy(self):
        os.kill(self.now["deputy_pid"], signal.SIGKILL)
        self.all_answered()
        return self.all_there(lambda stats: stats["deputy_pid"] != self.now["deputy_pid"])

    def both(self):
        """Server and guardian within a moment, in either order."""
        self.site.guardian_pid = self.now["deputy_pid"]
        first, second = self.random.sample(["server_pid", "guardian_pid"], 2)
        os.kill(self.now[first], signal.SIGKILL)
        time.sleep(self.random.choice([0, 0.0003, 0.001, 0.003, 0.01]) * self.random.random())
        os.kill(self.now[second], signal.SIGKILL)
        self.all_answered()
        return self.all_there(lambda stats: stats["guardian_pid"] == self.now["deputy_pid"]
                              and stats["server_pid"] != self.now["server_pid"])

    def start_upgrade(self):
        return self.site.start_upgrade(len(self.happened.get("upgrade", []))
                                       + len(self.happened.get("upgrade_and_server", [])))

    def upgrade(self):
        before = self.now["upgrades"]
        command, program = self.start_upgrade()
        said = self.end_of(command)
        self.all_answered()
        stats = self.all_there()
        if command.returncode != 0:
            # On a machine that is busy with other things the new server may not come in time.
            if "the program before goes on" not in self.site.said():
                raise MountError(f"upgrade: {said}\n{self.site.said()}")
            self.refused += 1
            return stats
        if stats["upgrades"] != before + 1 or self.site.running() != program:
            raise MountError(f"upgrade says {said!r}, but {self.site.running()} runs")
        return stats

    def upgrade_and_server(self):
        """Servers die at some moment of an upgrade. It may come about, or not."""
        command, _ = self.start_upgrade()
        time.sleep(self.random.random() * 0.15 * (5 if self.options.slow else 1))
        # Whichever server it is by now, and what is being tried out.
        for pid in self.site.children() - {self.now["deputy_pid"]}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        said = self.end_of(command)
        self.all_answered()
        stats = self.all_there()
        if command.returncode != 0:
            self.refused += 1
            if "is not upgraded" not in said and "served by" not in said:
                raise MountError(f"upgrade: {said}")
        return stats

    def end_of(self, command):
        def ended():
            return command.poll() is not None
        try:
            wait_until(ended, UPGRADE_SECONDS, "the end of `upgrade`")
        except MountError:
            command.kill()
            raise
        return command.communicate()[0]

