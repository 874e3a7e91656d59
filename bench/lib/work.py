# SPDX-License-Identifier: Apache-2.0
"""Whole work: what people do in a directory, done by the programs that they do it with."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

from .contenders import Unavailable
from .postgres import Postgres
from .results import Section
from .rounds import rounds
from .steps import StepFailed, Steps


WORDS = ("handle table slot node path open close read write request reply kernel worker queue "
         "source mount lock entry cache budget").split()


def make_tree(folder, files):
    """The same tree each time: text files, 100 to a directory, 2 KiB each on average."""
    chance = random.Random(1)
    for i in range(files):
        where = os.path.join(folder, f"part{i // 2000:02}", f"dir{i // 100:03}")
        if i % 100 == 0:
            os.makedirs(where)
        words = chance.choices(WORDS, k=chance.randint(20, 680))
        with open(os.path.join(where, f"file{i:05}.txt"), "w") as out:
            out.write("\n".join(" ".join(words[n:n + 10]) for n in range(0, len(words), 10)))
            out.write("\n")


class Tree:
    name = "tree"
    title = "A tree: unpack, search, remove"
    needs = ("tar", "grep", "find", "rm")

    def materials(self, folder, quick):
        self.files = 1000 if quick else 20000
        make_tree(f"{folder}/tree", self.files)
        subprocess.run(["tar", "-C", folder, "-cf", f"{folder}/tree.tar", "tree"], check=True)
        shutil.rmtree(f"{folder}/tree")
        self.tar = f"{folder}/tree.tar"

    def run(self, where, steps):
        steps.time(f"untar {self.files} files", ["tar", "-C", where, "-xf", self.tar])
        steps.time("grep -r, first", ["grep", "-rc", "slot handle table", f"{where}/tree"],
                   allowed=(0, 1))
        steps.time("grep -r, again", ["grep", "-rc", "slot handle table", f"{where}/tree"],
                   allowed=(0, 1), again=2)
        steps.time("find -size", ["find", f"{where}/tree", "-size", "+1k"])
        steps.time("rm -rf", ["rm", "-rf", f"{where}/tree"])


class Git:
    name = "git"
    title = "git"
    needs = ("git",)

    def materials(self, folder, quick):
        files = 1000 if quick else 4000
        repository = f"{folder}/repository"
        make_tree(repository, files)

        def git(*arguments):
            subprocess.run(["git", "-C", repository, "-c", "user.name=bench", "-c",
                            "user.email=bench@localhost", "-c", "init.defaultBranch=main",
                            "-c", "gc.auto=0", *arguments], check=True, capture_output=True)
        git("init", "-q")
        git("add", ".")
        git("commit", "-qm", "one")
        git("checkout", "-qb", "other")
        for i in range(0, files, 10):
            path = f"{repository}/part{i // 2000:02}/dir{i // 100:03}/file{i:05}.txt"
            with open(path, "a") as out:
                out.write("another line\n")
        git("commit", "-qam", "two")
        git("checkout", "-q", "main")
        self.url = f"file://{repository}"

    def run(self, where, steps):
        clone = f"{where}/clone"
        steps.time("git clone", ["git", "clone", "-q", self.url, clone])
        # An index written in the second of the files' last change has git read them all each time.
        # This one is written in a later second, and anew.
        time.sleep(1.1)
        steps.run(["git", "-C", clone, "read-tree", "HEAD"])
        steps.run(["git", "-C", clone, "update-index", "-q", "--refresh"])
        steps.time("git status", ["git", "-C", clone, "status", "--porcelain"], again=5)
        steps.time("git checkout (a tenth changes)", ["git", "-C", clone, "checkout", "-q",
                                                      "origin/other"])
        shutil.rmtree(clone)


class Build:
    name = "build"
    title = "A C++ build with ninja"
    needs = ("ninja", "g++")

    def materials(self, folder, quick):
        self.folder = f"{folder}/project"
        os.makedirs(self.folder)
        files = 8 if quick else 12
        headers = "".join(f"#include <{h}>\n" for h in ("map", "string", "vector", "algorithm"))
        for i in range(files):
            with open(f"{self.folder}/unit{i}.h", "w") as out:
                out.write(f"#pragma once\n#include <string>\nint unit{i}(const std::string&);\n")
            with open(f"{self.folder}/unit{i}.cc", "w") as out:
                out.write(headers + "".join(f'#include "unit{n}.h"\n' for n in range(i + 1))
                          + f"int unit{i}(const std::string& text) {{\n"
                          "  std::map<std::string, std::vector<int>> seen;\n"
                          "  for (char c : text) seen[text].push_back(c);\n"
                          f"  return static_cast<int>(seen.size()) + "
                          f"{f'unit{i - 1}(text)' if i else '0'};\n}}\n")
        with open(f"{self.folder}/main.cc", "w") as out:
            out.write(f'#include "unit{files - 1}.h"\n'
                      f'int main() {{ return unit{files - 1}("text") == {files} ? 0 : 1; }}\n')
        with open(f"{self.folder}/build.ninja", "w") as out:
            out.write("rule cc\n  command = g++ -O1 -MMD -MF $out.d -c $in -o $out\n"
                      "  depfile = $out.d\n  deps = gcc\n"
                      "rule link\n  command = g++ $in -o $out\n")
            units = ["main", *(f"unit{i}" for i in range(files))]
            for unit in units:
                out.write(f"build {unit}.o: cc {unit}.cc\n")
            out.write(f"build program: link {' '.join(u + '.o' for u in units)}\n")

    def run(self, where, steps):
        project = f"{where}/project"
        shutil.copytree(self.folder, project)
        steps.time("build", ["ninja", "-C", project])
        steps.run([f"{project}/program"])
        steps.time("build, nothing to do", ["ninja", "-C", project])
        shutil.rmtree(project)


class Sqlite:
    name = "sqlite"
    title = "sqlite"
    needs = ()
    # In a process of its own, so that it can be stopped.
    PROGRAM = """
