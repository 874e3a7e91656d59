# SPDX-License-Identifier: Apache-2.0
"""Sections as Markdown tables, and into the documents."""

import pathlib
import re

from .contenders import NAMES, OURS


def name_of(contender):
    return NAMES.get(contender, f"passthroughfs {contender}" if contender.startswith("-o ")
                     else contender)


def number(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def times(value):
    return "-" if value is None else f"{value:.1f}x" if value >= 10 else f"{value:.2f}x"


def percent(value):
    return "" if value is None else f" ±{100 * value:.0f}%"


def table(header, rows, aligned="l" + 20 * "r"):
    lines = ["| " + " | ".join(header) + " |",
             "|" + "|".join("---" if a == "l" else "---:" for a, _ in zip(aligned, header)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def peers_of(section):
    return [c for c in section.contenders if c not in ("native", "passthroughfs")]


def circumstances(section):
    return (f"{section.machine}. {section.when}; {section.rounds} interleaved rounds; load average "
            f"{section.load_before:.1f} before, {section.load_after:.1f} after.")


def markdown(section):
    lines = [f"### {section.title}", ""]
    if not section.values:
        return "\n".join(lines + [f"- {note}" for note in section.notes]) + "\n"
    lines += [f"{circumstances(section)} Each cell: median over the rounds, ratio to native in the "
              "same round, and the median distance from the median.", ""]
    header = ["", *map(name_of, section.contenders)]
    rows = []
    for row in section.values:
        cells = [f"{row}" + (f" ({section.unit})" if not rows else "")]
        for contender in section.contenders:
            value = section.median(row, contender)
            ratio = section.ratio(row, contender, "native")
            text = number(value)
            if value is not None and contender != "native" and ratio is not None:
                text += f" · **{times(ratio)}**"
            cells.append(text + percent(section.spread(row, contender)))
        rows.append(cells)
    lines += table(header, rows) + [""]

    peers = peers_of(section)
    if "passthroughfs" in section.contenders and peers:
        rows = [[row] + [times(section.ratio(row, peer, "passthroughfs")) for peer in peers]
                for row in section.values
                if section.median(row, "passthroughfs") is not None]
        lines += ["How many times as long as passthroughfs the others take (above 1: passthroughfs "
                  "is faster):", ""]
        lines += table(["", *map(name_of, peers)], rows) + [""]
    lines += [f"- {note}" for note in section.notes]
    return "\n".join(lines).rstrip() + "\n"


def modes_markdown(micro, counted):
    """handles=table beside handles=stateless: microseconds, requests and system calls."""
    rows = []
    for text, operation, counted_as in MODES:
        row = [text, number(micro.median(operation, "native"))]
        for name in OURS:
            requests, calls = counted.get(name, {}).get(counted_as, ({}, {}))
            row += [number(micro.median(operation, name)),
                    f"{round(sum(v for k, v in requests.items() if k not in LATE), 1):g}",
                    f"{round(sum(calls.values()), 1):g}"]
        rows.append(row)
    header = ["", "native, us", "`table`, us", "requests", "system calls",
              "`table`, `io=daemon`, us", "requests", "system calls",
              "`stateless`, us", "requests", "system calls"]
    return "\n".join([*table(header, rows), "",
                      f"{circumstances(micro)} Requests are those that the caller waits for; "
                      "system calls are the daemon's, two of them (read, writev) for every "
                      "request."])


# What the tables of both designs show: words, pfs_microbench's name, the name in syscalls.py.
MODES = [("read 4 KiB, in the page cache", "read_4k", "read 4 KiB, in the page cache"),
         ("read 4 KiB, not in the page cache", "read_4k_uncached",
          "read 4 KiB, not in the page cache"),
         ("write 4 KiB", "write_4k", "write 4 KiB"),
         ("append 100 bytes", "append", "append 100 bytes"),
         ("open + close", "open_close", "open + close"),
         ("create + close", "create_close", "create + close"),
         ("ftruncate", "ftruncate", "ftruncate"),
         ("stat, repeated", "stat", "stat by path, repeated"),
         ("list a directory of 1,000", "readdir", "list a directory of 1000")]
LATE = ("RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET")


def growth_markdown(section, lines):
    """`lines`: {operation: {contender: {size: row of the section}}}."""
    text = [f"### {section.title}", "",
            f"{circumstances(section)} Microseconds, median over the rounds; the last column is "
            "the largest size against the smallest.", ""]
    sizes = sorted({size for by_name in lines.values() for rows in by_name.values()
                    for size in rows})
    rows = []
    for operation, by_name in lines.items():
        for contender, by_size in by_name.items():
            values = [section.median(by_size[size], contender) if size in by_size else None
                      for size in sizes]
            first, last = values[0], values[-1]
            rows.append([operation, name_of(contender), *map(number, values),
                         times(last / first if first and last else None)])
    text += table(["operation", "", *(f"{size:,}" for size in sizes), "growth"], rows,
                  "ll" + 20 * "r") + [""]
    text += [f"- {note}" for note in section.notes]
    return "\n".join(text).rstrip() + "\n"


def put_between_markers(path, name, text, head=None):
    """Replaces the block `name` of a document, or appends it. `head` starts a new document; without
    it a document that lacks the block stays as it is."""
    path = pathlib.Path(path)
    if head is None and (not path.exists() or f"<!-- bench:{name} -->" not in path.read_text()):
        return
    content = path.read_text() if path.exists() else head
    block = f"<!-- bench:{name} -->\n{text.rstrip()}\n<!-- /bench:{name} -->"
    pattern = re.compile(rf"<!-- bench:{re.escape(name)} -->.*?<!-- /bench:{re.escape(name)} -->",
                         re.DOTALL)
    if pattern.search(content):
        content = pattern.sub(lambda _: block, content)
    else:
        content = content.rstrip() + "\n\n" + block + "\n"
    path.write_text(content)
