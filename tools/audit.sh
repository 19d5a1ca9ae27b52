#!/bin/sh
# Make the virtual environment $1 with what `make sbom` and `make audit` run, apart from what they look at.
set -eu
venv=$1
"${PYTHON:-python3}" -m venv --clear "$venv"
lock=$("$venv/bin/python" tools/lock.py --path audit)
if [ -n "$lock" ]; then
    "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$lock"
else
    "$venv/bin/pip" install -q --disable-pip-version-check -r tools/audit.txt
fi
