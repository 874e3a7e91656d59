# SPDX-License-Identifier: Apache-2.0
"""What the record of changes costs, and what its answers cost."""

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import time

from . import micro
from .arena import Arena
from .contenders import say

CONTENDERS = ["native", "-o journal=off", "-o journal=memory", "passthroughfs"]
OPERATIONS = ["create_close", "open_close", "write_4k", "rename", "unlink", "mkdir_rmdir"]
PER_DIRECTORY = 500
CHANGED = 100


def measure(kind, place, plan, seconds):
    """Operations with the journal in a file (passthroughfs as it is), in memory, and without."""
    with Arena(kind, place, CONTENDERS) as arena:
        plan = dataclasses.replace(plan, names=CONTENDERS)
        section = micro.measure(arena, plan, operations=OPERATIONS, seconds=seconds)
    section.name = f"journal-{kind}"
    section.title = f"What the record of changes costs, on {kind}"
    section.notes = ["`passthroughfs` is with the journal in a file, as by default. Ratios to "
                     "journal=off are what counts here."]
    return section


def fill(source, files):
    for number in range(files):
        if number % PER_DIRECTORY == 0:
            directory = os.path.join(source, f"d{number // PER_DIRECTORY}")
            os.makedirs(directory, exist_ok=True)
        os.close(os.open(os.path.join(directory, f"f{number}"), os.O_CREAT | os.O_WRONLY, 0o644))


def timed(work):
    """Its result, and how many milliseconds it took."""
    begun = time.monotonic()
    result = work()
    return result, 1000 * (time.monotonic() - begun)


def question(directory, since):
    """What `dirty` asks, without a program that has to start: how many changes were told."""
    device = os.stat(directory).st_dev
    name = f"/run/passthroughfs/{os.major(device)}:{os.minor(device)}.sock"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(name)
        request = {"command": "dirty", "arguments": {"since": since, "renames": True}}
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while b'{"end"' not in answer:
            piece = connection.recv(1 << 16)
            if not piece:
                raise SystemExit(f"bench: no answer: {answer[-200:]}")
            answer += piece
    return sum(len(json.loads(line).get("changes", [])) for line in answer.splitlines())


def measure_queries(kind, place, sizes, repetitions=15):
    """A Markdown table: milliseconds of `dirty` with 100 changes, by the number of known files."""
    rows = []
    for files in sizes:
        say(f"dirty with {CHANGED} changes among {files} files")
        with Arena(kind, place, ["passthroughfs"], one_source=True,
                   prepare=lambda source, n=files: fill(source, n)) as arena:
            mount = arena.mounts[0]
            program = [os.environ["PASSTHROUGHFS"]]

            def ask(*arguments, run=program):
                return subprocess.run([*run, *arguments], check=True, capture_output=True,
                                      text=True).stdout

            ask("checkpoint", mount.dir)
            begun = time.monotonic()
            while not json.loads(ask("stats", mount.dir, "--json"))["source_known"]:
                time.sleep(0.1)
            known = time.monotonic() - begun
            took, alone, start = [], [], []
            for turn in range(2 * repetitions):
                token = ask("checkpoint", mount.dir).strip()
                for i in range(CHANGED):
                    number = (i * 7919 + turn) % files
                    path = os.path.join(mount.dir, f"d{number // PER_DIRECTORY}", f"f{number}")
                    with open(path, "a") as file:
                        file.write("x")
                # The first answer about something is the one that counts.
                if turn % 2 == 0:
                    told, ms = timed(lambda since=token: ask("dirty", mount.dir, "--since", since))
                    told = len(told.splitlines())
                    took.append(ms)
                else:
                    told, ms = timed(lambda since=token: question(mount.dir, since))
                    alone.append(ms)
                start.append(timed(lambda: ask("--help"))[1])
                if told != CHANGED:
                    raise SystemExit(f"bench: {told} changes told")
            cells = [f"{statistics.median(ms):.1f} ({min(ms):.1f})" for ms in (took, start, alone)]
            rows.append(f"| {files:,} | {' | '.join(cells)} | {known:.1f} |")
    return "\n".join([
        f"### `dirty` with {CHANGED} changes, on {kind}", "",
        "The whole command; what a program takes that only prints its `--help`; and the question "
        "alone, from a program that is running. Milliseconds, median (least).", "",
        "| known files | command | `--help` | question | s until the source was known |",
        "|---:|---:|---:|---:|---:|", *rows]) + "\n"
