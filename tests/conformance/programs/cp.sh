#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cp with holes and, where the file system has them, shared extents.
. "$(dirname "$0")/lib.sh"
need cp python3
make_tree "$NATIVE/tree"
for sparse in auto always; do
  cp -a --reflink=auto --sparse=$sparse "$NATIVE/tree" "$MNT/$sparse"
  expect_same_tree "$NATIVE/tree" "$MNT/$sparse"
  cp -a --reflink=auto --sparse=$sparse "$MNT/$sparse" "$MNT/$sparse.2"
  expect_same_tree "$NATIVE/tree" "$MNT/$sparse.2"
  cp -a --reflink=auto --sparse=$sparse "$MNT/$sparse.2" "$NATIVE/$sparse"
  expect_same_tree "$NATIVE/tree" "$NATIVE/$sparse"
  sync
  blocks=$(stat -c %b "$MNT/$sparse.2/sparse")
  [ "$blocks" -le 128 ] || fail "the copy of a file with holes takes $blocks blocks"
done
mv "$MNT/auto" "$NATIVE/moved"  # another device: copies and removes
[ ! -e "$MNT/auto" ] || fail "mv left something behind"
expect_same_tree "$NATIVE/tree" "$NATIVE/moved"
