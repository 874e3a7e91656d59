# SPDX-License-Identifier: Apache-2.0
"""The file systems that are compared: how each is found, built, mounted and taken down."""

import gzip
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build" / "bench" / "programs"
EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Unavailable(Exception):
    """Why something cannot be measured here."""


def compile_program(name, sources, flags, compiler):
    """Compiles into the build directory unless that was done since the sources changed."""
    target = PROGRAMS / name
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    if target.exists() and all(target.stat().st_mtime > os.stat(s).st_mtime for s in sources):
        return target
    if not shutil.which(compiler):
        raise Unavailable(f"no {compiler} to compile it")
    say(f"bench: compiling {name}")
    command = [compiler, "-O2", "-o", f"{target}.new", *(str(s) for s in sources), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable("it does not compile: " + (done.stderr.strip().splitlines() or ["?"])[0])
    os.replace(f"{target}.new", target)
    return target


def microbench():
    folder = ROOT / "bench" / "mount"
    headers = list(folder.glob("*.h"))
    target = PROGRAMS / "pfs_microbench"
    if target.exists() and any(h.stat().st_mtime > target.stat().st_mtime for h in headers):
        target.unlink()
    return compile_program("pfs_microbench", sorted(folder.glob("*.cc")),
                           ["-std=c++20", "-pthread"], os.environ.get("CXX", "g++"))


def libfuse_example(name, compiler, flags):
    """A peer that Debian ships as source only: compiled from what its package installed."""
    source = EXAMPLES / name
    if not source.exists() and (EXAMPLES / f"{name}.gz").exists():
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        source = PROGRAMS / name
        source.write_bytes(gzip.decompress((EXAMPLES / f"{name}.gz").read_bytes()))
    if not source.exists():
        if not EXAMPLES.exists():
            raise Unavailable("libfuse3-dev is not installed")
        raise Unavailable(f"libfuse3-dev {package_version('libfuse3-dev')} does not install {name}")
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True,
                           text=True)
    if found.returncode != 0:
        raise Unavailable("pkg-config does not know fuse3")
    return compile_program(name.partition(".")[0], [source],
                           [f"-I{EXAMPLES}", "-w", "-pthread", *flags, *found.stdout.split()],
                           compiler)


def package_version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True,
                          text=True)
    return done.stdout.strip() or "?"


def installed(program):
    path = shutil.which(program)
    if not path:
        raise Unavailable(f"{program} is not installed")
    return path


def our_program():
    path = pathlib.Path(os.environ.get("PASSTHROUGHFS", ROOT / "build/release/passthroughfs"))
    if not path.exists():
        raise Unavailable(f"{path} is missing: run ./dev build")
    return str(path)


# As root every mount is open to other users, because PostgreSQL's server will not run as root.
ALLOW_OTHER = ["-o", "allow_other"] if os.geteuid() == 0 else []


# Each takes (source, mountpoint, scratch directory on the same file system) and returns a command
# that serves the mount in the foreground. Options are the program's defaults unless said otherwise.

def passthroughfs(source, mountpoint, _scratch):
    return [our_program(), "-f", source, mountpoint, *ALLOW_OTHER]


def passthroughfs_with(*options):
    return lambda source, mountpoint, _scratch: [
        our_program(), "-f", source, mountpoint, *ALLOW_OTHER,
        *(word for option in options for word in ("-o", option))]


def over_io_uring(source, mountpoint, scratch):
    parameter = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
    if not parameter.exists() or parameter.read_text().strip() != "Y":
        raise Unavailable(f"{parameter} is not Y")
    return passthroughfs_with("transport=uring")(source, mountpoint, scratch)


def bindfs(source, mountpoint, _scratch):
    return [installed("bindfs"), "-f", source, mountpoint, *ALLOW_OTHER]


def mergerfs(source, mountpoint, _scratch):
    return [installed("mergerfs"), "-f", source, mountpoint, *ALLOW_OTHER]


def passthrough_ll(source, mountpoint, _scratch):
    program = libfuse_example("passthrough_ll.c", "gcc", [])
    return [str(program), "-f", "-o", f"source={source}", mountpoint, *ALLOW_OTHER]


def passthrough_hp(source, mountpoint, _scratch):
    program = libfuse_example("passthrough_hp.cc", "g++", ["-std=c++17"])
    return [str(program), "--foreground", source, mountpoint]


