#!/usr/bin/env bash
# prepare.sh <folder>: fills <folder> with what building for AArch64 on another machine takes and is not there yet.
#
#   root/              Debian for arm64, of which only libraries and their headers: what is linked to and run with
#   bin/emulate        runs a program for it
#   bin/kernel-clang++ the compiler of software Metal's kernels for it
#
# Nothing of it is installed. What is there is not looked for again: a second run needs no network. `apt-get update` has
# been run before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
tools=$(cd "$1" && pwd)
system=aarch64
# shellcheck source=cmake/toolchains/prepare_common.sh
source "$here/../prepare_common.sh"

libraries=(
  libc6-dev libstdc++-12-dev libobjc-12-dev libdnnl-dev libfmt-dev libhwy-dev libgtest-dev libpcre2-dev libutf8proc-dev
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
)

# fetch_packages: the archives of the libraries and of all that they need, as on a machine that has nothing yet.
fetch_packages() {
  local arm64=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status="$work/status")
  : >"$work/status"
  update_private_lists deb "${arm64[@]}"
  private_apt apt-get clean
  private_apt apt-get install "${arm64[@]}" --yes --no-install-recommends --download-only "${libraries[@]}" \
    >"$tools/apt/log" 2>&1 </dev/null || {
    cat "$tools/apt/log" >&2
    die "apt could not fetch the libraries for arm64: ${libraries[*]}"
  }
}

# A link to /lib would lead out of the folder.
keep_links_inside() { # <folder>
  local link
  find "$1" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    ln -sfnr "$1$(readlink "$link")" "$link"
  done
}

make_root() {
  local archive
  [ "$(cat "$tools/root/libraries" 2>/dev/null)" = "${libraries[*]}" ] && return
  say "fetching Debian's libraries for arm64"
  fetch_packages
  mkdir "$work/root"
  for archive in "$tools"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$archive" "$work/root"
  done
  keep_links_inside "$work/root"
  echo "${libraries[*]}" >"$work/root/libraries"
  rm -rf "$tools/root"
  mv "$work/root" "$tools/root"
  private_apt apt-get clean
}

# One that runs beside this one waits.
exec 9>"$tools/lock"
flock 9
work=$tools/work
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
make_root
# As a processor that is sold, rather than QEMU's own with all that Arm has ever described. A test that starts itself
# again does so by the name that it was called by.
wrapper emulate <<EOF
#!/bin/sh
[ -n "\${WICK_EMULATED:-}" ] || { export WICK_EMULATED="\$1" && shift; }
exec qemu-aarch64-static -cpu neoverse-n1 -L '$tools/root' -0 "\$0" "\$WICK_EMULATED" "\$@"
EOF
# clang++-19 is for every processor; the linker is of the cross compiler.
wrapper kernel-clang++ <<EOF
#!/bin/sh
exec clang++-19 --target=aarch64-linux-gnu --sysroot='$tools/root' --ld-path=aarch64-linux-gnu-ld "\$@"
EOF
