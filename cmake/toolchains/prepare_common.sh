# shellcheck shell=bash disable=SC2154
# What the prepare.sh of the toolchains share. Those set $system, its name, and $tools, the folder to fill.

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$system: $*"
  exit 1
}

# private_apt <apt program> <arguments>: with lists and a cache in $tools/apt, of where this machine takes Debian's
# packages from.
private_apt() {
  local program=$1
  shift
  "$program" -q -o Dir::Etc::sourcelist="$tools/apt/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$tools/apt/lists" -o Dir::Cache="$tools/apt/cache" -o APT::Sandbox::User=root "$@"
}

# update_private_lists <deb or deb-src> <option of apt>...
update_private_lists() {
  mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial"
  apt-get indextargets --format "$1 \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' 'Origin: Debian' |
    sort -u >"$tools/apt/sources.list"
  [ -s "$tools/apt/sources.list" ] || die "apt has no list of Debian's packages: run apt-get update"
  private_apt apt-get update "${@:2}" >"$tools/apt/log" 2>&1 || {
    cat "$tools/apt/log" >&2
    die "apt could not read the lists of Debian's packages"
  }
}

# wrapper <name>: writes standard input to bin/<name>. One that says the same keeps its time, by which ccache knows it.
wrapper() {
  local new=$tools/bin/.new
  mkdir -p "$tools/bin"
  cat >"$new"
  chmod +x "$new"
  if cmp -s "$new" "$tools/bin/$1"; then rm "$new"; else mv "$new" "$tools/bin/$1"; fi
}
