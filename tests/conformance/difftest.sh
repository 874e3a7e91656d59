#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares a mount with a native directory by random calls (see difftest/main.cc).
#   difftest.sh PROGRAM DIFFTEST DIRECTORY OPTIONS STEPS SEED...
# DIRECTORY says which file system; a seed of "random" is drawn and printed. Exit status 1: they differ.
set -u
program=$1 difftest=$2 base=$3 options=$4 steps=$5
shift 5

if [ "$(id -u)" != 0 ]; then
  [ -n "${CI:-}" ] && { echo "needs root"; exit 1; }
  echo "skipped: needs root"; exit 77
fi
work=$(mktemp -d "$base/pfs-difftest-XXXXXX")
pid=
finish() {
  umount "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null
  [ -n "$pid" ] && wait "$pid"
  rm -rf --one-file-system "$work"
}
trap finish EXIT
mkdir "$work/source" "$work/mnt" "$work/native"
"$program" "$work/source" "$work/mnt" -f -o "allow_other,$options" 2>"$work/log" &
pid=$!
for _ in $(seq 200); do  # until it is mounted, ten seconds at most
  mountpoint -q "$work/mnt" && break
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.05
done
mountpoint -q "$work/mnt" || { echo "not mounted:"; cat "$work/log"; exit 1; }

status=0
for seed in "$@"; do
  [ "$seed" = random ] && seed=$((RANDOM * 32768 + RANDOM)) && echo "random seed: $seed"
  "$difftest" --left "$work/native" --right "$work/mnt" --users --seed "$seed" --steps "$steps" \
    --shrink-seconds 20 || { status=1; break; }
done
exit $status
