#!/usr/bin/env bash
# Generates .sqlx, which the checked queries need to compile without a database. With --check it only
# compares the result with the committed files. It works like the command line tool of sqlx: it
# compiles against a scratch database with all migrations, and SQLX_OFFLINE_DIR says where the macros
# write.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/servers.sh
. scripts/servers.sh

if ! bin=$(postgres_bin) || ! psql=$(command -v psql || ls "${bin:-}/psql" 2>/dev/null); then
    echo "PostgreSQL 15 or newer with psql is needed: apt-get install postgresql" >&2
    exit 1
fi

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
    else
        "$@"
    fi
}
user=$(id -un)
scratch=$(mktemp -d /tmp/orders-sqlx.XXXXXX)
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id postgres >/dev/null 2>&1 || user=nobody
    chown "$user" "$scratch"
fi
server=
roots=()
finish() {
    for root in "${roots[@]}"; do
        touch -r "$scratch/times/${root//\//_}" "$root" 2>/dev/null || true
    done
    if [ -n "$server" ]; then
        kill -INT "$(head -n 1 "$scratch/data/postmaster.pid")" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT

cd_root=$PWD
cd /
as_postgres "$bin/initdb" --no-sync --no-instructions --encoding=UTF8 --locale=C --auth=trust \
    --username=orders --pgdata="$scratch/data" >"$scratch/initdb.log"
as_postgres "$bin/postgres" -D "$scratch/data" -k "$scratch" -c listen_addresses= -c fsync=off \
    -p 5432 >"$scratch/log" 2>&1 &
server=$!
cd "$cd_root"
export PGOPTIONS='-c client_min_messages=warning'
url="postgres:///postgres?host=$scratch&port=5432&user=orders&sslmode=disable"
until "$psql" -qXc 'select 1' "$url" >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || { cat "$scratch/log" >&2; exit 1; }
    sleep 0.05
done
for migration in migrations/*.sql; do
    "$psql" -qX -v ON_ERROR_STOP=1 --single-transaction -f "$migration" "$url"
done

# The macros write their files when they are compiled, so every target must be compiled again. This
# touches the root files of the targets, and gives them their old times back at the end: then other
# builds need not compile again.
written=$PWD/target/sqlx
rm -rf "$written"
mkdir -p "$written" "$scratch/times"
roots=(src/lib.rs src/main.rs tests/it/main.rs)
while read -r bench; do roots+=("$bench"); done < <(find benches -name '*.rs' 2>/dev/null)
for root in "${roots[@]}"; do
    touch -r "$root" "$scratch/times/${root//\//_}"
    touch "$root"
done
DATABASE_URL=$url SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$written \
    cargo check --quiet --locked --all-targets

if [ "${1:-}" = --check ]; then
    if ! diff -r .sqlx "$written"; then
        echo ".sqlx is not what the queries need: run 'make sqlx' and commit it" >&2
        exit 1
    fi
    echo ".sqlx is up to date"
else
    rm -rf .sqlx
    mv "$written" .sqlx
    echo "wrote .sqlx: $(find .sqlx -name '*.json' | wc -l) queries"
fi
