#!/usr/bin/env bash
# Builds the container image with buildah and starts the program in it. Needs neither a container
# engine nor an image registry: the images that the Dockerfile starts from are made of Debian's
# packages and of this machine's Rust toolchain, under the names that the Dockerfile uses.
# Needs root on Debian. Give the build another profile with PROFILE=dev.
set -euo pipefail
cd "$(dirname "$0")/.."

export BUILDAH_ISOLATION=chroot
mapfile -t bases < <(sed -n 's/^FROM \([^ ]*\).*/docker.io\/library\/\1/p' Dockerfile)
rust=${bases[0]} debian=${bases[1]}

if ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah debootstrap
fi

work=$(mktemp -d)
container=
finish() {
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    rm -rf "$work"
}
trap finish EXIT

if ! buildah inspect --type image "$debian" >/dev/null 2>&1; then
    echo "making $debian"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" >"$work/log" ||
        { cat "$work/log"; exit 1; }
    # The certificate authorities that this machine trusts beside Debian's.
    cp -r /usr/local/share/ca-certificates "$work/debian/usr/local/share/"
    chroot "$work/debian" update-ca-certificates >/dev/null
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$work/debian" /
    buildah config --cmd bash "$container"
    buildah commit --quiet --rm "$container" "$debian"
    container=
fi

if ! buildah inspect --type image "$rust" >/dev/null 2>&1; then
    echo "making $rust"
    container=$(buildah from --pull-never "$debian")
    buildah run "$container" -- sh -c \
        'apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev'
    buildah copy --quiet "$container" "$(rustc --print sysroot)" /usr/local/rust
    buildah config --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env CARGO_HOME=/usr/local/cargo "$container"
    buildah commit --quiet --rm "$container" "$rust"
    container=
fi

buildah build --pull-never --build-arg "PROFILE=${PROFILE:-release}" --tag orders:check .
container=$(buildah from --pull-never orders:check)
buildah run "$container" -- orders --version
echo "the image builds and its program starts"
