# SPDX-License-Identifier: Apache-2.0
"""The program under test, in a temporary tree: mounting, asking, killing, cleaning up."""
import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from crashtest import kernel

TOKEN = "PFS_CRASHTEST"
# Signals that are sent on purpose are not the program's mistakes.
NOT_HANDLED = ":handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0"
SIGNS = ["Sanitizer", "runtime error:", "Assertion `"]  # that something is wrong, in the log


class MountError(Exception):
    """The program does not do what a mount must do."""


def wait_until(condition, seconds, text):
    """Returns what the condition returned, once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise MountError(f"{text}: not after {seconds} s")
        time.sleep(0.01)


def processes():
    return {entry for entry in os.listdir("/proc") if entry.isdigit()}


def processes_with(setting, but_not):
    """The ids of the processes that were started with this in their environment. Those that were
    there before are not asked: the answer never comes if one of them hangs in the kernel."""
    found = []
    for entry in processes() - but_not:
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            if setting.encode() in file.read().split(b"\0"):
                found.append(int(entry))
    return found


def lives(pid):
    """There, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Native:
    """No mount: clients work on the source itself. Proves the models."""

    mounted = False
    prefix = "pfs-crashtest-"  # of the temporary tree

    def __init__(self, base):
        self.base = tempfile.mkdtemp(prefix=self.prefix, dir=base)
        os.chmod(self.base, 0o755)
        self.source = self.root = os.path.join(self.base, "source")
        os.mkdir(self.source, 0o755)

    def start(self):
        pass

    def check_alive(self):
        pass

    def stop(self):
        return []

    def let_all_calls_fail(self):
        pass

    def clean_up(self, keep):
        if keep:
            print(f"kept {self.base}")
        else:
            shutil.rmtree(self.base, ignore_errors=True)


