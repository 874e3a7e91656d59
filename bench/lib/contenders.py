# SPDX-License-Identifier: Apache-2.0
"""The file systems that are compared: how each is found, built and started."""

import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "build" / "bench" / "programs"
EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")


BEGUN = time.monotonic()


def say(text):
    minutes, seconds = divmod(int(time.monotonic() - BEGUN), 60)
    print(f"bench: [{minutes:2}:{seconds:02}] {text}", file=sys.stderr, flush=True)


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
    say(f"compiling {name}")
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
        raise Unavailable(f"{parameter} is not Y, and over /dev/fuse it is the same as `dev`")
    return passthroughfs_with("recover=off")(source, mountpoint, scratch)


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
    "recover=off": over_io_uring,
    "dev": passthroughfs_with("transport=dev", "recover=off"),
    "io=daemon": passthroughfs_with("io=daemon"),
    "stateless": passthroughfs_with("handles=stateless"),
    "writeback": passthroughfs_with("writeback", "cache=forever"),
    "bindfs": bindfs,
    "mergerfs": mergerfs,
    "passthrough_ll": passthrough_ll,
    "passthrough_hp": passthrough_hp,
    "fuse-overlayfs": fuse_overlayfs,
}
# What ours are mounted with, for the report.
NAMES = {"passthroughfs": "passthroughfs", "recover=off": "passthroughfs recover=off (io_uring)",
         "dev": "passthroughfs recover=off, transport=dev", "io=daemon": "passthroughfs io=daemon",
         "stateless": "passthroughfs handles=stateless",
         "writeback": "passthroughfs writeback, cache=forever"}
OURS = ("passthroughfs", "io=daemon", "stateless")  # whose requests and system calls are counted


def is_ours(name):
    return name in NAMES or name.startswith(("-o ", "/"))


def versions(names):
    """What is compared, for the report."""
    lines = {}
    for name in names:
        if name == "native":
            continue
        if name in NAMES or name.startswith("-o "):
            done = subprocess.run([our_program(), "--version"], capture_output=True, text=True)
            lines["passthroughfs"] = (done.stdout.split() or ["?"])[-1]
        elif name.startswith("/"):
            lines[name] = "another build"
        elif name.startswith("passthrough_"):
            lines[name] = "libfuse3 " + package_version("libfuse3-dev")
        else:
            lines[name] = package_version(name)
    return lines
