# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it, which with_mount.sh runs: each puts a real program to work on the
# mount. MNT, SOURCE, NATIVE and WORK are directories (see there).
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C TZ=UTC HOME=$WORK

need() {
  local name
  for name; do
    command -v "$name" > /dev/null && continue
    echo "skipped: $name is not installed"
    [ "${CI:-}" = true ] && exit 1
    exit 77
  done
}
fail() { echo "FAILED: $*"; exit 1; }
expect_empty() {  # what it is, text
  [ -z "$2" ] || fail "$1:"$'\n'"$2"
}
# A tree with all that a file can be: links, holes, ACLs, xattrs, owners, odd names and times.
make_tree() { python3 "$here/make_tree.py" "$1"; }
# Everything that can be said of a tree, as text.
manifest() { python3 "$here/manifest.py" "$1"; }
expect_same_tree() {
  manifest "$1" > "$WORK/tree1"
  manifest "$2" > "$WORK/tree2"
  diff "$WORK/tree1" "$WORK/tree2" || fail "$1 and $2 differ"
}
