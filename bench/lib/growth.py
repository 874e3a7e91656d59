# SPDX-License-Identifier: Apache-2.0
"""What an operation costs as directories, open files and known files become many."""

import os
import subprocess
import time

from . import report, svg
from .arena import Arena
from .contenders import is_ours, say
from .micro import run_operations
from .results import Section
from .rounds import rounds
from .syscalls import requests

DEFAULT = ["native", "passthroughfs", "recover=off", "bindfs", "passthrough_ll"]
SECONDS = 0.15
WALK_LIMIT = 60  # a contender whose walk takes longer is not asked about larger trees
PEERS_MOST = 10_000  # peers are there for the scale; some need minutes for more
FLAT = 1.5
PER_REQUEST = ", per request"


def populate(folder, files, flat):
    """Natively, before anything is mounted over it."""
    os.makedirs(folder)
    for i in range(files):
        if not flat and i % 1000 == 0:
            os.mkdir(f"{folder}/d{i // 1000:04}")
        os.mknod(f"{folder}/f{i:07}" if flat else f"{folder}/d{i // 1000:04}/f{i:07}")


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Growth:
    """One question: `sizes` on the x axis, a fresh daemon for each, all over one source."""

    def __init__(self, name, title, unit_of_size):
        self.name = name
        self.title = title
        self.unit_of_size = unit_of_size

    def run(self, kind, parent, names, sizes, most_rounds):
        section = Section(f"growth-{self.name}-{kind}", f"{self.title}, on {kind}", "us")
        gone = set()
        lines = {}
        for size in sizes:
            present = [n for n in names if n not in gone
                       and (n == "native" or is_ours(n) or size <= PEERS_MOST)]
            title = f"{section.title}: {size:,} {self.unit_of_size}"
            say(title)
            with Arena(kind, parent, present, one_source=True,
                       prepare=lambda source, n=size: self.prepare(source, n)) as arena:
                for mount in list(arena.mounts):
                    for label, value in self.begin(mount, size, section):
                        self._add(section, lines, mount.name, label, size, 0, value)
                    if self.too_slow(mount):
                        gone.add(mount.name)
                for turn in rounds(title, most_rounds, 60):
                    for mount in arena.rotated(turn):
                        if mount.name in gone:
                            continue
                        results = self.measure(mount, size)
                        if isinstance(results, str):
                            gone.add(mount.name)
                            section.note(f"{mount.name}, {size:,} {self.unit_of_size}: {results}")
                            continue
                        for label, value in results:
                            self._add(section, lines, mount.name, label, size, turn, value)
        if any(n not in gone and n != "native" and not is_ours(n) for n in names) \
                and sizes[-1] > PEERS_MOST:
            section.note(f"Peers are asked up to {PEERS_MOST:,} only.")
        section.finish()
        return section, lines

    def _add(self, section, lines, contender, label, size, turn, value):
        if value is None:
            return
        row = f"{label}, {size:,} {self.unit_of_size}"
        section.add(row, contender, turn, value)
        lines.setdefault(label, {}).setdefault(contender, {})[size] = row

    def prepare(self, source, size):
        pass

    def begin(self, mount, size, section):
        return []

    def too_slow(self, mount):
        return False

    def measure(self, mount, size):
        raise NotImplementedError


class Directory(Growth):
    def __init__(self):
        super().__init__("directory", "One directory with more and more entries", "entries")

    def prepare(self, source, size):
        populate(f"{source}/population", size, flat=True)

    def measure(self, mount, size):
        results = run_operations(
            mount, ["getattr_each", "open_each", "create_into", "readdir"], seconds=SECONDS,
            extra=["--population", f"{mount.dir}/population", "--files", str(size), "--flat"])
        if isinstance(results, str):
            return results
        # Listing is bound to cost more; what may not grow is the share of an entry.
        return [("list, per entry", r["us_median"] / size) if r["op"] == "readdir"
                else (r["op"], r["us_median"]) for r in results]


class OpenFiles(Growth):
    def __init__(self):
        super().__init__("handles", "More and more open files", "open files")

    def measure(self, mount, size):
        results = run_operations(mount, ["open_close", "create_close", "getattr", "read_4k",
                                         "write_4k"],
                                 seconds=SECONDS, extra=["--hold", str(size)], timeout=60)
        if isinstance(results, str):
            return results
        return [(r["op"], r["us_median"]) for r in results]


