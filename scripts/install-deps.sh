#!/usr/bin/env bash
# Installs what a Debian or Ubuntu machine with Rust lacks to build and test rowcast: a C compiler and make for two
# dependencies (cryptography; on Linux the allocator), the Postgres server binaries, which rowcast starts itself (no
# database service is set up), and, only for tests, Chromium (the pages), Python with venv (an application in Django,
# which the test gets from PyPI) and Node with npm (the examples in JavaScript, with React and Vue from npm), and on Linux
# valgrind (counts instructions). Does nothing where all is there. Runs as root or with sudo.
set -euo pipefail

has_postgres() {
    local dir
    for dir in "${PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        "$(pg_config --bindir 2>/dev/null || true)"; do
        [[ -n $dir && -x $dir/initdb && -x $dir/postgres ]] && echo "$dir" && return
    done
    return 1
}

browser() {
    command -v chromium || command -v chromium-browser || command -v google-chrome-stable || command -v google-chrome
}

has_node() {
    command -v node >/dev/null && command -v npm >/dev/null
}

has_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null
}

has_valgrind() {
    [[ $(uname -s) != Linux ]] || command -v valgrind >/dev/null
}

if dir=$(has_postgres) && command -v cc >/dev/null && command -v make >/dev/null && found=$(browser) && has_venv && has_node && has_valgrind; then
    echo "Nothing to install: Postgres is in $dir, the C compiler is $(command -v cc), make is there, Chromium is $found, Python has venv, Node has npm, valgrind is there."
    exit
fi

if ! command -v apt-get >/dev/null; then
    echo "No apt-get here. Install by hand: a C compiler, make, the Postgres server, Chromium, Python 3 and Node, such as" >&2
    echo "  Fedora: dnf install gcc make postgresql-server chromium python3 nodejs valgrind      macOS: brew install postgresql chromium python node" >&2
    exit 1
fi

as_root=()
if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || { echo "Run this as root: there is no sudo." >&2; exit 1; }
    as_root=(sudo)
fi

install() {
    echo "Installing: $*"
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

echo "Reading the package lists"
${as_root[@]+"${as_root[@]}"} apt-get update -q

command -v cc >/dev/null || install gcc libc6-dev
command -v make >/dev/null || install make
browser >/dev/null || install chromium
has_venv || install python3-venv
has_node || install nodejs npm
has_valgrind || install valgrind

if ! has_postgres >/dev/null; then
    # The server's package would create a cluster and start it at once; this setting, for now, says not to.
    install postgresql-common
    setting=/etc/postgresql-common/createcluster.conf
    kept=$(mktemp)
    if [[ -e $setting ]]; then cp "$setting" "$kept"; fi
    restore() {
        ${as_root[@]+"${as_root[@]}"} cp "$kept" "$setting"
        rm -f "$kept"
    }
    trap restore EXIT
    printf '\ncreate_main_cluster = false\n' | ${as_root[@]+"${as_root[@]}"} tee -a "$setting" >/dev/null
    install postgresql
fi

echo "Done: Postgres is in $(has_postgres), Chromium is $(browser), Python is $(command -v python3)."
