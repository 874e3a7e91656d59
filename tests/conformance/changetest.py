#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether `passthroughfs dirty` tells exactly what changed.

Random work through a mount, by several threads that keep files open and mapped. In between all
pause: a token is taken and the source is looked at as a whole. Later the difference of two such
looks must be what `dirty` says since the token of the first: each path and kind that differs and is
not told is a miss, and fails the test; what is told without a difference is counted.
"""
import argparse
import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import random
import shutil
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def renameat2(old, new, flags):
    check(libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    check(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def acl(user, bits):
    entries = [(1, 6, 0xFFFFFFFF), (2, bits, user), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF),
               (32, 4, 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# --- looking at the source ------------------------------------------------------------------------


class Look:
    """One path's state."""

    __slots__ = ("kind", "data", "owner", "xattrs", "ino")

    def __init__(self, path):
        st = os.lstat(path)
        self.ino = st.st_ino
        self.kind = stat.S_IFMT(st.st_mode)
        self.owner = (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid)
        self.data = st.st_rdev
        if self.kind == stat.S_IFREG:
            with open(path, "rb") as file:
                self.data = hashlib.blake2b(file.read(), digest_size=16).digest()
        elif self.kind == stat.S_IFLNK:
            self.data = os.readlink(path)
        try:
            self.xattrs = {name: os.getxattr(path, name, follow_symlinks=False)
                           for name in sorted(os.listxattr(path, follow_symlinks=False))}
        except OSError:
            self.xattrs = {}


def look_at_all(root):
    found = {}
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        for name in os.listdir(os.path.join(root, directory)):
            path = os.path.join(directory, name)
            found[path] = Look(os.path.join(root, path))
            if found[path].kind == stat.S_IFDIR:
                waiting.append(path)
    return found


def difference(then, now):
    """{path: kinds} as `dirty --no-renames` should tell it."""
    wanted = {}
    for path in then.keys() | now.keys():
        if path not in now:
            wanted[path] = {"deleted"}
        elif path not in then:
            wanted[path] = {"created"}
        else:
            kinds = compare(then[path], now[path])
            if kinds:
                wanted[path] = kinds
    return wanted


def compare(then, now):
    kinds = set()
    if then.kind != now.kind or then.data != now.data:
        kinds.add("data")
    if then.owner != now.owner:
        kinds.add("attributes")
    if then.xattrs != now.xattrs:
        kinds.add("xattr")
    return kinds


# --- the judge ------------------------------------------------------------------------------------


def lost_xattrs(then, now, said):
    """A file was removed and another one made in its place, which has no extended attributes: nobody
    has looked at those that the removed one had (docs/dirty-tracking.md)."""
    return then is not None and "data" in said and not now.xattrs


def judge_paths(then, now, told):
    """(misses, excess) of a report without renames."""
    wanted = difference(then, now)
    misses = []
    for path, kinds in wanted.items():
        said = told.get(path, set())
        missing = kinds - said
        if path in now and lost_xattrs(then.get(path), now[path], said):
            missing.discard("xattr")
        if missing:
            misses.append((path, sorted(missing), sorted(said)))
    excess = [path for path, kinds in told.items() if path not in wanted]
    return misses, excess


def judge_renames(then, now, report):
    """Applies a report with renames to the paths that there were; must give those that there are."""
    moved = {change["from"]: change["path"] for change in report if "renamed" in change["kinds"]}
    deleted = {change["path"] for change in report if "deleted" in change["kinds"]}
    created = {change["path"] for change in report if "created" in change["kinds"]}
    told = {change["path"]: set(change["kinds"]) for change in report}
    targets = set(moved.values())

    def now_at(path):
        end = len(path)
        while end > 0:
            if path[:end] in moved:
                return moved[path[:end]] + path[end:], end == len(path)
            end = path.rfind("/", 0, end)
        return path, False

    misses = []
    origin = {}
    for path in then:
        if path in deleted:
            continue
        target, explicit = now_at(path)
        if target in targets and not explicit:
            continue
        origin[target] = path
    paths = set(origin) | created
    for path in paths - now.keys():
        misses.append((path, f"is not there, and should be what was {origin.get(path)!r}",
                       sorted(told.get(path, []))))
    for path in now.keys() - paths:
        misses.append((path, "is there", sorted(told.get(path, []))))
    for path in now.keys() & origin.keys() - created:
        missing = compare(then[origin[path]], now[path]) - told.get(path, set())
        if lost_xattrs(then[origin[path]], now[path], told.get(path, set())):
            missing.discard("xattr")
        if missing:
            misses.append((path, sorted(missing), sorted(told.get(path, []))))
    return misses


