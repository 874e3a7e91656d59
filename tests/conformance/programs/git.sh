#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same history made on the mount and natively: clean, whole, and with the same hashes.
. "$(dirname "$0")/lib.sh"
need git
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.com GIT_AUTHOR_DATE="2020-01-01T00:00:00Z"
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.com GIT_COMMITTER_DATE="2020-01-01T00:00:00Z"

expect_clean() { expect_empty "git status in $1" "$(git -C "$1" status --porcelain)"; }

history() {
  mkdir "$1/work"
  cd "$1/work"
  git init -q -b main
  for i in $(seq 200); do
    mkdir -p "d$((i % 10))"
    seq "$i" $((i * 20)) > "d$((i % 10))/f$i"
  done
  git add -A && git commit -q -m first
  expect_clean .
  git checkout -q -b side
  for i in $(seq 1 3 200); do echo side >> "d$((i % 10))/f$i"; done
  git mv d3 e3 && ln -s d4/f4 link && chmod +x d5/f5
  git add -A && git commit -q -m side
  git checkout -q main
  for i in $(seq 2 3 200); do [ -f "d$((i % 10))/f$i" ] && sed -i 1d "d$((i % 10))/f$i"; done
  git commit -q -a -m main
  git merge -q -m merge side
  expect_clean .
  git stash -q -u 2> /dev/null || true
  git rebase -q side~1 > /dev/null 2>&1 || git rebase --abort
  git tag -a -m tag v1
  git repack -q -a -d && git gc -q --prune=now
  git fsck --full --strict 2>&1 | grep -v '^dangling' && fail "fsck has something to say"
  git worktree add -q ../tree2 side
  expect_clean ../tree2
  git clone -q . ../clone
  git clone -q --no-hardlinks --bare . ../bare.git
  expect_clean ../clone
  git -C ../clone pull -q
  git -C ../bare.git fsck --full --strict
  git archive v1 | tar -t > ../names
  git log --format=%H%T --all > ../hashes
  cd /
}
history "$NATIVE"
history "$MNT"
diff "$NATIVE/hashes" "$MNT/hashes"
diff "$NATIVE/names" "$MNT/names"
