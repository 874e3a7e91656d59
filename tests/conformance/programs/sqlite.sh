#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Concurrent writers and a reader on one database, in both journal modes; nothing lost, nothing torn.
. "$(dirname "$0")/lib.sh"
need python3
cat > "$WORK/writers.py" <<'PY'
import os, sqlite3, sys
path, mode = sys.argv[1:]
WRITERS, ROUNDS = 4, 60
db = sqlite3.connect(path)
got = db.execute("PRAGMA journal_mode=" + mode).fetchone()[0]
assert got == mode, "journal mode is " + got
db.execute("CREATE TABLE t (writer INTEGER, round INTEGER, body TEXT)")
db.execute("CREATE TABLE total (n INTEGER)")
db.execute("INSERT INTO total VALUES (0)")
db.commit()
db.close()

def write(number):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA synchronous=NORMAL")
    for round in range(ROUNDS):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES (?, ?, ?)", (number, round, "x" * (round * 37)))
        db.execute("UPDATE total SET n = n + 1")
        db.execute("COMMIT")

def read():
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    last = -1
    while last < WRITERS * ROUNDS:
        db.execute("BEGIN")
        rows = db.execute("SELECT count(*) FROM t").fetchone()[0]
        total = db.execute("SELECT n FROM total").fetchone()[0]
        db.execute("COMMIT")
        assert rows == total, "a reader sees %d rows and a total of %d" % (rows, total)
        assert rows >= last, "a reader sees the past"
        last = rows

children = []
for job in [lambda n=n: write(n) for n in range(WRITERS)] + [read]:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            job()
            status = 0
        finally:
            os._exit(status)
    children.append(pid)
failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
db = sqlite3.connect(path)
assert failed == 0, "%d processes failed" % failed
assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
assert db.execute("SELECT count(*), count(DISTINCT writer * 1000 + round) FROM t").fetchone() == (240, 240)
PY
for mode in wal delete; do
  timeout 120 python3 "$WORK/writers.py" "$MNT/$mode.db" "$mode" || fail "journal mode $mode"
done
# What the mount was told is what the source has.
python3 - "$SOURCE/wal.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
assert db.execute("SELECT n FROM total").fetchone()[0] == 240
PY
