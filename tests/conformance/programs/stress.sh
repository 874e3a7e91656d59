#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One of stress-ng's file system stressors, checking what it does:  stress.sh STRESSOR
# Counts as a failure only if the same stressor is content natively. For 1 s; with $PFS_LONG, 10 s.
. "$(dirname "$0")/lib.sh"
need stress-ng
stressor=$1
stress-ng --stressors 2> /dev/null | tr ' ' '\n' | grep -qx "$stressor" ||
  { echo "skipped: this stress-ng has no '$stressor'"; exit 77; }
seconds=${PFS_LONG:+10}
run() {
  timeout 60 stress-ng --"$stressor" 2 --verify --timeout "${seconds:-1}" --temp-path "$1" \
    --hdd-bytes 16m --fallocate-bytes 16m --iomix-bytes 16m --mmap-bytes 8m --seek-size 4m \
    --sync-file-bytes 8m --copy-file-bytes 128m --dentries 512 --filename-opts posix \
    > "$WORK/log" 2>&1
}
set +e
run "$MNT"
status=$?
[ $status = 0 ] && exit 0
cp "$WORK/log" "$WORK/log.mount"
run "$NATIVE"
native=$?
[ $native = 1 ] && { cat "$WORK/log"; fail "stress-ng does not take these options"; }
if [ $native != 0 ]; then
  echo "skipped: $stressor fails natively too (status $native, on the mount $status)"
  exit 77
fi
tail -n 30 "$WORK/log.mount"
fail "$stressor fails on the mount only (status $status)"
