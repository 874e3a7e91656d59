#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compares a mount with a native directory by random calls. Run by with_mount.sh.
#   difftest.sh DIFFTEST STEPS SEED... [-- OPTION...]
# A seed of "random" is drawn and printed, except under CI: there a failure has to mean that the change
# under test is to blame. "in-place" goes with the next seed and uses the root of the mount itself.
# Seeds behind "long" are only for $PFS_LONG.
set -u
difftest=$1 steps=$2
shift 2
seeds=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  seeds+=("$1")
  shift
done
[ $# -gt 0 ] && shift
in_place=()
for seed in "${seeds[@]}"; do
  if [ "$seed" = long ]; then
    [ -n "${PFS_LONG:-}" ] && continue
    break
  fi
  if [ "$seed" = in-place ]; then
    in_place=(--in-place)
    continue
  fi
  chosen=(--seed "$seed")
  if [ "$seed" = random ]; then
    [ "${CI:-}" = true ] && continue
    chosen=()
  fi
  "$difftest" --left "$NATIVE" --right "$MNT" --users --steps "$steps" "${chosen[@]}" \
    "${in_place[@]}" "$@" || exit
  in_place=()
done
