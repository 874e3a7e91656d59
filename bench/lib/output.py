# SPDX-License-Identifier: Apache-2.0
"""Where sections go as soon as they are measured."""

from . import aims, report, svg
from .contenders import ROOT, our_program
from .results import Store

HEAD = """# Measured

Written by `./dev bench`; each block by the run that it names. What the numbers mean and where the
time goes is in [performance.md](performance.md).

""" + "".join(f"\n<!-- bench:aims-{place} -->\n<!-- /bench:aims-{place} -->\n" for place in aims.PLACES)


class Output:
    """Documents, or with `into_docs` false the same in the build directory. With `keep` the
    sections stay for the report on the aims, which other runs complete."""

    def __init__(self, into_docs, keep):
        self.folder = ROOT / "docs" if into_docs else ROOT / "build" / "bench"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "benchmark.md"
        if not into_docs:
            self.file.unlink(missing_ok=True)
        path = ROOT / "build" / "bench" / ("results.json" if keep else "results-partial.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not keep:
            path.unlink(missing_ok=True)
        self._store = Store(path, our_program())

    def keep(self, section):
        self._store.put(section)
        for place in aims.PLACES:
            text = aims.markdown(self._store.sections, place)
            if text:
                report.put_between_markers(self.file, f"aims-{place}", text, HEAD)

    def section(self, section, text=None, plot=None):
        text = text or report.markdown(section)
        drawing = plot or svg.ratio_bars(section)
        if drawing:
            name = f"benchmark-{section.name}.svg"
            (self.folder / name).write_text(drawing)
            text += f"\n![{section.title}]({name})\n"
        self.block(section.name, text)
        self.keep(section)

    def performance(self, name, text):
        """A table of docs/performance.md, and of the README if it quotes it."""
        if self.folder.name == "docs":
            report.put_between_markers(self.folder / "performance.md", name, text,
                                       "# Performance\n")
            report.put_between_markers(ROOT / "README.md", name, text)
            print(text, flush=True)
        else:
            self.block(name, text)

    def block(self, name, text):
        report.put_between_markers(self.file, name, text, HEAD)
        print(text, flush=True)
