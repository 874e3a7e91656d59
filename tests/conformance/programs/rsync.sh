#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# To the mount and back, with all attributes; the second time there is nothing to do.
. "$(dirname "$0")/lib.sh"
need rsync python3
make_tree "$NATIVE/tree"
copy() {
  rsync -aXAH --numeric-ids "$1/" "$2/"
  expect_empty "left to do after a copy to $2" \
    "$(rsync -aXAH --numeric-ids --itemize-changes "$1/" "$2/")"
  expect_empty "other content in $2" \
    "$(rsync -aXAH --numeric-ids --checksum --dry-run --itemize-changes "$1/" "$2/")"
  expect_same_tree "$1" "$2"
}
copy "$NATIVE/tree" "$MNT/tree"
copy "$MNT/tree" "$NATIVE/back"
copy "$MNT/tree" "$MNT/beside"
# In place, with deletions, over what is there.
rm -r "$MNT/tree/dir1" "$MNT/tree/dir7"
echo changed >> "$MNT/tree/dir8/sub/file3"
rsync -aXAH --numeric-ids --inplace --delete "$NATIVE/tree/" "$MNT/tree/"
expect_same_tree "$NATIVE/tree" "$MNT/tree"