# --- the mount ------------------------------------------------------------------------------------


class Mount:
    def __init__(self, program, base, options):
        self.program, self.base = program, base
        self.source, self.mnt = os.path.join(base, "source"), os.path.join(base, "mnt")
        self.options = options
        self.environment = dict(os.environ, XDG_STATE_HOME=os.path.join(base, "state"))
        self.daemon = None
        for directory in (self.source, self.mnt):
            os.makedirs(directory, exist_ok=True)

    def start(self):
        self.log = open(os.path.join(self.base, "log"), "ab")
        self.daemon = subprocess.Popen(
            [self.program, self.source, self.mnt, "-f", "-o", self.options], env=self.environment,
            stdout=self.log, stderr=self.log)
        device = os.stat(self.base).st_dev
        begin = self.log.tell()
        deadline = time.monotonic() + 30
        # The mount appears a moment before commands can ask.
        while os.stat(self.mnt).st_dev == device or not self.serves(begin):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the mount does not start: " + self.said())
            time.sleep(0.01)

    def serves(self, begin):
        with open(os.path.join(self.base, "log"), "rb") as file:
            file.seek(begin)
            return b" serving " in file.read()

    def said(self):
        with open(os.path.join(self.base, "log"), errors="replace") as file:
            return file.read()[-4000:]

    def stop(self):
        if self.daemon is None:
            return
        self.daemon.send_signal(signal.SIGTERM)
        if self.daemon.wait(60) != 0:
            raise SystemExit("the daemon failed: " + self.said())
        self.daemon = None

    def children(self):
        pid = self.daemon.pid
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                return [int(child) for child in file.read().split()]
        except OSError:
            return []

    def kill(self):
        """All of its processes, the one that would start others stopped first."""
        self.daemon.send_signal(signal.SIGSTOP)
        children = [os.pidfd_open(child) for child in self.children()]
        for child in children:
            signal.pidfd_send_signal(child, signal.SIGKILL)
        self.daemon.kill()
        self.daemon.wait()
        for child in children:
            select.select([child], [], [])
            os.close(child)
        self.daemon = None
        subprocess.run(["umount", "-l", self.mnt], check=True)

    def kill_server(self):
        """It is replaced, and the mount goes on."""
        before = json.loads(self.ask("stats", self.mnt, "--json"))
        os.kill(before["server_pid"], signal.SIGKILL)
        while json.loads(self.ask("stats", self.mnt, "--json"))["server_pid"] == before["server_pid"]:
            time.sleep(0.01)

    def clean_up(self):
        if self.daemon is not None:
            self.kill()
        subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL, check=False)

    def ask(self, *arguments):
        done = subprocess.run([self.program, *arguments], env=self.environment,
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr}\n{self.said()}")
        return done.stdout

    def checkpoint(self):
        return self.ask("checkpoint", self.mnt).strip()

    def dirty(self, since, *arguments):
        return json.loads(self.ask("dirty", self.mnt, "--since", since, "--json", *arguments))


# --- random work ----------------------------------------------------------------------------------

def touch(mapping, at, write=False):
    """Reads or writes a byte of a mapping, by a system call: where the file has been cut short that
    fails, and memory itself would be SIGBUS."""
    with memoryview(mapping) as whole, whole[at:at + 1] as byte:
        if write:
            with open("/dev/urandom", "rb", buffering=0) as random_bytes:
                random_bytes.readinto(byte)
        else:
            reader, writer = os.pipe()
            try:
                os.write(writer, byte)
            finally:
                os.close(reader)
                os.close(writer)


NAMES = ["a", "b", "c", "d", "e", "long name", "\udcff\udcfe", "new\nline"]