def fuse_overlayfs(source, mountpoint, scratch):
    lower, work = os.path.join(scratch, "lower"), os.path.join(scratch, "work")
    os.makedirs(lower, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    return [installed("fuse-overlayfs"), "-f", "-o",
            f"lowerdir={lower},upperdir={source},workdir={work}", *ALLOW_OTHER,
            mountpoint]


def another_build(program):
    return lambda source, mountpoint, _scratch: [program, "-f", source, mountpoint, *ALLOW_OTHER]


def command_for(name):
    """By name; `-o OPTIONS` is ours with options; a path is another build of ours."""
    if name.startswith("-o "):
        return passthroughfs_with(name[3:])
    if name.startswith("/"):
        return another_build(name)
    return CONTENDERS[name]


CONTENDERS = {
    "native": None,
    "passthroughfs": passthroughfs,
    "io=daemon": passthroughfs_with("io=daemon"),
    "stateless": passthroughfs_with("handles=stateless"),
    "transport=uring": over_io_uring,
    "transport=dev": passthroughfs_with("transport=dev"),
    "bindfs": bindfs,
    "mergerfs": mergerfs,
    "passthrough_ll": passthrough_ll,
    "passthrough_hp": passthrough_hp,
    "fuse-overlayfs": fuse_overlayfs,
}
LISTED, LISTED_FILES = "listed", 1000  # a directory in each source, there before the mount
OURS = ("passthroughfs", "io=daemon", "stateless")


def versions(names):
    """What is compared, for the report."""
    lines = {}
    for name in names:
        if name == "native":
            continue
        if name in OURS or name.startswith(("-o ", "transport=")):
            done = subprocess.run([our_program(), "--version"], capture_output=True, text=True)
            lines["passthroughfs"] = (done.stdout.split() or ["?"])[-1]
        elif name.startswith("/"):
            lines[name] = "another build"
        elif name.startswith("passthrough_"):
            lines[name] = "libfuse3 " + package_version("libfuse3-dev")
        else:
            lines[name] = package_version(name)
    return lines


def mounted_at(path):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == path for line in mounts)


class Mount:
    """One contender over a source directory. For `native` both are the same directory."""

    def __init__(self, name, base, source=None):
        self.name = name
        self.base = os.path.join(base, re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-"))
        self.source = source or os.path.join(self.base, "source")
        self.dir = self.source
        self.process = None
        os.makedirs(self.base)
        if source is None:
            prepare_listed(self.source)
        if name == "native":
            return
        make = command_for(name)
        mountpoint = os.path.join(self.base, "mount")
        os.makedirs(mountpoint)
        self.dir = mountpoint
        command = make(self.source, mountpoint, self.base)
        self.log = os.path.join(self.base, "log")
        with open(self.log, "wb") as log:
            # In a session of its own, so that ctrl-C does not end it before we have unmounted.
            # Its journal goes with the rest.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            env={**os.environ, "XDG_STATE_HOME": self.base})
        try:
            self._wait_until_served()
        except BaseException:
            self.unmount()
            raise

    def _wait_until_served(self):
        deadline = time.monotonic() + 20
        while not mounted_at(self.dir):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as log:
                    text = " ".join(log.read().split()) or "no message"
                raise Unavailable(f"does not mount: {text[:300]}")
            time.sleep(0.01)
        os.statvfs(self.dir)  # answered once the mount serves

    @property
    def pid(self):
        return self.process.pid

    def unmount(self):
        if self.process is None:
            return
        unmount(self.dir)
        for stop in (None, signal.SIGTERM, signal.SIGKILL):
            if stop:
                self.process.send_signal(stop)
            try:
                self.process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue
        if mounted_at(self.dir):  # the process was killed: what it left
            unmount(self.dir)
        self.process = None


def prepare_listed(source):
    os.makedirs(os.path.join(source, LISTED))
    for i in range(LISTED_FILES):
        os.mknod(os.path.join(source, LISTED, f"f{i:07}"))


def unmount(path):
    tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    lazily = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
    for attempt in range(20):
        if not mounted_at(path):
            return
        command = tool if attempt < 19 else lazily
        if subprocess.run([*command, path], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)


class Arena:
    """Mounts of all contenders over one kind of file system, taken down at the end of `with`.

    Each has a source of its own; with `one_source` all have the same, which `prepare` fills."""

    def __init__(self, kind, parent, names, *, prepare=None, one_source=False):
        self.kind = kind
        self.base = os.path.join(os.path.realpath(parent), f"passthroughfs-bench.{os.getpid()}")
        self.mounts = []
        self.missing = {}  # name: reason
        self._names = names
        self._prepare = prepare
        self._source = os.path.join(self.base, "source") if one_source else None

    def __enter__(self):
        os.makedirs(self._source or self.base)
        try:
            if self._prepare:
                self._prepare(self._source)
            for name in self._names:
                try:
                    self.mounts.append(Mount(name, self.base, self._source))
                except Unavailable as reason:
                    self.missing[name] = str(reason)
                    say(f"bench: {name} cannot be measured: {reason}")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def rotated(self, turn):
        turn %= max(1, len(self.mounts))
        return self.mounts[turn:] + self.mounts[:turn]

    def close(self):
        # A second ctrl-C may not leave mounts behind.
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        old = {s: signal.signal(s, signal.SIG_IGN) for s in signals}
        try:
            for mount in self.mounts:
                mount.unmount()
            left = [m.dir for m in self.mounts if m.name != "native" and mounted_at(m.dir)]
            if left:
                say(f"bench: still mounted: {' '.join(left)}; {self.base} is left as it is")
            else:  # much faster than shutil.rmtree when there are a million files
                subprocess.run(["rm", "-rf", "--one-file-system", self.base])
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
