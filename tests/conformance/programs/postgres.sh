#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A PostgreSQL cluster on the mount, owned and run by a user of its own: made, filled, at work, its
# postmaster killed in the middle, recovered, and all that was committed is there.
. "$(dirname "$0")/lib.sh"
bin=$(dirname "$(command -v initdb || echo /none/x)")
for dir in /usr/lib/postgresql/*/bin; do
  [ -x "$dir/initdb" ] && bin=$dir
done
# Not among the packages that the tests install: it would start a cluster on the machine.
[ -x "$bin/initdb" ] || { echo "skipped: initdb (postgresql) is not installed"; exit 77; }
[ -x "$bin/pgbench" ] || { echo "skipped: pgbench is not installed"; exit 77; }
user=postgres
id -u $user > /dev/null 2>&1 || { echo "skipped: there is no user $user"; exit 77; }
need setpriv

data=$MNT/data run=$WORK/pg
mkdir -m 700 "$data" "$run"
chown $user: "$data" "$run"
as() { HOME=$run setpriv --reuid=$user --regid=$user --init-groups --inh-caps=-all "$@"; }
sql() { as "$bin/psql" -h "$run" -d postgres -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
postmaster() { head -1 "$data/postmaster.pid" 2> /dev/null; }
stop() {
  local pid
  pid=$(postmaster) && [ -n "$pid" ] && kill -QUIT "$pid" 2> /dev/null
  # Its files are on the mount, which must not be busy afterwards.
  for ((i = 0; i < 200; i++)); do
    pgrep -u $user -f "$bin/postgres -D $data" > /dev/null || return 0
    sleep 0.05
  done
}
trap stop EXIT
# As a child of this shell, which sees to it that nothing is left of it when it is killed: a new
# postmaster takes a zombie for one that runs.
server=
start() {
  as "$bin/postgres" -D "$data" -k "$run" -c listen_addresses= -c shared_buffers=16MB \
    -c max_connections=20 >> "$run/log" 2>&1 &
  server=$!
  for ((i = 0; i < 600; i++)); do
    as "$bin/pg_isready" -q -h "$run" && return
    kill -0 $server 2> /dev/null || break
    sleep 0.05
  done
  fail "the server does not start: $(tail -20 "$run/log")"
}

as "$bin/initdb" -D "$data" -A trust -E UTF8 --locale=C > "$run/initdb.log" 2>&1 ||
  fail "initdb: $(cat "$run/initdb.log")"
[ "$(stat -c %U "$SOURCE/data/PG_VERSION")" = $user ] || fail "the files are not the user's"
as "$bin/pg_checksums" -D "$data" --enable > /dev/null || fail "pg_checksums --enable"
start
as "$bin/pgbench" -h "$run" -i -s 2 -q postgres > "$run/init.log" 2>&1 || fail "pgbench -i: $(cat "$run/init.log")"
as "$bin/pgbench" -h "$run" -c 4 -j 2 -t 100 postgres > "$run/bench.log" 2>&1 || fail "pgbench: $(cat "$run/bench.log")"
[ "$(sql 'select count(*) from pgbench_history')" = 400 ] || fail "not every transaction is there"

# Killed while clients commit (-n: without emptying the history first): each one that was told of its commit finds it afterwards.
as "$bin/pgbench" -h "$run" -n -c 4 -j 2 -T 30 postgres > "$run/killed.log" 2>&1 &
bench=$!
for ((i = 0; i < 200; i++)); do
  [ "$(sql 'select count(*) from pgbench_history')" -gt 600 ] && break
  sleep 0.05
done
committed=$(sql 'select count(*) from pgbench_history')
sql 'create table last (n int); insert into last values (42)'
kill -9 "$(postmaster)"
wait $server || true
wait $bench || true  # its connections are gone
for ((i = 0; i < 200; i++)); do
  pgrep -u $user -f "postgres: .*pgbench|$bin/postgres -D $data" > /dev/null || break
  sleep 0.05
done
start
grep -q "not properly shut down\|was interrupted" "$run/log" || fail "there was nothing to recover: $(tail -20 "$run/log")"
[ "$(sql 'select n from last')" = 42 ] || fail "the last commit before the kill is lost"
[ "$(sql 'select count(*) from pgbench_history')" -ge "$committed" ] || fail "committed transactions are lost"
# What TPC-B keeps equal, whatever happens.
sums=$(sql 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
  and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)
  and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)')
[ "$sums" = t ] || fail "the balances do not agree"
as "$bin/pg_amcheck" -h "$run" postgres --install-missing > "$run/amcheck.log" 2>&1 ||
  grep -q "could not open extension\|is not available" "$run/amcheck.log" ||
  fail "pg_amcheck: $(cat "$run/amcheck.log")"
as "$bin/pg_ctl" -D "$data" -w -s -m fast stop || fail "the server does not stop"
# What the mount was told is what the source has.
as "$bin/pg_checksums" -D "$SOURCE/data" --check > "$run/checksums.log" 2>&1 || fail "checksums: $(cat "$run/checksums.log")"
echo "recovered $committed transactions and more"