class Actor:
    """One of those who work on the tree; each keeps files open and mapped."""

    def __init__(self, root, seed, log):
        self.root, self.random, self.log = root, random.Random(seed), log
        self.files, self.mappings, self.used = [], [], []

    def path(self, deep=3):
        """Mostly below a directory that exists."""
        self.used.append(None)
        path = self.root
        for _ in range(self.random.randint(1, deep)):
            if not os.path.isdir(path) or os.path.islink(path):
                break
            path = os.path.join(path, self.random.choice(NAMES))
        self.used[-1] = path
        return path

    def existing(self):
        """A regular file, if a few tries find one."""
        for _ in range(8):
            path = self.path()
            if os.path.isfile(path) and not os.path.islink(path):
                break
        return path

    def bytes(self, most=6000):
        return self.random.randbytes(self.random.randint(1, most))

    def open(self, flags, mode=0o644):
        path = self.path() if flags & os.O_CREAT else self.existing()
        return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, mode)

    def write_file(self, path):
        # Another actor may have made a FIFO of it, which would wait for somebody to read.
        fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NONBLOCK, 0o644)
        try:
            os.write(fd, self.bytes())
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def opened(self, flags, mode=0o644):
        fd = self.open(flags, mode)
        try:
            yield fd
        finally:
            os.close(fd)

    # Each is one thing that programs do.
    def create(self):
        flags = self.random.choice([os.O_EXCL, 0, os.O_TRUNC, os.O_APPEND])
        with self.opened(os.O_CREAT | os.O_WRONLY | flags, self.random.choice([0o644, 0o600])) as fd:
            if self.random.random() < 0.8:
                os.write(fd, self.bytes())

    def write(self):
        with self.opened(self.random.choice([os.O_WRONLY, os.O_RDWR])) as fd:
            os.pwrite(fd, self.bytes(), self.random.randint(0, 8000))

    def append(self):
        with self.opened(os.O_WRONLY | os.O_APPEND) as fd:
            os.write(fd, self.bytes())

    def open_only(self):
        with self.opened(self.random.choice([os.O_WRONLY, os.O_RDWR, os.O_RDONLY])) as fd:
            if self.random.random() < 0.3:
                os.fstat(fd)

    def write_back_times(self):
        with self.opened(os.O_RDWR) as fd:
            st = os.fstat(fd)
            os.pwrite(fd, self.bytes(), 0)
            os.utime(fd, ns=(st.st_atime_ns, st.st_mtime_ns))

    def truncate(self):
        if self.random.random() < 0.5:
            os.truncate(self.existing(), self.random.randint(0, 9000))
        else:
            with self.opened(os.O_RDWR) as fd:
                os.ftruncate(fd, self.random.randint(0, 9000))

    def allocate(self):
        with self.opened(os.O_RDWR) as fd:
            mode = self.random.choice([0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE])
            fallocate(fd, mode, self.random.randint(0, 4) * 4096, 4096)

    def copy_range(self):
        with self.opened(os.O_RDONLY) as source, self.opened(os.O_WRONLY) as target:
            os.copy_file_range(source, target, 5000, 0, self.random.randint(0, 3000))

    def keep_open(self):
        if len(self.files) > 6:
            os.close(self.files.pop(self.random.randrange(len(self.files))))
        self.files.append(self.open(self.random.choice([os.O_RDWR, os.O_WRONLY])))

    def write_kept(self):
        if self.files:
            fd = self.random.choice(self.files)
            self.random.choice([lambda: os.pwrite(fd, self.bytes(), self.random.randint(0, 8000)),
                                lambda: os.ftruncate(fd, self.random.randint(0, 9000)),
                                lambda: os.fchmod(fd, self.random.choice([0o600, 0o640]))])()

    def map(self):
        if len(self.mappings) > 4:
            self.mappings.pop(self.random.randrange(len(self.mappings))).close()
        with self.opened(os.O_RDWR) as fd:
            size = os.fstat(fd).st_size
            if size > 0:
                self.mappings.append(mmap.mmap(fd, size))
                if self.random.random() < 0.5:
                    touch(self.mappings[-1], 0)  # the page is there before it is written to

    def store(self):
        if self.mappings:
            mapping = self.random.choice(self.mappings)
            at = self.random.randrange(len(mapping))
            touch(mapping, at, write=True)

    def remove(self):
        path = self.path()
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)

    def remove_all(self):
        path = self.path(2)
        if self.random.random() < 0.15 and os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)

    def make_again(self):
        path = self.path()
        os.unlink(path)
        self.write_file(path)

    def make_directory(self):
        os.mkdir(self.path(), 0o755)

    def make_node(self):
        self.random.choice([lambda: os.mkfifo(self.path()),
                            lambda: os.mknod(self.path(), stat.S_IFSOCK | 0o600),
                            lambda: os.symlink(self.random.choice(NAMES), self.path())])()

    def link(self):
        os.link(self.existing(), self.path(), follow_symlinks=False)

    def rename(self):
        renameat2(self.path(), self.path(),
                  self.random.choice([0, 0, 0, NOREPLACE, EXCHANGE, WHITEOUT]))

    def replace(self):
        path = self.path()
        temporary = path + ".tmp"
        self.write_file(temporary)
        os.rename(temporary, path)

    def nameless(self):
        fd = os.open(os.path.dirname(self.path()), os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            os.write(fd, self.bytes())
            if self.random.random() < 0.7:
                os.link(f"/proc/self/fd/{fd}", self.path(), follow_symlinks=True)
        finally:
            os.close(fd)

    def change_mode(self):
        os.chmod(self.path(), self.random.choice([0o644, 0o600, 0o755, 0o700]))

    def change_owner(self):
        os.lchown(self.path(), self.random.choice([0, 1000]), self.random.choice([0, 1000]))

    def touch(self):
        os.utime(self.path(), (self.random.randint(0, 10**9),) * 2, follow_symlinks=False)

    def set_xattr(self):
        os.setxattr(self.existing(), self.random.choice(["user.one", "user.two"]), self.bytes(20))

    def remove_xattr(self):
        os.removexattr(self.existing(), self.random.choice(["user.one", "user.two"]))

    def set_acl(self):
        path = self.random.choice([self.path, self.existing])()
        name = DEFAULT_ACL if os.path.isdir(path) and self.random.random() < 0.2 else ACCESS_ACL
        os.setxattr(path, name, acl(1000, self.random.choice([4, 6])))

    WORK = {create: 12, write: 8, append: 4, open_only: 6, write_back_times: 3, truncate: 4,
            allocate: 3, copy_range: 3, keep_open: 4, write_kept: 6, map: 4, store: 6, remove: 7,
            remove_all: 2, make_again: 3, make_directory: 6, make_node: 3, link: 3, rename: 9,
            replace: 4, nameless: 3, change_mode: 3, change_owner: 2, touch: 2, set_xattr: 3,
            remove_xattr: 1, set_acl: 2}

    def work(self, count, stop=None):
        things, weights = list(self.WORK), list(self.WORK.values())
        for _ in range(count):
            if stop is not None and stop.is_set():
                return
            thing = self.random.choices(things, weights)[0]
            self.used = []
            try:
                thing(self)
                self.log.append((thing.__name__, [os.path.relpath(p, self.root) for p in self.used]))
            except OSError as error:
                if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
                    return
            except ValueError:
                pass

    def let_go(self):
        for mapping in self.mappings:
            mapping.close()
        for fd in self.files:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.files, self.mappings = [], []


# --- a run ----------------------------------------------------------------------------------------


class Run:
    def __init__(self, options, mount):
        self.options, self.mount = options, mount
        self.log = []
        self.actors = [Actor(mount.mnt, f"{options.seed}.{i}", self.log)
                       for i in range(options.actors)]
        self.moments = []  # (token, look)
        self.told = self.excess = self.incomplete = 0
        self.random = random.Random(options.seed)

    def work(self, count):
        threads = [threading.Thread(target=actor.work, args=(count // len(self.actors),))
                   for actor in self.actors]
        for thread in threads:
            thread.start()
        return threads

    def pause(self, threads):
        for thread in threads:
            thread.join()
        if "passthrough" not in self.options.mount:
            for actor in self.actors:
                for mapping in actor.mappings:
                    with contextlib.suppress(OSError):
                        mapping.flush()

    def take_moment(self):
        token = self.mount.checkpoint()
        self.moments.append((token, look_at_all(self.mount.source)))
        del self.moments[:-4]

    def judge(self):
        now = look_at_all(self.mount.source)
        failed = False
        for token, then in self.moments:
            report = self.mount.dirty(token, "--no-renames")
            told = {decode(change): set(change["kinds"]) for change in report["changes"]
                    if change["path"] != "."}
            misses, excess = judge_paths(then, now, told)
            self.told += len(told)
            self.excess += len(excess)
            if not report["complete"]:
                self.incomplete += 1
                if not self.options.may_be_incomplete:
                    print(f"not complete: {report['reason']}")
                    failed = True
            for miss in misses:
                print(f"MISS since {token}: {miss[0]!r} is {miss[1]}, told {miss[2]}")
            changes = self.mount.dirty(token)["changes"]
            for change in changes:
                change["path"] = decode(change)
                if "from" in change:
                    change["from"] = decode(change, "from")
            renamed = [] if misses else judge_renames(then, now, [c for c in changes
                                                                  if c["path"] != "."])
            for change in changes if renamed else []:
                if "from" in change:
                    print(f"    {change['from']!r} -> {change['path']!r}: {change['kinds']}")
            for miss in misses + renamed:
                self.tell_about(miss[0])
            for miss in renamed:
                print(f"MISS with renames since {token}: {miss[0]!r} {miss[1]}, told {miss[2]}")
            failed = failed or bool(misses) or bool(renamed)
        return not failed

    def run(self):
        options = self.options
        self.mount.start()
        for number in range(options.rounds):
            self.pause(self.work(options.part))
            if self.moments and not self.judge():
                return False
            if options.restart or options.offline:
                for actor in self.actors:
                    actor.let_go()
            self.take_moment()
            if options.kill:
                threads = self.work(options.operations)
                time.sleep(self.random.uniform(0.02, 0.6))
                self.mount.kill()
                self.pause(threads)
                for actor in self.actors:
                    actor.let_go()
                self.mount.start()
                if not self.judge():
                    return False
            if options.crash:
                threads = self.work(options.operations)
                for _ in range(8):
                    time.sleep(self.random.uniform(0.01, 0.3))
                    self.mount.kill_server()
                self.pause(threads)
                if not self.judge():
                    return False
            if options.restart or options.offline:
                # Work that is not asked about before the end.
                self.pause(self.work(options.part // 2))
                for actor in self.actors:
                    actor.let_go()
                self.wait_until_known()
                self.mount.stop()
                if options.offline:
                    behind = Actor(self.mount.source, f"{options.seed}.behind.{number}", self.log)
                    behind.work(200)
                    behind.let_go()
                self.mount.start()
                if not self.judge():
                    return False
        return True

    def tell_about(self, path):
        """The last operations that named the path, or what is above it."""
        names = {path, os.path.dirname(path), os.path.dirname(os.path.dirname(path))} - {""}
        for thing, used in [entry for entry in self.log if names & set(entry[1])][-30:]:
            print(f"    {thing} {used}")

    def wait_until_known(self):
        """The first walk of the source is over."""
        deadline = time.monotonic() + 60
        while not json.loads(self.mount.ask("stats", self.mount.mnt, "--json"))["source_known"]:
            if time.monotonic() > deadline:
                raise SystemExit("the source does not become known")
            time.sleep(0.02)

    def report(self):
        share = self.excess / self.told if self.told else 0
        print(f"seed {self.options.seed}: {len(self.log)} operations, {self.told} paths told, "
              f"{self.excess} without a difference ({share:.1%})"
              + (f", {self.incomplete} reports incomplete" if self.incomplete else ""))
        return share <= self.options.most_excess


def decode(change, name="path"):
    encoded = change.get(name + "_base64")
    if encoded is not None:
        import base64
        return os.fsdecode(base64.b64decode(encoded))
    return change[name]


def self_test():
    """The judge, without a mount: a perfect report passes, one that lacks anything does not."""
    with tempfile.TemporaryDirectory() as base:
        actor = Actor(base, "self", [])
        actor.work(600)
        then = look_at_all(base)
        actor.work(400)
        actor.let_go()
        now = look_at_all(base)
    perfect = difference(then, now)
    caught = 0
    if judge_paths(then, now, perfect) != ([], []):
        return "a perfect report is not accepted"
    for path, kinds in perfect.items():
        for kind in kinds:
            told = {**perfect, path: kinds - {kind}}
            misses, _ = judge_paths(then, now, told)
            if not misses and not (kind == "xattr" and "data" in kinds):
                return f"nobody noticed that {path!r} is {kind}"
            caught += 1
    _, excess = judge_paths(then, now, {**perfect, "nobody was here": {"data"}})
    if excess != ["nobody was here"]:
        return "what did not change was not counted"
    # Without renames a report is one of those with renames, too.
    report = [{"path": path, "kinds": sorted(kinds)} for path, kinds in perfect.items()]
    if judge_renames(then, now, report):
        return "a perfect report with renames is not accepted"
    for left_out in report:
        if not judge_renames(then, now, [change for change in report if change is not left_out]):
            return f"nobody noticed that {left_out} was left out"
    print(f"{caught} mistakes caught")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--mount", default="io=passthrough", help="mount options")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--actors", type=int, default=3)
    parser.add_argument("--base", default=None, help="where the source is made")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--offline", action="store_true", help="also changes while unmounted")
    parser.add_argument("--kill", action="store_true", help="SIGKILL amid the work")
    parser.add_argument("--crash", action="store_true", help="the server dies amid the work")
    parser.add_argument("--may-be-incomplete", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--most-excess", type=float, default=0.25)
    options = parser.parse_args()
    if options.self_test:
        sys.exit(self_test())
    options.part = options.operations // options.rounds
    if os.environ.get("PFS_LONG"):
        options.rounds *= 3
    base = tempfile.mkdtemp(prefix="pfs-changetest-", dir=options.base)
    mount = Mount(options.program, base, options.mount)
    run = Run(options, mount)
    ok = False
    try:
        ok = run.run()
        mount.stop()
        ok = run.report() and ok
    finally:
        for actor in run.actors:
            actor.let_go()
        mount.clean_up()
        if ok:
            shutil.rmtree(base, ignore_errors=True)
        else:
            print(f"failed; kept {base}", file=sys.stderr)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
