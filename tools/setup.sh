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
# A lock names every file by its hash; where there is none for this Python and platform, pip chooses the versions.
pip() { "$venv/bin/pip" install -q --disable-pip-version-check "$@"; }
lock_of() { "$venv/bin/python" tools/lock.py --path "$1"; }
echo "installing into $venv (once)"
lock=$(lock_of "$extra")
if [ -n "$lock" ]; then
    echo "  by hash, as $lock says"
    pip --require-hashes -r "$lock"
    # What builds the project stands in the lock too, so nothing more is fetched.
    pip --no-deps --no-build-isolation -e .
else
    pip -e ".[$extra]"
fi
[ "$extra" = dev ] || exit 0
# What `make emulator` compiled belongs to the version that was installed before.
rm -f "$venv"/lib/python*/site-packages/rp2040py/native/*.cpython-*.so
# The MicroPython stubs replace the standard library's types, so they stay out of the environment.
rm -rf build/typings
lock=$(lock_of typings)
if [ -n "$lock" ]; then
    pip --target build/typings --require-hashes -r "$lock"
else
    pip --target build/typings -r tools/typings.txt
fi
