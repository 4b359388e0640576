#!/usr/bin/env bash
# usage: run.sh <source dir> <build dir>
# Installs the build into a scratch prefix, builds tests/install/consumer (and consumer_apple) and examples/embed, in C++ and in
# C, with nothing but that prefix to find wick in, and runs them on a small model. They are copied first, so that
# they cannot reach the source tree.
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

from_cache() { sed -n "s/^$1:[A-Z]*=//p" "$build_dir/CMakeCache.txt"; }
sanitize=$(from_cache WICK_SANITIZE)
build_consumer() { # <folder of the source tree>
  local name=${1##*/}
  cp -R "$source_dir/$1" "$scratch/$name"
  cmake -S "$scratch/$name" -B "$scratch/build/$name" -G Ninja \
    -DCMAKE_CXX_COMPILER="$(from_cache CMAKE_CXX_COMPILER)" \
    -DCMAKE_BUILD_TYPE="$(from_cache CMAKE_BUILD_TYPE)" \
    -DCMAKE_CXX_FLAGS="${sanitize:+-fsanitize=$sanitize}" \
    -DCMAKE_PREFIX_PATH="$scratch/prefix" \
    -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
  cmake --build "$scratch/build/$name"
}
build_consumer tests/install/consumer
build_consumer examples/embed
# The bindings of Metal are there where their needs were met.
if grep -qF libwick_apple.a "$scratch/install.log"; then
  build_consumer tests/install/consumer_apple
  "$scratch/build/consumer_apple/consumer_apple"
fi

# What the installed package tells its users may not name where it was built.
if grep -rlF -e "$source_dir" -e "$build_dir" \
  "$scratch"/build/*/compile_commands.json "$scratch/prefix" --include='*.json' --include='*.cmake' \
  --include='*.pc' --include='*.h' --include='*.hpp'; then
  echo "these files of the package name the source or build folder" >&2
  exit 1
fi

# Runs a program that trains for ten steps, and sees the loss fall.
trains() { # <command>...
  "$@" | tee "$scratch/said"
  awk '$1 == "step" { if ($2 == 1) first = $4; last = $4; steps = $2 }
    END { if (steps != 10 || !(last < 0.95 * first)) { print "the loss did not fall"; exit 1 } }' \
    "$scratch/said"
}
model=$scratch/model
mkdir "$model"
"$scratch/build/consumer/consumer" "$model"
cp "$source_dir/examples/lexicon/base/tokenizer.json" "$model"
trains "$scratch/build/embed/embed" "$model"
trains "$scratch/build/embed/embed_c" "$model" "$scratch/adapter"
test -s "$scratch/adapter/adapter_model.safetensors"

# What fails says why, and tells it by the exit code.
for failing in "embed $scratch/absent" "embed_c $scratch/absent $scratch/adapter"; do
  # shellcheck disable=SC2086
  if "$scratch"/build/embed/$failing 2>"$scratch/said" || ! grep -qF "$scratch/absent" "$scratch/said"; then
    echo "$failing: not refused, or not by name" >&2
    exit 1
  fi
done
