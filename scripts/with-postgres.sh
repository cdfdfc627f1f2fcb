#!/usr/bin/env bash
# scripts/with-postgres.sh COMMAND …: runs the command with DATABASE_URL naming a fresh private Postgres that has the
# migrations, and removes it afterwards. For what must run before rowcast itself can be built. POSTGRES_OPTIONS: more of them.
set -euo pipefail
cd "$(dirname "$0")/.."

find_bin() {
    local dir
    # The highest version of those that a distribution keeps side by side.
    for dir in "${PG_BIN:-}" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) /usr/pgsql-*/bin \
        /usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        "$(pg_config --bindir 2>/dev/null || true)"; do
        [[ -n $dir && -x $dir/initdb ]] && echo "$dir" && return
    done
    echo "No Postgres server binaries: run scripts/install-deps.sh" >&2
    return 1
}

bin=$(find_bin)
dir=$(mktemp -d "${TMPDIR:-/tmp}/rowcast.XXXXXX")
as=()
if [[ $(id -u) = 0 ]]; then
    user=postgres
    id -u $user >/dev/null 2>&1 || user=nobody
    chown "$user" "$dir"
    as=(setpriv "--reuid=$(id -u $user)" "--regid=$(id -g $user)" --clear-groups)
fi

end() {
    ${as[@]+"${as[@]}"} "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap end EXIT

server() { (cd "$dir" && env LC_ALL=C ${as[@]+"${as[@]}"} "$@") }
server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null
server "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
    -o "-c listen_addresses= -c fsync=off -k $dir -p 5432 ${POSTGRES_OPTIONS:-}" start >/dev/null || { cat "$dir/log" >&2; exit 1; }

export DATABASE_URL="postgres:///postgres?host=$dir&port=5432&user=postgres"
for file in migrations/*.sql migrations/reference/*.sql; do
    [[ -e $file ]] || continue
    PGOPTIONS="-c client_min_messages=warning" "$bin/psql" -X -q -v ON_ERROR_STOP=1 --single-transaction -d "$DATABASE_URL" -f "$file" >/dev/null
done
"$@"
