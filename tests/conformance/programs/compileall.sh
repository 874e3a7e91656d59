#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Python's byte code cache: written by renames, valid by mtime and size of the source.
. "$(dirname "$0")/lib.sh"
need python3
mkdir "$MNT/lib"
cp -rL "$(python3 -c 'import json, os; print(os.path.dirname(json.__file__))')" "$MNT/lib/copy"
rm -rf "$MNT/lib/copy/__pycache__"
python3 -m compileall -q "$MNT/lib"
listing() { find "$MNT/lib" -name '*.pyc' -printf '%p %s %i %T@\n' | sort; }
listing > "$WORK/first"
[ -s "$WORK/first" ] || fail "nothing was compiled"
python3 -m compileall -q "$MNT/lib"
listing > "$WORK/second"
diff "$WORK/first" "$WORK/second" || fail "compiled again although nothing had changed"
PYTHONPATH=$MNT/lib python3 -c 'import copy.decoder' 2> /dev/null ||
  PYTHONPATH=$MNT/lib python3 -c 'import importlib, sys; importlib.import_module("copy")' || fail "import"
