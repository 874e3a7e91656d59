#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The example prints what is changed through its mount.
set -euo pipefail
observer=$1
work=$(mktemp -d)
pid=
clean_up() {
  [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
  umount -l "$work/mnt" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT

# wait_for LINE: until the example has printed it.
wait_for() {
  local try
  for ((try = 0; try < 300; ++try)); do
    grep -qxF "$1" "$work/out" && return
    sleep 0.05
  done
  echo "it did not print '$1', but:" >&2
  cat "$work/out" >&2
  exit 1
}

mkdir "$work/source" "$work/mnt"
echo old >"$work/source/old"
"$observer" "$work/source" "$work/mnt" >"$work/out" 2>&1 &
pid=$!
wait_for mounted
echo new >"$work/mnt/new"
wait_for "created new"
echo more >>"$work/mnt/old"
wait_for "written old"
mv "$work/mnt/old" "$work/mnt/elsewhere"
wait_for "renamed elsewhere"
rm "$work/mnt/new"
wait_for "deleted new"
umount "$work/mnt"
wait "$pid"
pid=
