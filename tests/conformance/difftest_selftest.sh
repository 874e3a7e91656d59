#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proves that difftest finds a mistake, shrinks it, and that what it saved shows the mistake again, and
# nothing without it.
#   difftest_selftest.sh DIFFTEST FAULT
set -u
difftest=$1 fault=$2
work=$(mktemp -d /tmp/pfs-selftest-XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/left" "$work/right"
sides=(--left "$work/left" --right "$work/right")
[ "$(id -u)" = 0 ] && sides+=(--users)
fail() { echo "FAILED: $1"; exit 1; }

if [ "$fault" = none ]; then
  "$difftest" "${sides[@]}" --seed 1 --steps 20000 || fail "two native directories differ"
  exit 0
fi
"$difftest" "${sides[@]}" --seed 7 --steps 20000 --inject-fault "$fault" --save "$work/ops" \
  --shrink-seconds 30
[ $? = 1 ] || fail "the mistake was not found"
calls=$(grep -vc '^#' "$work/ops")
[ "$calls" -le 30 ] || fail "$calls calls are not a short sequence"
"$difftest" "${sides[@]}" --ops-file "$work/ops" --inject-fault "$fault" --shrink no
[ $? = 1 ] || fail "the saved sequence does not show the mistake again"
"$difftest" "${sides[@]}" --ops-file "$work/ops" || fail "the saved sequence fails without it, too"
