#!/usr/bin/env bash
# constraints.txt: every version that `make env` installs, on Python 3.11 to 3.14 and every system.
#   scripts/constraints.sh            renew: the newest of all, torch alone stays
#   scripts/constraints.sh torch==X   renew, with another torch
#   scripts/constraints.sh --keep     write what pyproject.toml has new, and change no version
#   scripts/constraints.sh --check    do all pins have wheels for the newest Pythons?
# It reads the index and installs nothing. Where a version has no wheel for one Python, the pin gets a marker.
set -euo pipefail
cd "$(dirname "$0")/.."
UV="${BIN:-.venv/bin}/uv"
COMMON=(pyproject.toml --extra dev --no-build --quiet --no-annotate --no-header)

check() {
    for version in 3.13 3.14; do
        "$UV" pip compile "${COMMON[@]}" --constraint constraints.txt --python-version "$version" --output-file /dev/null
        echo "Python $version: all pins resolve to wheels"
    done
}

renew() {
    local new torch=$1 && shift
    new=$(mktemp)
    cp constraints.txt "$new"  # as the versions that --keep prefers
    "$UV" pip compile "${COMMON[@]}" --universal --python-version 3.11 --constraint <(echo "$torch") --output-file "$new" "$@"
    # the libraries of a CUDA build come with that build, and no other build needs them
    grep -vE '^(nvidia|cuda|triton)' "$new" > constraints.txt
    rm "$new"
}

pinned=$(grep -oE '^torch==[^ ]+' constraints.txt)
case "${1:-}" in
    --check) check ;;
    --keep) renew "$pinned" ;;
    "") renew "$pinned" --upgrade ;;
    torch==*) renew "$1" --upgrade ;;
    *) echo "unknown option: $1" >&2; exit 2 ;;
esac
