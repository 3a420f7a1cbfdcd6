#!/usr/bin/env bash
# Installs the library into an empty prefix and builds and runs a program against it.
#   link_test.sh BUILD_FOLDER [SANITIZERS]
set -euo pipefail
build=$1
if [[ -n ${2:-} ]]; then
  echo "SKIPPED link_test.sh: the stranger's program is not built with the sanitizers $2"
  exit 77
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log"
cmake -S "$here/link" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" >"$scratch/configure.log" || {
  cat "$scratch/configure.log"
  exit 1
}
cmake --build "$scratch/build" >"$scratch/build.log" || {
  cat "$scratch/build.log"
  exit 1
}
output=$("$scratch/build/uses_rag" "$scratch/db")
echo "$output"
[[ $output == "note: The key of the cellar"* ]]
"$scratch/prefix/bin/rag" --version
