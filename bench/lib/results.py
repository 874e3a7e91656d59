# SPDX-License-Identifier: Apache-2.0
"""Samples, medians and ratios of one section (one set of measurements on one file system)."""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import platform
import statistics


class Section:
    """values[row][contender] = one value per round, None where a round failed."""

    def __init__(self, name, title, unit):
        self.name = name
        self.title = title
        self.unit = unit
        self.contenders = []
        self.values = {}
        self.notes = []
        self.machine = describe_machine()
        self.when = datetime.date.today().isoformat()
        self.load_before = os.getloadavg()[0]
        self.load_after = 0.0
        self.rounds = 0

    def add(self, row, contender, turn, value):
        if contender not in self.contenders:
            self.contenders.append(contender)
        values = self.values.setdefault(row, {}).setdefault(contender, [])
        values.extend([None] * (turn + 1 - len(values)))
        values[turn] = value
        self.rounds = max(self.rounds, turn + 1)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def finish(self):
        self.load_after = os.getloadavg()[0]

    def median(self, row, contender):
        values = self._known(row, contender)
        return statistics.median(values) if values else None

    def spread(self, row, contender):
        """Median distance from the median, as a share of it."""
        values = self._known(row, contender)
        if len(values) < 2:
            return None
        middle = statistics.median(values)
        return statistics.median(abs(v - middle) for v in values) / middle if middle else None

    def ratio(self, row, contender, to):
        """Median over the rounds of the ratio within a round: what slows a whole round cancels."""
        ratios = self._ratios(row, contender, to)
        return statistics.median(ratios) if ratios else None

    def ratio_spread(self, row, contender, to):
        """Median distance of those ratios from their median, as a share of it."""
        ratios = self._ratios(row, contender, to)
        if len(ratios) < 2:
            return None
        middle = statistics.median(ratios)
        return statistics.median(abs(r - middle) for r in ratios) / middle

    def rows(self, beginning):
        return [row for row in self.values if row.startswith(beginning)]

    def _ratios(self, row, contender, to):
        """`contender` and `to` are contenders, or pairs (row, contender) for different rows."""
        (row, contender), (other, to) = (c if isinstance(c, tuple) else (row, c)
                                         for c in (contender, to))
        pairs = zip(self.values.get(row, {}).get(contender, []),
                    self.values.get(other, {}).get(to, []))
        return [a / b for a, b in pairs if a and b]

    def _known(self, row, contender):
        return [v for v in self.values.get(row, {}).get(contender, []) if v is not None]


class Store:
    """The sections of this run and of earlier ones of the same program: the report on the aims
    needs several sets, which may have been measured one by one."""

    def __init__(self, path, program):
        self._path = pathlib.Path(path)
        self._program = hashlib.sha256(pathlib.Path(program).read_bytes()).hexdigest()
        self.sections = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            kept = json.loads(self._path.read_text())
            if kept["program"] != self._program:
                return
            for name, fields in kept["sections"].items():
                section = Section(name, fields["title"], fields["unit"])
                section.__dict__.update(fields)
                self.sections[name] = section

    def put(self, section):
        self.sections[section.name] = section
        self._path.write_text(json.dumps({
            "program": self._program,
            "sections": {name: known.__dict__ for name, known in self.sections.items()}}))


def describe_machine():
    model = "?"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    virtual = ", virtual machine" if " hypervisor" in open("/proc/cpuinfo").read() else ""
    with open("/proc/meminfo") as info:
        gigabytes = int(info.readline().split()[1]) / (1 << 20)
    return (f"{model}, {os.cpu_count()} CPUs{virtual}, {gigabytes:.0f} GiB, "
            f"Linux {platform.release()}")
