#!/usr/bin/env bash
# The image where there is no Docker daemon, as in a container that is itself the build machine: by
# buildah, over a base of Debian's own packages. Needs root, buildah and debootstrap.
#
#   deploy/image/build_without_docker.sh [name:tag] [further options of buildah bud]
#
# SUITE names the Debian release (bookworm: Python 3.11), MIRROR where its packages come from. UV_CONFIG
# and PIP_CONFIG are files for an index of one's own; CA_BUNDLE a file of certificates.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=${1:-aiplat:0.1.0}
[ $# -gt 0 ] && shift
suite=${SUITE:-bookworm}
base=localhost/aiplat-base:$suite
ca=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed: apt-get install $tool" >&2; exit 2; }
done

# Neither overlay mounts nor user namespaces are to be had in most containers.
buildah=(buildah --storage-driver vfs)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        "$suite" "$work/root" ${MIRROR:+"$MIRROR"}
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$work/root" /
    "${buildah[@]}" commit --quiet "$container" "$base"
    "${buildah[@]}" rm "$container" >/dev/null
    rm -rf "$work/root"
fi

# This machine's certificates are mounted; left to themselves, both trust their own.
echo "system-certs = true" >"$work/uv.toml"
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$work/pip.conf"
[ -z "${UV_CONFIG:-}" ] || cp "$UV_CONFIG" "$work/uv.toml"
[ -z "${PIP_CONFIG:-}" ] || cp "$PIP_CONFIG" "$work/pip.conf"
# Without a target, older ones build every stage, the notebooks' too: each is a copy of gigabytes.
"${buildah[@]}" bud --isolation chroot --pull-never --format docker --target aiplat \
    --build-arg BASE_IMAGE="$base" \
    --secret id=uv_config,src="$work/uv.toml" --secret id=pip_config,src="$work/pip.conf" \
    --volume "$ca:/etc/ssl/certs/ca-certificates.crt:ro" \
    -f deploy/image/Dockerfile -t "$image" "$@" .

# What it can do, and whether anything is wrong with it here; buildah itself would give it few files to open.
container=$("${buildah[@]}" from --pull-never --ulimit "nofile=$(ulimit -n):$(ulimit -n)" "$image")
trap 'rm -rf "$work"; "${buildah[@]}" rm "$container" >/dev/null' EXIT
"${buildah[@]}" run --isolation chroot "$container" -- python -m aiplat
"${buildah[@]}" run --isolation chroot "$container" -- python -m aiplat.jobs.doctor
