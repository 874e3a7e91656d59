#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that man/ documents every subcommand and option that the program's --help shows.

usage: check-man-options.py PROGRAM MAN_DIRECTORY     (77: there is no program or no man page to check)

A subcommand's options belong to its own page passthroughfs-SUB.1, or to passthroughfs.1 when it has
none. An option is documented as --name, or as a bold name (mount options: .B name, \\fBname\\fR).
"""
import glob
import os
import re
import subprocess
import sys

SUBCOMMANDS = ("mount", "umount", "handles", "stats", "top", "checkpoint", "dirty", "watch",
               "fsmonitor", "upgrade", "doctor")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9_-]*|-[A-Za-z0-9])(?![\w-])")


def help_of(program, *arguments):
    run = subprocess.run([program, *arguments, "--help"], capture_output=True, text=True,
                         timeout=60, stdin=subprocess.DEVNULL, check=False)
    return run.stdout if run.returncode == 0 else None


def options_in(text):
    """The options that a help text defines: those that start a line, with their aliases."""
    found = set()
    for line in text.splitlines():
        if not line.lstrip().startswith("-"):
            continue
        # The definition ends where the description's column begins.
        definition = re.split(r"\s{2,}", line.strip())[0]
        found.update(OPTION.findall(definition))
    return found


def documents(page, option):
    if re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", page):
        return True
    name = re.escape(option.lstrip("-"))
    return option.startswith("--") and re.search(
        rf"^\.(?:B|BR|BI|TP)\s+\"?{name}(?![\w-])|\\fB{name}(?![\w-])", page, re.MULTILINE) is not None


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, man = sys.argv[1:]
    if not os.access(program, os.X_OK):
        print(f"skipped: {program} is not built")
        return 77
    pages = {}
    for path in glob.glob(os.path.join(man, "passthroughfs*.[18]")):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        # mdoc(7) leaves the first dash of an option to its macro: .It Fl h , Fl -help
        pages[os.path.basename(path)[:-2]] = re.sub(r"\bFl (?=[-A-Za-z0-9])", "-", text)
    if not pages:
        print(f"skipped: no page in {man}")
        return 77

    general = help_of(program)
    if general is None:
        print("passthroughfs --help fails")
        return 1
    errors = []

    def check(command, text):
        page = pages.get(command.replace(" ", "-"), pages.get("passthroughfs", ""))
        if command == "passthroughfs":  # may show the mount options too
            page += pages.get("passthroughfs-mount", "")
        errors.extend(f"{command}: {option} is in --help and not in the man page"
                      for option in sorted(options_in(text)) if not documents(page, option))

    check("passthroughfs", general)
    checked = 0
    for sub in SUBCOMMANDS:
        if not re.search(rf"(?<![\w-]){sub}(?![\w-])", general):
            continue  # a later version's
        text = help_of(program, sub)
        if text is None:
            errors.append(f"passthroughfs {sub} --help fails")
            continue
        checked += 1
        check(f"passthroughfs {sub}", text)
        if not any(re.search(rf"(?<![\w]){sub}(?![\w])", page) for page in pages.values()):
            errors.append(f"passthroughfs {sub}: no man page mentions it")
    if checked == 0:
        errors.append("passthroughfs --help names no subcommand")
    for text in errors:
        print(text)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
