#!/usr/bin/env bash
# usage: run.sh <source dir> <build dir>
# Installs the build into a scratch prefix, builds tests/install/consumer with nothing but that prefix
# to find wick in, and runs it. The consumer is copied first, so that it cannot reach the source tree.
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: $0 <source dir> <build dir>" >&2
  exit 2
fi
source_dir=$(cd "$1" && pwd)
build_dir=$(cd "$2" && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# An inherited hint must not lead the consumer to anything but the prefix.
unset wick_DIR wick_ROOT CMAKE_PREFIX_PATH CPATH CPLUS_INCLUDE_PATH LIBRARY_PATH

cmake --install "$build_dir" --prefix "$scratch/prefix" >"$scratch/install.log" || {
  cat "$scratch/install.log"
  exit 1
}
cp -R "$source_dir/tests/install/consumer" "$scratch/consumer"

from_cache() { sed -n "s/^$1:[A-Z]*=//p" "$build_dir/CMakeCache.txt"; }
sanitize=$(from_cache WICK_SANITIZE)
cmake -S "$scratch/consumer" -B "$scratch/build" -G Ninja \
  -DCMAKE_CXX_COMPILER="$(from_cache CMAKE_CXX_COMPILER)" \
  -DCMAKE_BUILD_TYPE="$(from_cache CMAKE_BUILD_TYPE)" \
  -DCMAKE_CXX_FLAGS="${sanitize:+-fsanitize=$sanitize}" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF \
  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
cmake --build "$scratch/build"

# What the installed package tells its users may not name where it was built.
if grep -rlF -e "$source_dir" -e "$build_dir" \
  "$scratch/build/compile_commands.json" "$scratch/prefix" --include='*.json' --include='*.cmake' \
  --include='*.pc' --include='*.hpp'; then
  echo "these files of the package name the source or build folder" >&2
  exit 1
fi

"$scratch/build/consumer"
