# SPDX-License-Identifier: Apache-2.0
"""Plots without a library: bars of ratios on a logarithmic axis, and lines of cost over size."""

import math
from xml.sax.saxutils import escape

COLOURS = {"passthroughfs": "#1b6ca8", "recover=off": "#0b3d66", "dev": "#2f7fb8",
           "io=daemon": "#4c8fc4", "stateless": "#9cc4e4", "writeback": "#6fa8d2",
           "-o cache=forever": "#6fa8d2",
           "bindfs": "#d1495b", "mergerfs": "#e9a23b", "passthrough_ll": "#66a182",
           "passthrough_hp": "#2e5339", "fuse-overlayfs": "#8d6a9f", "native": "#555555"}
OTHER = "#999999"
LABELS = {"stateless": "handles=stateless", "dev": "recover=off, transport=dev"}


def _text(x, y, text, anchor="start", size=12, extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {extra}>'
            f"{escape(text)}</text>")


def _legend(names, left, y, right):
    """The parts, and how far down they reach: as many lines as there must be."""
    parts, x = [], left
    for name in names:
        label = LABELS.get(name, name)
        width = 34 + 7.2 * len(label)
        if x > left and x + width > right:
            x, y = left, y + 18
        parts.append(f'<rect x="{x:.1f}" y="{y - 10}" width="12" height="12" '
                     f'fill="{COLOURS.get(name, OTHER)}"/>')
        parts.append(_text(x + 17, y, label))
        x += width
    return parts, y


def _document(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" fill="#222">\n'
            f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts)
            + "\n</svg>\n")


def ratio_bars(section):
    """One group per row, one bar per contender: how many times as long as native."""
    names = [c for c in section.contenders if c != "native"]
    rows = [(row, [section.ratio(row, c, "native") for c in names]) for row in section.values]
    rows = [(row, ratios) for row, ratios in rows if any(ratios)]
    if not rows:
        return None
    left = max(130, 16 + round(6.6 * max(len(row) for row, _ in rows)))
    bar, gap, plot = 9, 12, 640
    legend, bottom = _legend(names, left, 48, left + plot + 50)
    top = bottom + 22
    group = bar * len(names) + gap
    height = top + group * len(rows) + 40
    highest = max(r for _, ratios in rows for r in ratios if r)
    lowest = min(1.0, min(r for _, ratios in rows for r in ratios if r))
    floor, ceiling = math.floor(math.log2(lowest)), math.ceil(math.log2(highest))
    ceiling = max(ceiling, floor + 1)

    def x_of(ratio):
        return left + plot * (math.log2(ratio) - floor) / (ceiling - floor)

    title = f"{section.title}: time relative to native (1 = native, less is better)"
    parts = [_text(left, 22, title, size=15), *legend]
    for power in range(floor, ceiling + 1):
        x = x_of(2.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{height - 34}" '
                     f'stroke="{"#444" if power == 0 else "#ddd"}"/>')
        parts.append(_text(x, height - 18, f"{2.0**power:g}x", "middle", 11))
    for index, (row, ratios) in enumerate(rows):
        y = top + group * index
        parts.append(_text(left - 8, y + bar * len(names) / 2 + 4, row, "end"))
        for place, (name, ratio) in enumerate(zip(names, ratios)):
            if not ratio:
                continue
            start, end = sorted((x_of(1.0), x_of(ratio)))
            width = max(1, end - start)
            parts.append(f'<rect x="{start:.1f}" y="{y + bar * place}" width="{width:.1f}" '
                         f'height="{bar - 1}" fill="{COLOURS.get(name, OTHER)}">'
                         f"<title>{escape(name)} {escape(row)}: {ratio:.2f}x</title></rect>")
            label = f"{ratio:.2f}".rstrip("0").rstrip(".")
            parts.append(_text(end + 3, y + bar * place + 7.5, label, size=8))
    return _document(left + plot + 50, height, parts)


def growth_lines(charts, title):
    """charts: [(name of the x axis, {series: [(x, us)]})], drawn side by side, both axes log."""
    charts = [(axis, {s: [(x, y) for x, y in points if y] for s, points in series.items()})
              for axis, series in charts]
    charts = [(axis, {s: p for s, p in series.items() if p}) for axis, series in charts]
    charts = [c for c in charts if c[1]]
    if not charts:
        return None
    width, height, top, wide, high, left = 0, 330, 50, 270, 200, 60
    parts = [_text(20, 24, title, size=15)]
    for axis, series in charts:
        xs = [x for points in series.values() for x, _ in points]
        ys = [y for points in series.values() for _, y in points]
        x_low, x_high = math.log10(min(xs)), max(math.log10(max(xs)), math.log10(min(xs)) + 1)
        y_low, y_high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        y_high = max(y_high, y_low + 1)

        def place(x, y, base=left + width, xl=x_low, xh=x_high, yl=y_low, yh=y_high):
            return (base + wide * (math.log10(x) - xl) / (xh - xl),
                    top + high - high * (math.log10(y) - yl) / (yh - yl))

        parts.append(f'<rect x="{left + width}" y="{top}" width="{wide}" height="{high}" '
                     'fill="none" stroke="#888"/>')
        for power in range(y_low, y_high + 1):
            _, y = place(min(xs), 10.0**power)
            parts.append(f'<line x1="{left + width}" y1="{y:.1f}" x2="{left + width + wide}" '
                         f'y2="{y:.1f}" stroke="#ddd"/>')
            parts.append(_text(left + width - 5, y + 4, f"{10.0**power:g} us", "end", 10))
        for x in sorted(set(xs)):
            at, _ = place(x, 10.0**y_low)
            parts.append(_text(at, top + high + 15, f"{x:,}", "middle", 9))
        parts.append(_text(left + width + wide / 2, top + high + 34, axis, "middle"))
        for number, (name, points) in enumerate(series.items()):
            colour = COLOURS.get(name, OTHER)
            line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" '
                         'stroke-width="2"/>')
            parts += [f'<circle cx="{place(x, y)[0]:.1f}" cy="{place(x, y)[1]:.1f}" r="3" '
                      f'fill="{colour}"/>' for x, y in points]
            parts.append(f'<rect x="{left + width}" y="{top + high + 45 + 13 * number}" width="10" '
                         f'height="10" fill="{colour}"/>')
            parts.append(_text(left + width + 15, top + high + 54 + 13 * number, name, size=10))
        width += left + wide + 30
        height = max(height, top + high + 70 + 13 * len(series))
    return _document(width + 20, height, parts)
