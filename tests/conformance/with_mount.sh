#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command beside a fresh mount and takes everything away again, whatever happens.
#   with_mount.sh PROGRAM BASE OPTIONS COMMAND...
# BASE: a directory on the file system to use, or "tmpfs-noatime" for one of its own (needs root).
# OPTIONS: mount options, "-" for none. The command finds these in its environment:
#   MNT  the mount      SOURCE  the directory behind it      NATIVE  another one on the same file system
#   WORK room for files outside of both
# Status: the command's (77: skipped, says why), or 1 when the daemon did not end as it should.
# A command that takes longer than $PFS_TIMEOUT seconds (300) has failed; a mount that hangs is
# aborted.
set -u
program=$1 base=$2 options=$3
shift 3

skip() {  # what a test needs and does not find here; under CI it must be there
  echo "skipped: $1"
  [ "${CI:-}" = true ] && exit 1
  exit 77
}
[ -c /dev/fuse ] || skip "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip "needs root"

case ,$options, in
  *,transport=uring,*)
    parameter=/sys/module/fuse/parameters/enable_uring
    grep -qs Y $parameter || { echo Y > $parameter; } 2>/dev/null
    grep -qs Y $parameter || skip "FUSE over io_uring is not enabled ($parameter)" ;;
esac

own_tmpfs=
if [ "$base" = tmpfs-noatime ]; then
  base=$(mktemp -d /tmp/pfs-tmpfs-XXXXXX)
  mount -t tmpfs -o noatime,mode=755 pfs-test "$base" || { rmdir "$base"; skip "cannot mount tmpfs"; }
  own_tmpfs=$base
fi
work=$(mktemp -d "$base/pfs-conformance-XXXXXX")
chmod 755 "$work"
export MNT=$work/mnt SOURCE=$work/source NATIVE=$work/native WORK=$work/work
mkdir -m 755 "$MNT" "$SOURCE" "$NATIVE" "$WORK"
pid=

# The number of the connection; asking the mount itself could hang.
connection() { awk -v at="$MNT" '$5 == at {split($3, dev, ":"); print dev[2]}' /proc/self/mountinfo; }
mounted() { [ -n "$(connection)" ]; }
ended() { ! kill -0 "$pid" 2>/dev/null; }
wait_until() {  # seconds, command...
  local rounds=$(($1 * 20))
  shift
  while ! "$@"; do
    [ $((rounds--)) -gt 0 ] || return 1
    sleep 0.05
  done
}

finish() {
  local status=$? daemon=0
  trap - EXIT
  if [ -n "$pid" ]; then
    if mounted && ! timeout 10 umount "$MNT"; then
      echo "the mount was still in use, or hangs"
      daemon=1
      umount -l "$MNT"
    fi
    if ! wait_until 10 ended; then
      echo "the daemon did not end"
      daemon=1
      local number
      number=$(connection)
      [ -n "$number" ] && echo 1 > "/sys/fs/fuse/connections/$number/abort"
      kill -KILL "$pid" 2>/dev/null
    fi
    if ! wait "$pid"; then
      echo "the daemon ended with an error"
      daemon=1
    fi
    if [ $daemon != 0 ] || { [ $status != 0 ] && [ $status != 77 ]; }; then
      echo "--- the daemon's log:"
      tail -n 40 "$work/log"
    fi
  fi
  chattr -R -ia "$SOURCE" "$NATIVE" 2>/dev/null  # what an interrupted difftest may leave
  rm -rf --one-file-system "$work"
  [ -n "$own_tmpfs" ] && umount "$own_tmpfs" && rmdir "$own_tmpfs"
  [ $status = 0 ] && status=$daemon
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

[ "$options" = - ] && options=
# Its journal goes with the rest.
XDG_STATE_HOME=$work/state "$program" "$SOURCE" "$MNT" -f -o "allow_other${options:+,$options}" 2> "$work/log" &
pid=$!
started() { mounted || ended; }
wait_until 20 started
mounted || { echo "it does not mount"; exit 1; }

cd / || exit 1
timeout --foreground -k 10 "${PFS_TIMEOUT:-300}" "$@"
