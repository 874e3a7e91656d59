# SPDX-License-Identifier: Apache-2.0
"""What this project wants to reach, and whether it does: computed from the measured sections."""

from . import growth, path, report

DEFAULT, RING = "passthroughfs", "recover=off"
WAYS = {DEFAULT: "/dev/fuse (the default)", RING: "io_uring (recover=off)"}
MOST, LEAST = "at most", "at least"
DATA = ["read_4k", "read_4k_uncached", "write_4k", "append", "read_1m", "read_1m_first", "write_1m"]
NAMES = ["create_close", "unlink", "rename", "ftruncate", "chmod"]


class Verdict:
    def __init__(self, value, spread, kind, limit):
        self.met = value <= limit if kind == MOST else value >= limit
        self.off = value / limit - 1 if kind == MOST else limit / value - 1
        self.text = f"{report.times(value)}{report.percent(spread)}"
        # The limit lies within what the rounds differ by.
        self.close = spread is not None and abs(value - limit) < spread * value

    def __str__(self):
        by = f"{100 * self.off:.0f} %" if self.off < 1 else f"a factor of {1 + self.off:.1f}"
        sign = "met" if self.met else f"**missed** by {by}"
        return f"{self.text} {sign}" + (" (within ±)" if self.close else "")


class Aim:
    """One line of the report. `limits`: {contender: limit}; `value(sections, contender)` gives
    (number, spread), or None where it was not measured."""

    def __init__(self, text, kind, limits, value, places=("tmpfs", "disk")):
        self.text = text
        self.kind = kind
        self.limits = limits
        self.places = places
        self._value = value

    def limit_text(self):
        values = sorted(set(self.limits.values()))
        if len(values) == 1:
            return f"{self.kind} {values[0]:g}x"
        return f"{self.kind} " + ", ".join(
            f"{self.limits[name]:g}x over {way.split(' ')[0]}" for name, way in WAYS.items())

    def verdict(self, sections, place, contender):
        if place not in self.places or contender not in self.limits:
            return None
        found = self._value(sections, place, contender)
        if not found or not found[0]:
            return None
        return Verdict(*found, self.kind, self.limits[contender])


def both(limit):
    return {DEFAULT: limit, RING: limit}


def _section(sections, name, place):
    return sections.get(f"{name}-{place}")


def to_native(set_name, row):
    """As many times as long as natively."""
    def value(sections, place, contender):
        section = _section(sections, set_name, place)
        rows = section.rows(row) if section else []
        if not rows:
            return None
        return (section.ratio(rows[0], contender, "native"),
                section.ratio_spread(rows[0], contender, "native"))
    return value


def to_peer(set_name, row, peer):
    """How many times as long the peer takes."""
    def value(sections, place, contender):
        section = _section(sections, set_name, place)
        rows = section.rows(row) if section else []
        if not rows:
            return None
        return (section.ratio(rows[0], peer, contender),
                section.ratio_spread(rows[0], peer, contender))
    return value


def of_path(row, to):
    """`row` and `to` make a row of the path section of a contender."""
    def value(sections, place, contender):
        section = _section(sections, "path", place)
        if not section:
            return None
        one, other = row(contender), to(contender)
        return (section.ratio(one, (one, "us"), (other, "us")),
                section.ratio_spread(one, (one, "us"), (other, "us")))
    return value


def worst_growth(set_name, unit, smallest, largest, per_request):
    """`per_request`: where a row says what a request of the operation takes, that one counts."""
    def value(sections, place, contender):
        section = _section(sections, f"growth-{set_name}", place)
        if not section:
            return None
        end = f", {largest:,} {unit}"
        factors = []
        for row in section.rows(""):
            label = row.removesuffix(end)
            split = growth.PER_REQUEST in row
            first = section.median(f"{label}, {smallest:,} {unit}", contender)
            last = section.median(row, contender)
            if label == row or not first or not last or (split and not per_request) or (
                    not split and per_request and f"{label}{growth.PER_REQUEST}{end}"
                    in section.values):
                continue
            factors.append(last / first)
        return (max(factors), None) if factors else None
    return value


def aims():
    for row in DATA:
        yield Aim(f"{row}, to native", MOST, both(1.1), to_native("micro", row))
    for peer in ("bindfs", "passthrough_ll"):
        for row in NAMES:
            yield Aim(f"{row}, faster than {peer}", LEAST, {DEFAULT: 3, RING: 4},
                      to_peer("micro", row, peer))
        yield Aim(f"open_close, faster than {peer}", LEAST, {DEFAULT: 2, RING: 3},
                  to_peer("micro", "open_close", peer))
    free = path.FREE.get
    yield Aim("GETATTR of a free client, to a pipe round trip on one CPU", MOST,
              {DEFAULT: 3, RING: 2}, of_path(free, lambda _: path.PIPE), ("tmpfs",))
    for text, suffix in (("median", ""), ("mean, waiting included", path.MEAN)):
        yield Aim(f"the same beside programs that keep every CPU busy, to itself ({text})", MOST,
                  both(2), of_path(lambda c, s=suffix: free(c) + path.BUSY + s, free), ("tmpfs",))
    yield Aim("grep -r warm, to native", MOST, both(1.3), to_native("tree", "grep -r, again"))
    yield Aim("git status warm, to native", MOST, both(1.3), to_native("git", "git status"))
    yield Aim("C++ build, to native", MOST, both(1.15), to_native("build", "build"))
    yield Aim("untar, to native", MOST, both(4), to_native("tree", "untar"))
    yield Aim("untar, faster than bindfs", LEAST, both(3), to_peer("tree", "untar", "bindfs"))
    for name, unit, smallest, largest in (("inodes", "files", 1000, 1_000_000),
                                          ("handles", "open files", 1, 100_000)):
        for text, per_request in (("an operation", False), ("a request", True)):
            if name == "inodes" or not per_request:
                yield Aim(f"the worst growth of {text} from {smallest:,} to {largest:,} {unit}",
                          MOST, both(growth.FLAT),
                          worst_growth(name, unit, smallest, largest, per_request))


PLACES = ("tmpfs", "disk")


def markdown(sections, place):
    """None if nothing of it was measured there. One report per place, because a run may be of one
    place and of a later program than the other's."""
    columns = [(place, contender) for contender in WAYS]
    rows, met, judged = [], 0, 0
    for aim in aims():
        verdicts = [aim.verdict(sections, *column) for column in columns]
        known = [v for v in verdicts if v]
        if not known:
            continue
        met += sum(v.met for v in known)
        judged += len(known)
        rows.append([aim.text, aim.limit_text(), *(str(v) if v else "-" for v in verdicts)])
    if not judged:
        return None
    used = [s for name, s in sections.items() if s.values and name.endswith(f"-{place}")]
    dates = sorted({s.when for s in used})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    text = [f"### The aims, on {place}", "",
            f"{met} of {judged} met. {used[-1].machine}. Measured {when}. A number is the median "
            "over the rounds of the ratio within a round, ± the median distance from it; "
            "`within ±` says that the rounds differ by more than what decides.",
            "", *report.table(["", "aim", *WAYS.values()], rows,
                              "ll" + 20 * "r"), ""]
    return "\n".join(text)
