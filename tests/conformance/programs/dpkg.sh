#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Packs a package from the mount and unpacks it on the mount.
. "$(dirname "$0")/lib.sh"
need dpkg-deb python3
package=$MNT/package
mkdir -p "$package/DEBIAN" "$package/usr/lib/sample"
printf 'Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: x\n' \
  > "$package/DEBIAN/control"
for i in $(seq 300); do seq "$i" > "$package/usr/lib/sample/f$i"; done
ln "$package/usr/lib/sample/f1" "$package/usr/lib/sample/hard"
ln -s f2 "$package/usr/lib/sample/soft"
chmod 4755 "$package/usr/lib/sample/f3"
find "$package" -exec touch -h -d 2020-01-01 {} +
dpkg-deb --root-owner-group -b "$package" "$MNT/sample.deb" > /dev/null
dpkg-deb -I "$MNT/sample.deb" > /dev/null
dpkg-deb -x "$MNT/sample.deb" "$MNT/out"
dpkg-deb -x "$MNT/sample.deb" "$NATIVE/out"
expect_same_tree "$NATIVE/out" "$MNT/out"
expect_same_tree "$package/usr" "$MNT/out/usr"
