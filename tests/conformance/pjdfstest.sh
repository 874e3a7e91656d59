#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs an installed pjdfstest natively and on the mount; every test that passes natively has to pass on
# the mount.
#   pjdfstest.sh [NATIVE_DIR MOUNT_DIR PJDFSTEST]
# By default the directories of with_mount.sh, and $PJDFSTEST: the directory of a built pjdfstest (with
# tests/ and the program in it). Without that it is skipped.
set -u
native=${1:-${NATIVE:-}} mount=${2:-${MNT:-}} suite=${3:-${PJDFSTEST:-}}
if [ -z "$suite" ]; then
  echo "skipped: PJDFSTEST does not name a pjdfstest"
  exit 77
fi
[ -d "$suite/tests" ] || { echo "no tests in $suite"; exit 1; }
command -v prove > /dev/null || { echo "skipped: prove (perl) is not installed"; exit 77; }
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
chmod 755 "$results"  # tests become other users, who run the suite's program

# What the suite expects depends on the kind of file system: of a mount, the kind of its source.
cp -r "$suite" "$results/suite"
suite=$results/suite
echo "fs=$(df -PT "$native" | awk 'END {print toupper($2)}')" >> "$suite/tests/conf"

# One line "file/NUMBER ok|not ok" per check, without the texts, which name temporary files.
run() {  # directory, output
  local test
  cd "$1" || exit 1
  find "$suite/tests" -name '*.t' | sort | while read -r test; do
    timeout 120 sh "$test" 2> /dev/null |
      sed -nE "s|^(not ok\|ok) ([0-9]+).*|${test#"$suite/tests/"}/\2 \1|p"
  done > "$2"
}
run "$native" "$results/native" &
run "$mount" "$results/mount"
wait
echo "native: $(grep -c ' ok$' "$results/native") passed, $(grep -c 'not ok$' "$results/native") failed"
echo "mount:  $(grep -c ' ok$' "$results/mount") passed, $(grep -c 'not ok$' "$results/mount") failed"
[ -s "$results/native" ] || { echo "pjdfstest does not run here"; exit 1; }
worse=$(comm -23 <(grep -v 'not ok$' "$results/native" | sort) \
  <(grep -v 'not ok$' "$results/mount" | sort))
if [ -n "$worse" ]; then
  echo "passed natively, not on the mount:"
  echo "$worse"
  exit 1
fi
