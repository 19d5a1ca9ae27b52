#!/bin/sh
# Build the Debian packages of this tree, for this release of Debian and this machine, into FOLDER: `make deb`.
#
#   deb.sh FOLDER PYTHON        PYTHON: one with hatchling, which makes the source archive
#
# They are built from the source archive, so nothing of the tree but what is shipped can get in.
set -eu
cd "$(dirname "$0")/.."
folder=$1
python=$2
for tool in dpkg-buildpackage dh; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; run: apt-get install debhelper python3-pip" >&2; exit 1; }
done
rm -rf "$folder"
mkdir -p "$folder/source"
"$python" -m hatchling build -t sdist -d "$folder" > /dev/null 2>&1
tar -xzf "$folder"/heartwire-*.tar.gz -C "$folder/source" --strip-components=1
version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
# One release's packages follow those of the release before, whose Python they need.
release=$(. /etc/os-release && echo "${VERSION_ID:-0}")
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-unstable}")
when=$(git log -1 --format=%cD 2> /dev/null || date -R)
printf 'heartwire (%s+deb%s) %s; urgency=medium\n\n  * Built from the source: CHANGELOG.md.\n\n -- %s  %s\n' \
    "$version" "$release" "$codename" "$(sed -n 's/^Maintainer: //p' debian/control)" "$when" > "$folder/source/debian/changelog"
cd "$folder/source"
dpkg-buildpackage -us -uc -b > ../build.log 2>&1 || { tail -30 ../build.log >&2; exit 1; }
cd - > /dev/null
rm -rf "$folder/source"
ls "$folder"/*.deb