class Mount(Native):
    mounted = True

    def __init__(self, program, base, options, fault=None):
        super().__init__(base)
        self.program, self.options = os.path.abspath(program), options
        self.root = os.path.join(self.base, "mnt")
        os.mkdir(self.root, 0o755)
        self.log_path = os.path.join(self.base, "log")
        self.token = f"{TOKEN}={self.base}"
        self.environment = dict(os.environ, XDG_STATE_HOME=os.path.join(self.base, "state"))
        self.environment[TOKEN] = self.base
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
            self.environment[name] = self.environment.get(name, "") + NOT_HANDLED
        self.fault = fault
        self.others = processes()
        self.guardian = None      # the process that was started
        self.guardian_pid = None  # the one that has its work now

    def start(self):
        environment = dict(self.environment)
        if self.fault:
            environment["PFS_FAULT"] = self.fault
        with open(self.log_path, "ab") as log:
            self.guardian = subprocess.Popen(
                [self.program, self.source, self.root, "-f", "-o", ",".join(self.options)]
                if self.options else [self.program, self.source, self.root, "-f"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: kernel.die_with_parent(signal.SIGTERM))
        self.guardian_pid = self.guardian.pid

        def served():
            self.check_alive()
            # The mount appears a moment before commands can ask, and until then its device number may
            # lead them to an earlier mount that is just ending.
            return self.mounted_now() and " serving " in self.said()
        wait_until(served, 30, "mounting")
        self.first_stats = self.stats()
        self.has_rings = self.first_stats.get("transport") == "uring"
        self.first_descriptors = self.descriptors()

    def said(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()[-4000:]

    def check_alive(self):
        ended = self.guardian.poll()
        if ended is not None and self.guardian_pid == self.guardian.pid:
            raise MountError(f"the guardian ended with {ended}:\n{self.said()}")
        if not lives(self.guardian_pid):
            raise MountError(f"the guardian, pid {self.guardian_pid}, has ended:\n{self.said()}")

    def mounted_now(self):
        """Asking the mount itself could hang."""
        with open("/proc/self/mountinfo") as file:
            return any(line.split()[4] == self.root for line in file)

    # --- what it tells ---

    def stats(self, seconds=20):
        """The server that answers may be the one that is just being killed."""
        def ask():
            self.check_alive()
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                done = subprocess.run([self.program, "stats", self.root, "--json"],
                                      env=self.environment, capture_output=True, text=True,
                                      timeout=10, check=False)
                if done.returncode == 0:
                    return json.loads(done.stdout)
            return None
        return wait_until(ask, seconds, "an answer of `stats`")

    def server_starts(self):
        return self.stats().get("server_starts", 1)

    def descriptors(self):
        """What the guardian has open, counted by kind. Not what comes and goes with threads: files
        by which a thread that lives is watched, and rings (a CPU whose thread is stuck gets another
        one). Those of threads that are dead do count."""
        found = collections.Counter()
        directory = f"/proc/{self.guardian_pid}/fd"
        for entry in os.listdir(directory):
            with contextlib.suppress(OSError):
                target = os.readlink(f"{directory}/{entry}")
                thread = re.match(r"/proc/\d+/task/\d+", target)
                if thread and os.path.exists(thread.group()):
                    continue
                if self.has_rings and target.startswith(("anon_inode:[io_uring",
                                                         "anon_inode:[eventfd")):
                    continue
                found[re.sub(r"\d{3,}|\[\d+\]", "N", target)] += 1
        # A pipe for each reader that is pinned, made when it first needs one.
        found["pipe:N"] = max(0, found["pipe:N"] - 2 * os.cpu_count())
        # By which a guardian watches a server that is not its child.
        found["anon_inode:[pidfd]"] = max(0, found["anon_inode:[pidfd]"] - 1)
        return found

    # --- its server ---

    def check_recovers(self):
        wanted = {"recover": "on", "guardian_pid": self.guardian_pid}
        told = {key: self.first_stats.get(key) for key in wanted}
        if told != wanted:
            raise MountError(f"`stats` tells {told} instead of {wanted}")

    def server(self):
        pid = self.stats().get("server_pid")
        if pid is None or pid == self.guardian_pid:
            raise MountError("`stats` tells no server_pid that is not the guardian's")
        return pid

    def children(self):
        path = f"/proc/{self.guardian_pid}/task/{self.guardian_pid}/children"
        with open(path) as file:
            return {int(word) for word in file.read().split()}

    # --- other programs ---

    def running(self):
        return os.readlink(f"/proc/{self.guardian_pid}/exe")

    def start_upgrade(self, number):
        """To one of two copies of the program. Returns (the command, the copy)."""
        copy = os.path.join(self.base, f"program{number % 2}")
        if not os.path.exists(copy):
            shutil.copy(self.program, copy)
        command = subprocess.Popen([copy, "upgrade", self.root], env=self.environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        return command, copy

    # --- the end ---

    def leaks(self):
        """Once all clients are gone: what of theirs is still there. Returns what is wrong."""
        def nothing_open():
            stats = self.stats()
            return stats["handles"] == 0 and stats["lock_waiters"] == 0

        def nothing_known():
            kernel.forget_unused_names(self.root)
            return self.stats()["inodes"] <= self.first_stats["inodes"]

        def no_more_descriptors():
            return not self.descriptors() - self.first_descriptors

        for condition, text in ((nothing_open, "no handle and no waiter"),
                                (nothing_known, "no inode but the root"),
                                (no_more_descriptors, "no more descriptors than in the beginning")):
            try:
                wait_until(condition, 20, text)
            except MountError as error:
                stats = self.stats()
                counts = {key: stats[key] for key in ("inodes", "handles", "lock_waiters")}
                extra = dict((self.descriptors() - self.first_descriptors).most_common(10))
                return [f"{error}: {counts}, more descriptors: {extra}"]
        return []

    def stop(self):
        """Unmounts. Returns what is wrong with the end."""
        done = subprocess.run(["umount", self.root], capture_output=True, text=True, timeout=60,
                              check=False)
        if done.returncode != 0:
            return [f"umount: {done.stderr}"]
        try:
            wait_until(lambda: self.guardian.poll() is not None and not lives(self.guardian_pid),
                       30, "the end of the guardian")
        except MountError:
            return ["the guardian does not end after umount"]
        # How another one ended that has taken its place, only its parent knows.
        first = self.guardian_pid == self.guardian.pid
        code, said = self.guardian.returncode if first else 0, self.said()
        wrong = [f"the guardian ended with {code}: {said}"] if code != 0 else []
        if any(sign in said for sign in SIGNS):
            wrong.append(f"it said: {said}")
        with contextlib.suppress(MountError):
            wait_until(lambda: not processes_with(self.token, self.others), 5, "")
        left = processes_with(self.token, self.others)
        return wrong + [f"processes {left} are left"] * bool(left)

    def let_all_calls_fail(self):
        """So that clients that hang can end."""
        if self.mounted_now():
            kernel.end_connection(self.root)

    def clean_up(self, keep):
        if self.mounted_now():
            self.let_all_calls_fail()
            subprocess.run(["umount", "-l", self.root], stderr=subprocess.DEVNULL, check=False)
        if self.guardian is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guardian.wait(5)
            for pid in processes_with(self.token, self.others):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.guardian.wait()
        super().clean_up(keep)