import sqlite3, sys, time
path, mode, commits, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
base = sqlite3.connect(path, isolation_level=None)
base.execute(f"pragma journal_mode={mode}")
base.execute("pragma synchronous=normal")
base.execute("create table t (k integer primary key, v text)")
start = time.monotonic()
for i in range(commits):
    base.execute("insert into t values (?, ?)", (i, "x" * 100))
print(time.monotonic() - start)
start = time.monotonic()
base.execute("begin")
base.executemany("insert into t values (?, ?)",
                 ((commits + i, "y" * 100) for i in range(rows)))
base.execute("commit")
print(time.monotonic() - start)
assert base.execute("select count(*), sum(length(v)) from t").fetchone()[0] == commits + rows
base.close()
"""

    def materials(self, _folder, quick):
        self.commits, self.rows = (100, 5000) if quick else (1000, 100000)

    def run(self, where, steps):
        for mode in ("wal", "delete"):
            os.sync()
            out = steps.run([sys.executable, "-c", self.PROGRAM, f"{where}/{mode}.db", mode,
                             str(self.commits), str(self.rows)])
            commits, load = map(float, out.split())
            steps.record(f"{self.commits} commits, journal_mode={mode}", commits)
            steps.record(f"{self.rows} rows in one commit, journal_mode={mode}", load)


class Fio:
    name = "fio"
    title = "fio, random 4 KiB"
    needs = ("fio",)

    def materials(self, _folder, quick):
        self.size, self.seconds = ("16m", 0.3) if quick else ("64m", 0.6)

    def run(self, where, steps):
        # All of it in the page cache, from the beginning. fio drops a file from there that it has
        # made or is about to use: natively that means the disk, on a mount only the mount's own
        # cache, so two different things would be measured.
        common = ["fio", "--invalidate=0", "--name=f", f"--filename={where}/fio",
                  f"--size={self.size}", "--bs=4k", "--ioengine=psync", "--fallocate=none"]
        steps.run([*common, "--rw=randread", "--create_only=1"])
        with open(f"{where}/fio", "rb") as made:
            while made.read(1 << 20):
                pass
        for kind in ("randread", "randwrite"):
            for jobs in (1, 4):
                command = [*common, f"--rw={kind}", f"--numjobs={jobs}", "--group_reporting",
                           "--time_based", f"--runtime={self.seconds}s", "--output-format=json",
                           "--randrepeat=1"]
                os.sync()
                report = json.loads(steps.run(command))["jobs"][0]
                rate = report["read" if kind == "randread" else "write"]["iops"]
                if rate <= 0:
                    raise StepFailed("fio: no operation was done")
                steps.record(f"{kind}, {jobs} job{'s' if jobs > 1 else ''}, 10,000 operations",
                             10_000 / rate)


SCENARIOS = {s.name: s for s in (Tree, Git, Build, Sqlite, Fio, Postgres)}


def measure(arena, plan, name, *, quick):
    """Seconds per step. What is missing for it is said in the notes."""
    scenario = SCENARIOS[name]()
    section = Section(f"{name}-{arena.kind}", f"{scenario.title}, on {arena.kind}", "s")
    missing = [tool for tool in scenario.needs if not shutil.which(tool)]
    if missing:
        section.note(f"not measured: {' and '.join(missing)} not installed")
        return section
    folder = os.path.join(arena.base, f"materials-{name}")
    home = os.path.join(folder, "home")  # nobody's own settings
    os.makedirs(home)
    environment = {"HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "CCACHE_DISABLE": "1",
                   "LC_ALL": "C.UTF-8"}
    failed = set()
    try:
        scenario.materials(folder, quick)
        for turn in rounds(section.title, plan.rounds, plan.seconds):
            for mount in arena.rotated(turn, plan.names):
                if mount.name in failed:
                    continue
                folder_name = f"{name}-{turn}"
                where = os.path.join(mount.dir, folder_name)
                steps = Steps(lambda label, value, m=mount, t=turn:
                              section.add(label, m.name, t, value), environment)
                try:
                    os.mkdir(where)
                    scenario.run(where, steps)
                except (StepFailed, OSError, shutil.Error) as reason:
                    failed.add(mount.name)
                    section.note(f"{mount.name}: {reason}")
                finally:
                    shutil.rmtree(where, ignore_errors=True)
                if mount.name in failed:
                    arena.restart(mount)
                    shutil.rmtree(os.path.join(mount.source, folder_name), ignore_errors=True)
    except Unavailable as reason:
        section.note(f"not measured: {reason}")
    finally:
        subprocess.run(["rm", "-rf", folder])
    for note in getattr(scenario, "notes", lambda _: [])(section):
        section.note(note)
    section.finish()
    return section
