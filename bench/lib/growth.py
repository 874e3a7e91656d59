# SPDX-License-Identifier: Apache-2.0
"""What an operation costs as directories, open files and known files become many."""

import os

from . import report, svg
from .contenders import Arena, say
from .micro import run_operations
from .results import Section

DEFAULT = ["native", "passthroughfs", "bindfs", "passthrough_ll"]
SECONDS = 0.2
WALK_LIMIT = 90  # a contender whose walk takes longer is not asked about larger trees


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

    def run(self, kind, parent, names, sizes, rounds):
        section = Section(f"growth-{self.name}-{kind}", f"{self.title}, on {kind}", "us")
        gone = set()
        lines = {}
        for size in sizes:
            say(f"bench: {section.title}: {size:,} {self.unit_of_size}")
            with Arena(kind, parent, [n for n in names if n not in gone],
                       prepare=lambda source, n=size: self.prepare(source, n),
                       one_source=True) as arena:
                for mount in list(arena.mounts):
                    for label, value in self.begin(mount, size, section):
                        self._add(section, lines, mount.name, label, size, 0, value)
                    if self.too_slow(mount):
                        gone.add(mount.name)
                for turn in range(rounds):
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
                                 seconds=SECONDS, extra=["--hold", str(size)], timeout=180)
        if isinstance(results, str):
            return results
        return [(r["op"], r["us_median"]) for r in results]


class KnownFiles(Growth):
    """The tree is walked first, so that the kernel and the daemon know every file in it."""

    def __init__(self):
        super().__init__("inodes", "More and more files that the mount knows", "files")
        self._slow = set()

    def prepare(self, source, size):
        populate(f"{source}/population", size, flat=False)

    def _tree(self, mount, size):
        return ["--population", f"{mount.dir}/population", "--files", str(size)]

    def begin(self, mount, size, section):
        before = resident_kib(mount.pid) if mount.name != "native" else 0
        walk = run_operations(mount, ["getattr_each"], count=size, timeout=WALK_LIMIT,
                              extra=self._tree(mount, size))
        if isinstance(walk, str):
            section.note(f"{mount.name}, walk of {size:,} files: {walk}")
            self._slow.add(mount.name)
            return
        yield "walk, per file", walk[0]["us_mean"]
        if mount.name != "native":
            grown = (resident_kib(mount.pid) - before) * 1024 / size
            section.note(f"{mount.name}: {grown:.0f} bytes of resident memory per file "
                         f"after the walk of {size:,}")

    def too_slow(self, mount):
        return mount.name in self._slow

    def measure(self, mount, size):
        results = run_operations(mount, ["getattr_each", "open_each", "create_close",
                                         "lookup_missing"],
                                 seconds=SECONDS, extra=self._tree(mount, size))
        if isinstance(results, str):
            return results
        return [(r["op"], r["us_median"]) for r in results]


QUESTIONS = {"directory": (Directory, [10, 100, 1000, 10_000, 100_000, 1_000_000]),
             "handles": (OpenFiles, [1, 10, 100, 1000, 10_000, 100_000]),
             "inodes": (KnownFiles, [1000, 10_000, 100_000, 1_000_000])}


def plot(section, lines):
    charts = []
    for label, contenders in lines.items():
        series = {contender: [(size, section.median(row, contender))
                              for size, row in sorted(sizes.items())]
                  for contender, sizes in contenders.items()}
        charts.append((label, series))
    return svg.growth_lines(charts, section.title)


def measure(name, kind, parent, names, rounds, most):
    make, sizes = QUESTIONS[name]
    section, lines = make().run(kind, parent, names, [s for s in sizes if s <= most], rounds)
    return section, report.growth_markdown(section, lines), plot(section, lines)

