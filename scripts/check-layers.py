#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the shape of the tree; see ARCHITECTURE.md for the layers.

Fails when
  - an include, or a library in a layer's CMakeLists.txt, points up or sideways,
  - a source or a *_test.cc is not built (only with --compile-commands FILE, which the test gives),
  - a source has a non-ASCII character or no licence line.
Warns about files over 600 lines.
"""
import argparse
import json
import os
import re
import sys
import tempfile

# Bottom up: what each folder of src/ may include besides itself.
BELOW = {"base": set()}
BELOW["wire"] = {"base"}
BELOW["channel"] = {"wire", "base"}
BELOW["source"] = {"wire", "base"}  # source and channel do not know each other
BELOW["table"] = {"source", "channel"} | BELOW["source"]
BELOW["changes"] = {"table"} | BELOW["table"]
BELOW["ops"] = {"changes"} | BELOW["changes"]
BELOW["session"] = {"ops"} | BELOW["ops"]
BELOW["proto"] = {"base"}
BELOW["control"] = {"session", "proto"} | BELOW["session"]
BELOW["client"] = {"proto", "base"}
BELOW["guard"] = {"control"} | BELOW["control"]
BELOW["embed"] = {"guard", "client"} | BELOW["guard"]
BELOW["cli"] = {"embed"} | BELOW["embed"] | {"client"}

MAX_LINES = 600
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
LINKED = re.compile(r"\bpfs_([a-z_]+)\b")
NOT_LAYERS = {"layer", "program", "test", "fuzzer", "compile_options", "test_support"}
LICENCE = "// SPDX-License-Identifier: Apache-2.0"


def files_below(root, *suffixes):
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for name in sorted(names):
            if name.endswith(suffixes):
                yield os.path.join(folder, name)


def check(root, compile_commands=None):
    """Returns (errors, warnings), each a list of 'path:line: text'.

    compile_commands: the build's compile_commands.json, if the sources are to be looked for in it.
    """
    errors, warnings = [], []

    def relative(path):
        return os.path.relpath(path, root)

    def lines_of(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def check_edge(path, number, layer, target, what):
        if target not in BELOW:
            errors.append(f"{relative(path)}:{number}: {what}: '{target}' is no folder of src/")
        elif target != layer and target not in BELOW[layer]:
            errors.append(f"{relative(path)}:{number}: {what}: {layer} may not use {target}")

    src = os.path.join(root, "src")
    for path in files_below(src, ".cc", ".h"):
        parts = os.path.relpath(path, src).split(os.sep)
        layer = parts[0]
        if layer not in BELOW:
            errors.append(f"{relative(path)}:1: '{layer}' has no place in the order of layers")
            continue
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            if match[1].startswith("passthroughfs/"):
                continue  # public headers are above every layer and include none
            if "/" not in match[1]:
                errors.append(f"{relative(path)}:{number}: include paths start at src/: {match[1]}")
            else:
                check_edge(path, number, layer, match[1].split("/")[0], f"includes {match[1]}")

    for layer in BELOW:
        path = os.path.join(src, layer, "CMakeLists.txt")
        if not os.path.exists(path):
            continue
        for number, line in enumerate(lines_of(path), 1):
            for target in LINKED.findall(line.split("#")[0]):
                if target not in NOT_LAYERS:
                    check_edge(path, number, layer, target, "links")

    for path in files_below(os.path.join(root, "include"), ".h"):
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            if match and not match[1].startswith("passthroughfs/"):
                errors.append(f"{relative(path)}:{number}: a public header includes {match[1]}")

    # Every source is built: what the build knows is the truth, however the lists are written.
    if compile_commands:
        with open(compile_commands, encoding="utf-8") as file:
            built = {os.path.normpath(os.path.join(entry["directory"], entry["file"]))
                     for entry in json.load(file)}
        wanted = list(files_below(src, ".cc"))
        wanted += files_below(os.path.join(root, "tests"), "_test.cc")
        for path in wanted:
            if path not in built:
                errors.append(f"{relative(path)}:1: in no CMakeLists.txt, so it is never built")

    for folder in ("src", "include", "tests", "fuzz", "bench"):
        for path in files_below(os.path.join(root, folder), ".cc", ".h"):
            lines = lines_of(path)
            if not lines or lines[0] != LICENCE:
                errors.append(f"{relative(path)}:1: the first line is not '{LICENCE}'")
            if len(lines) > MAX_LINES:
                warnings.append(f"{relative(path)}:{len(lines)}: more than {MAX_LINES} lines")
            if folder not in ("src", "include"):
                continue
            for number, line in enumerate(lines, 1):
                for character in line:
                    if ord(character) > 126 or (ord(character) < 32 and character != "\t"):
                        errors.append(f"{relative(path)}:{number}: character U+{ord(character):04X}")
    return errors, warnings


def self_test():
    """A tree with one mistake of each kind: each must be found, and nothing else."""
    ok = LICENCE + "\n"
    tree = {
        "src/base/fd.cc": ok + '#include "base/fd.h"\n',
        "src/base/fd.h": ok + '#include "wire/abi.h"\n',
        "src/base/forgotten.cc": ok,
        "src/wire/abi.h": ok + '// caf\u00e9\n#include "abi2.h"\n',
        "src/wire/CMakeLists.txt": "pfs_layer(wire DEPS pfs_base pfs_ops)",
        "src/source/tree.h": '#include "channel/mount.h"\n',
        "src/cli/mount.h": ok + '#include "client/client.h"\n#include "proto/framing.h"\n',
        "src/util/misc.h": ok,
        "include/passthroughfs/client.h": ok + '#include "base/fd.h"\n',
        "tests/unit/base/fd_test.cc": ok,
        "tests/unit/base/errno_test.cc": ok,
        "tests/mount/long_test.cc": ok * (MAX_LINES + 1),
    }
    expected = {
        "src/base/fd.h:2: includes wire/abi.h: base may not use wire",
        "src/base/forgotten.cc:1: in no CMakeLists.txt, so it is never built",
        "src/wire/abi.h:2: character U+00E9",
        "src/wire/abi.h:3: include paths start at src/: abi2.h",
        "src/wire/CMakeLists.txt:1: links: wire may not use ops",
        "src/source/tree.h:1: includes channel/mount.h: source may not use channel",
        f"src/source/tree.h:1: the first line is not '{LICENCE}'",
        "src/util/misc.h:1: 'util' has no place in the order of layers",
        "include/passthroughfs/client.h:2: a public header includes base/fd.h",
        "tests/unit/base/errno_test.cc:1: in no CMakeLists.txt, so it is never built",
    }
    with tempfile.TemporaryDirectory() as root:
        for name, text in tree.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        built = ("src/base/fd.cc", "tests/unit/base/fd_test.cc", "tests/mount/long_test.cc")
        commands = os.path.join(root, "compile_commands.json")
        with open(commands, "w", encoding="utf-8") as file:
            json.dump([{"directory": root, "file": name} for name in built], file)
        errors, warnings = check(root, commands)
    for text in sorted(expected - set(errors)):
        print("not found:", text)
    for text in sorted(set(errors) - expected):
        print("wrongly found:", text)
    return set(errors) == expected and len(errors) == len(expected) and len(warnings) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check the checker")
    parser.add_argument("--compile-commands", metavar="FILE", help="check that all sources are built")
    parser.add_argument("root", nargs="?", help="the tree (default: this one)")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 0 if self_test() else 1
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    errors, warnings = check(os.path.abspath(arguments.root or here), arguments.compile_commands)
    for text in warnings:
        print("warning:", text)
    for text in errors:
        print(text)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
