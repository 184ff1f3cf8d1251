#!/bin/sh
# Writes requirements/*.txt anew from pyproject.toml: exact versions and hashes for every platform, no addresses.
# Versions move only as far as pyproject.toml makes them; UPGRADE=1 takes the newest.
set -eu
cd "$(dirname "$0")/.."

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
.venv/bin/python -m venv "$place"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check uv

compile() {
    "$place/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-emit-find-links ${UPGRADE:+--upgrade} --extra demo "$@" pyproject.toml
}
compile --output-file requirements/run.txt
compile --output-file requirements/dev.txt --constraint requirements/run.txt --group dev
