#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What systemd says about the unit: verify_unit.sh UNIT PROGRAM. 77: it cannot be asked.
set -eu
command -v systemd-analyze >/dev/null || {
  echo "skipped: no systemd-analyze (package systemd)"
  exit 77
}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
# The program where it is now, not where it will be installed.
sed "s,[^ =-]*/passthroughfs \\(u*mount\\) ,$2 \\1 ," "$1" >"$directory/passthroughfs@.service"
grep -q "^ExecStart=$2 mount " "$directory/passthroughfs@.service"
said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no --recursive-errors=no \
  "$directory/passthroughfs@mnt-data.service" 2>&1) || { echo "$said"; exit 1; }
case $said in
  *passthroughfs@*) echo "$said"; exit 1 ;;  # a warning is as good as an error
esac
