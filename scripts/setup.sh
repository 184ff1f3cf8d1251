#!/bin/sh
# Makes .venv: the pinned packages of requirements/dev.txt, checked against their hashes, then this project itself.
# Needs Python 3.11 or later with its venv module, and nothing else. Run by make when something it depends on changed.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $1" >&2
    exit 1
}

is_new_enough() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or later was found (looked for: ${PYTHON:-python3, python3.11 to python3.14}). Install one, or name it: make PYTHON=/path/to/python3"
}

# A .venv of another Python, or a half-made one, is replaced.
if ! is_new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv"
    echo "setup: making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

echo "setup: installing the packages of requirements/dev.txt into .venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
.venv/bin/python -m pip install --quiet --quiet --require-hashes --requirement requirements/dev.txt
echo "setup: installing tallystick itself, from here"
.venv/bin/python -m pip install --quiet --quiet --no-deps --no-build-isolation --no-index --editable .
touch .venv/ready
echo "setup: done"
