#!/bin/sh
# Run the host's unit tests and the contract on each Python of VERSIONS that is here: `make test-pythons`.
#
#   pythons.sh FOLDER "3.11 3.12 ..." [PYTEST ARGUMENTS]
#   pythons.sh --find 3.12          prints its path, nothing if there is none
#
# A version is pythonX.Y in the path, one of pyenv's, or one that uv has or fetches; one that is nowhere is skipped with its
# reason. Each gets an environment of its own below FOLDER, by ranges where no lock fits. Exits with 1 if a test failed.
set -eu
cd "$(dirname "$0")/.."
# Print the path of a Python of version $1 that runs; nothing if there is none.
found() {
    for one in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python3; do
        if path=$(command -v "$one") && "$path" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$path"
            return
        fi
    done
    command -v uv >/dev/null && uv python find "$1" 2>/dev/null || true
}

if [ "$1" = --find ]; then
    found "$2"
    exit
fi
folder=$1
versions=$2
shift 2
failed=
ran=
for version in $versions; do
    python=$(found "$version")
    if [ -z "$python" ]; then
        echo "python $version: skipped: not in the path, not in pyenv, and uv has none"
        continue
    fi
    venv="$folder/$version"
    mark="$venv/.ready"
    if [ ! -e "$mark" ] || [ pyproject.toml -nt "$mark" ]; then
        echo "python $version: installing into $venv"
        [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev]'
        touch "$mark"
    fi
    echo "python $version: $("$venv/bin/python" --version)"
    if "$venv/bin/python" -W error::SyntaxWarning -m pytest -q "$@"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done
echo "right on:${ran:- none}${failed:+; failed on:$failed}"
[ -z "$failed" ] && [ -n "$ran" ]
