#!/usr/bin/env bash
# benches/capture.sh [rounds, default 5] [seconds a run, default 3] [variants, default all]: what watching a table costs its
# writers. Starts a private Postgres with durable commits, and in each round runs each load against each variant
# (benches/capture/tables.sql says which), turn by turn, so that whatever else the machine does hits all of them. Prints medians
# over the rounds:
#   speed       writes per second, as a share of what the unwatched table did in the same round
#   by CPU      the same from the CPU time of the server's sessions: what the share were if nothing waited for the disk
#   per second  transactions   CPU, µs   of the sessions, per transaction   WAL, bytes  per transaction
# Linux only: it reads /proc.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${CAPTURE_BENCH:-} ]]; then
    # Nothing but the variant may differ between runs: no vacuum of the server's own, no checkpoint in between.
    CAPTURE_BENCH=1 POSTGRES_OPTIONS="-c fsync=on -c autovacuum=off -c max_wal_size=16GB -c checkpoint_timeout=1h -c shared_buffers=256MB" \
        exec scripts/with-postgres.sh benches/capture.sh "$@"
fi
rounds=${1:-5} seconds=${2:-3} variants=${3:-plain watched columns bulk draft_row draft notify}

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }
sql -f benches/capture/tables.sql >/dev/null
data=$(sql -c 'show data_directory')
postmaster=$(head -n 1 "$data/postmaster.pid")
ticks=$(getconf CLK_TCK)
work=$(mktemp -d "${TMPDIR:-/tmp}/rowcast-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The server itself reads the file; it may run as another user.
rows=$data/rows.txt
row="select g, g % 1000, 'new', g * 1.25, 'Leave it with the neighbours if nobody is in', now(), now() from generate_series"
sql -c "copy ($row(1, 100000) g) to '$rows'"

# CPU ticks of the sessions that have ended.
ended() { awk '{ print $16 + $17 }' "/proc/$postmaster/stat"; }

# LOAD VARIANT ROUND SCRIPT pgbench-options…
run() {
    local load=$1 variant=$2 round=$3 before lsn out ran
    sed "s/TABLE/$variant/g" "$work/$4.sql" >"$work/run.sql"
    shift 4
    # An empty log for each: small rows would fill up the pages that large ones left, and log each page in full.
    sql -c 'truncate rowcast.event, draft.event'
    lsn=$(sql -c 'checkpoint' -c 'select pg_current_wal_insert_lsn()')
    sleep 0.2 # a session is counted when it has been waited for
    before=$(ended)
    out=$(pgbench -n -M prepared "$@" -f "$work/run.sql" "$DATABASE_URL" 2>&1) || { echo "$out" >&2; return 1; }
    sleep 0.2
    ran=$(awk '/actually processed/ { sub("/.*", "", $6); print $6 }' <<<"$out")
    sql -c "insert into measured select '$load', '$variant', $round, $(awk '/^tps/ { print $3 }' <<<"$out"),
        $(($(ended) - before)) * 1e6 / $ticks / $ran, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$lsn') / $ran"
}

cat >"$work/one.sql" <<'SQL'
\set id random(1, 20000)
\set n random(1, 1000000)
update TABLE set status = 'paid', total = :n * 0.01, updated_at = now() where id = :id
SQL
cat >"$work/many.sql" <<'SQL'
\set id random(1, 19000)
\set n random(1, 1000000)
update TABLE set status = 'paid', total = :n * 0.01, updated_at = now() where id between :id and :id + 999
SQL
echo "copy TABLE from '$rows'" >"$work/copy.sql"

for ((round = 1; round <= rounds; round++)); do
    for variant in $variants; do
        sql -c "truncate $variant" -c "copy $variant from '$rows' where id <= 20000" -c "vacuum $variant"
    done
    for clients in 1 8 32; do
        for variant in $variants; do
            run "$(printf 'one row, %2d clients' "$clients")" "$variant" "$round" one -c "$clients" -j 2 -T "$seconds"
        done
    done
    for variant in $variants; do
        run 'update of 1,000 rows' "$variant" "$round" many -T "$seconds"
    done
    for variant in $variants; do
        sql -c "truncate $variant"
        run 'copy of 100,000 rows' "$variant" "$round" copy -t 1
    done
    echo "round $round of $rounds" >&2
done
psql -X -d "$DATABASE_URL" -f benches/capture/report.sql
