#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What find, du and ls say of the mount is what they say of its source.
. "$(dirname "$0")/lib.sh"
need find du python3
make_tree "$MNT/tree"
both() {
  (cd "$SOURCE/tree" && "$@") > "$WORK/source"
  (cd "$MNT/tree" && "$@") > "$WORK/mnt"
  diff "$WORK/source" "$WORK/mnt" || fail "$*"
}
sync
both find . -printf '%p %y %m %n %U %G %s %b %T@ %C@ %l\n'
both find . -type f -links +1
both find . -samefile script
both find . -empty
both find . -newermt 2001-09-09 -perm /6000
both du -a
both du -ab
both du -s --inodes
both ls -laR --time-style=full-iso
both stat -c '%n %B %b %o %W' script sparse dir1
expect_same_tree "$SOURCE/tree" "$MNT/tree"
