#!/usr/bin/env bash
# Regenerates what is generated and committed: .sqlx (the queries' types, so that a build needs no database) and
# openapi/openapi.yaml. CI runs it and requires that nothing changes.
set -euo pipefail
cd "$(dirname "$0")/.."

# sqlx's macros describe each query in Postgres when the crate is compiled, and write what they learn.
fresh=$PWD/target/sqlx-data
rm -rf "$fresh"
mkdir -p "$fresh"
touch src/lib.rs # compile it even if it is up to date
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh scripts/with-postgres.sh cargo check --quiet --lib
rm -rf .sqlx
if compgen -G "$fresh/*.json" >/dev/null; then
    mkdir .sqlx
    mv "$fresh"/*.json .sqlx/
fi
rm -rf "$fresh"
touch src/lib.rs # what was compiled knows the database that is gone

mkdir -p openapi
SQLX_OFFLINE=true cargo run --quiet -- openapi >openapi/openapi.yaml.new
mv openapi/openapi.yaml.new openapi/openapi.yaml
