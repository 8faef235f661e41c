#!/usr/bin/env bash
# Runs the tests that need no torch under every other supported Python of this machine, with the light dependencies
# alone. A Python counts when it starts and makes an environment; of the others it says SKIPPED and why.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN="${BIN:-.venv/bin}"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
TESTS=(tests/catalogue tests/data tests/export tests/metrics tests/reports tests/storage)
for file in tests/test_*.py; do
    case $file in
        */test_structure.py | */test_vocabulary.py | */test_container.py | */test_makefile.py) ;; # no Python changes what these look at
        *) TESTS+=("$file") ;;
    esac
done
LEFT_OUT='torch|lightning-fabric|tensorboard|safetensors|efficientnet'
OWN=$("$BIN/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# the first Python of a version that starts and makes an environment
find_python() {
    local python
    for python in $(type -ap "python$1" || true) "$HOME"/.pyenv/versions/"$1".*/bin/python; do
        if "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null \
            && "$python" -m venv --without-pip "$WORK/$1" 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    return 1
}

"$BIN/python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    | grep -vE "^($LEFT_OUT)" > "$WORK/light.txt"
for version in 3.11 3.12 3.13 3.14; do
    [ "$version" != "$OWN" ] || continue
    if ! python=$(find_python "$version"); then
        echo "SKIPPED Python $version: none on this machine starts and makes an environment"
        continue
    fi
    echo "Python $version: $python"
    "$BIN/uv" pip install --quiet --no-build --python "$WORK/$version/bin/python" --constraint constraints.txt \
        --requirement "$WORK/light.txt" pytest pytest-xdist
    PYTHONPATH=src:scripts PYTHONPYCACHEPREFIX="$WORK/$version/cache" OMP_NUM_THREADS=1 "$WORK/$version/bin/python" -m pytest \
        -p without_torch -p no:cacheprovider --numprocesses 2 --dist loadfile \
        -m "not postgres and not slow and not chromium and not shared" "${TESTS[@]}"
done
