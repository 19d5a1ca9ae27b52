#!/bin/sh
# Make the virtual environment $1 with the extra $2 (default dev: everything for development). Run by `make setup` and
# `make flash`; safe to run again.
#
# On a bare Debian, python3 comes without venv and pip: they are installed if this may be done, and named if not.
set -eu
venv=$1
extra=${2:-dev}
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "heartwire needs Python 3.11 or newer as $python; set PYTHON=..." >&2
    exit 1
fi
if [ ! -x "$venv/bin/pip" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv python3-pip
        else
            echo "python's venv module is missing; run: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    "$python" -m venv "$venv"
fi
echo "installing into $venv (once)"
"$venv/bin/pip" install -q --disable-pip-version-check -e ".[$extra]"
[ "$extra" = dev ] || exit 0
# What `make emulator` compiled belongs to the version that was installed before.
rm -f "$venv"/lib/python*/site-packages/rp2040py/native/*.cpython-*.so
# The MicroPython stubs replace the standard library's types, so they stay out of the environment.
rm -rf build/typings
"$venv/bin/pip" install -q --disable-pip-version-check --target build/typings -r tools/typings.txt
