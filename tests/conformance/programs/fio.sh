#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Random writes whose content is verified:  fio.sh ENGINE DIRECT
. "$(dirname "$0")/lib.sh"
need fio
engine=$1 direct=$2
common=(--directory="$MNT" --ioengine="$engine" --direct="$direct" --group_reporting --minimal
  --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_backlog=256 --randseed=1)
run() {
  fio "${common[@]}" "$@" > "$WORK/fio.log" 2>&1 ||
    { tail -n 20 "$WORK/fio.log"; fail "fio $engine direct=$direct: $*"; }
}
if [ "$engine" = io_uring ] && ! fio --name=probe --directory="$WORK" --size=4k --ioengine=io_uring \
    > /dev/null 2>&1; then
  echo "skipped: this machine has no io_uring"
  exit 77
fi
run --name=small --rw=randwrite --bsrange=512-16k --blockalign=512 --size=8m --iodepth=8 --numjobs=2
run --name=mixed --rw=randrw --bs=4k --size=8m --iodepth=16 --numjobs=2
run --name=large --rw=write --bs=1m --size=32m --iodepth=4
[ "$direct" = 1 ] || run --name=odd --rw=randwrite --bsrange=100-9000 --bs_unaligned --size=4m --iodepth=4
