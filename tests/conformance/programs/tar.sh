#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Archives made from the mount, unpacked on it, and compared with it.
. "$(dirname "$0")/lib.sh"
need tar python3
make_tree "$NATIVE/tree"
attributes=(--xattrs --xattrs-include='*' --acls --numeric-owner --sparse)
tar -C "$NATIVE" "${attributes[@]}" -cf "$WORK/native.tar" tree
tar -C "$MNT" "${attributes[@]}" -xpf "$WORK/native.tar"
expect_same_tree "$NATIVE/tree" "$MNT/tree"
tar -C "$MNT" "${attributes[@]}" --compare -f "$WORK/native.tar"
tar -C "$MNT" "${attributes[@]}" -cf "$MNT/mount.tar" tree
mkdir "$NATIVE/out"
tar -C "$NATIVE/out" "${attributes[@]}" -xpf "$MNT/mount.tar"
expect_same_tree "$NATIVE/tree" "$NATIVE/out/tree"
# Over files that are there already, and while the directory is listed.
# (Natively, too, tar then leaves a file without its setid bits.)
tar -C "$NATIVE" "${attributes[@]}" --overwrite -xpf "$WORK/native.tar"
tar -C "$MNT" "${attributes[@]}" --overwrite -xpf "$MNT/mount.tar"
expect_same_tree "$NATIVE/tree" "$MNT/tree"