class KnownFiles(Growth):
    """The tree is walked first, so that the kernel and the daemon know every file in it."""

    OPERATIONS = ["getattr_each", "open_each", "create_close", "lookup_missing"]

    def __init__(self):
        super().__init__("inodes", "More and more files that the mount knows", "files")
        self._slow = set()

    def prepare(self, source, size):
        populate(f"{source}/population", size, flat=False)

    def begin(self, mount, size, section):
        native = mount.name == "native"
        pid = 0 if native else mount.serving_pid()
        before = 0 if native else resident_kib(pid)
        start = time.monotonic()
        try:
            subprocess.run(["find", f"{mount.dir}/population", "-size", "+1k"], check=True,
                           capture_output=True, timeout=WALK_LIMIT)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as reason:
            section.note(f"{mount.name}, walk of {size:,} files: {reason}")
            self._slow.add(mount.name)
            return
        yield "walk (find -size), per file", (time.monotonic() - start) * 1e6 / size
        if not native and size >= PEERS_MOST:
            grown = (resident_kib(pid) - before) * 1024 / size
            section.note(f"{mount.name}: {grown:.0f} bytes of resident memory per file "
                         f"after the walk of {size:,}")

    def too_slow(self, mount):
        return mount.name in self._slow

    def measure(self, mount, size):
        values = []
        counts = is_ours(mount.name)
        for operation in self.OPERATIONS:
            before = sum(requests(mount).values()) if counts else 0
            results = run_operations(mount, [operation], seconds=SECONDS,
                                     extra=["--population", f"{mount.dir}/population",
                                            "--files", str(size)])
            if isinstance(results, str):
                return results
            value = results[0]["us_median"]
            values.append((operation, value))
            # With cache=normal a name is believed for a second. A small tree is visited again
            # within it, a large one is not, so that the kernel asks more often, natively not.
            if counts and operation in ("getattr_each", "open_each"):
                times = results[0]["repetitions"]
                each = (sum(requests(mount).values()) - before) / max(1, times)
                values.append((f"{operation}{PER_REQUEST}", value / max(1.0, each)))
        return values


# With cache=forever the kernel asks as often in a large tree as in a small one.
QUESTIONS = {"directory": (Directory, [10, 100, 1000, 10_000, 100_000, 1_000_000], []),
             "handles": (OpenFiles, [1, 10, 100, 1000, 10_000, 100_000], []),
             "inodes": (KnownFiles, [1000, 10_000, 100_000, 1_000_000], ["-o cache=forever"])}


def plot(section, lines):
    charts = []
    for label, contenders in lines.items():
        series = {contender: [(size, section.median(row, contender))
                              for size, row in sorted(sizes.items())]
                  for contender, sizes in contenders.items()}
        charts.append((label, series))
    return svg.growth_lines(charts, section.title)


def claims(section, lines):
    """(operation, contender, factor, factor of native): the largest size against the smallest."""
    sizes = sorted({size for by_name in lines.values() for by_size in by_name.values()
                    for size in by_size})
    if len(sizes) < 2:
        return sizes, []

    def factor(by_size, contender):
        first, last = (section.median(by_size.get(size, ""), contender)
                       for size in (sizes[0], sizes[-1]))
        return last / first if first and last else None

    found = []
    for label, by_name in lines.items():
        native = factor(by_name.get("native", {}), "native")
        for contender, by_size in by_name.items():
            value = factor(by_size, contender)
            if is_ours(contender) and value:
                found.append((label, contender, value, native))
    return sizes, found


def claims_markdown(section, lines, unit):
    sizes, found = claims(section, lines)
    if not found:
        return ""
    rows = []
    for label, contender, value, native in found:
        verdict = "met" if value <= FLAT else f"**missed** by {100 * (value / FLAT - 1):.0f} %"
        rows.append([label, report.name_of(contender), report.times(value), report.times(native),
                     verdict])
    met = sum(value <= FLAT for _, _, value, _ in found)
    return "\n".join(["", f"Flat within {FLAT}x from {sizes[0]:,} to {sizes[-1]:,} {unit}: {met} "
                      f"of {len(found)} met.", "",
                      *report.table(["operation", "", "growth", "native", ""], rows,
                                    "llrrl")]) + "\n"


def measure(name, kind, parent, names, most_rounds, most):
    make, sizes, more = QUESTIONS[name]
    question = make()
    section, lines = question.run(kind, parent, names or DEFAULT + more,
                                  [s for s in sizes if s <= most], most_rounds)
    text = report.growth_markdown(section, lines)
    return section, text + claims_markdown(section, lines, question.unit_of_size), \
        plot(section, lines)
