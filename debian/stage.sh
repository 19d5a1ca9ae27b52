#!/bin/sh
# Lay what the packages hold below debian/PACKAGE: called by debian/rules, in the root of the source.
set -eu
root=$PWD
home=usr/lib/heartwire
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$PYTHON" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
packages=$home/lib/python$version/site-packages
tools=$root/debian/build/tools
server=$root/debian/heartwire
monitor=$root/debian/heartwire-monitor

# lock_of NAME: the lock of versions and hashes for this Python and machine.
lock_of() {
    found=$("$PYTHON" tools/lock.py --path "$1")
    [ -n "$found" ] || { echo "debian/stage.sh: tools/lock has no $1 for this Python and machine: make lock" >&2; exit 1; }
    grep -v '^#' "$found" | LC_ALL=C sort
}
# bring FOLDER ROWS: install wheels by their hashes.
bring() {
    "$PYTHON" -m pip install -q --disable-pip-version-check --no-deps --no-compile --only-binary :all: --require-hashes \
        --target "$1" -r "$2"
    rm -rf "$1/bin" "$1/share"
}

mkdir -p debian/build
lock_of flash > debian/build/flash
lock_of deb > debian/build/deb
# What both have runs on each server; what only `flash` has builds the project; what only `deb` has is the monitor's.
# psycopg takes Debian's libpq instead of a copy that nobody mends.
comm -12 debian/build/flash debian/build/deb > debian/build/server
comm -13 debian/build/flash debian/build/deb | grep -v '^psycopg-binary==' > debian/build/monitor
bring "$tools" debian/build/flash
bring "$server/$packages" debian/build/server
bring "$monitor/$packages" debian/build/monitor
PYTHONPATH=$tools "$PYTHON" -m pip install -q --disable-pip-version-check --no-deps --no-compile --no-build-isolation \
    --target "$server/$packages" .
for page in "$server/$packages"/share/man/man*/*; do
    case ${page##*/} in
        heartwire-monitor.*) into=$monitor ;;
        *) into=$server ;;
    esac
    install -D -m 644 "$page" "$into/usr/share/man/$(basename "$(dirname "$page")")/${page##*/}"
done
rm -rf "$server/$packages/bin" "$server/$packages/share" "$server/$packages"/heartwire-*.dist-info/direct_url.json
# What heartwire.extras reads.
echo dpkg > "$(echo "$server/$packages"/heartwire-*.dist-info)/INSTALLER"

# An environment of Debian's own Python that sees these packages and no others.
mkdir -p "$server/$home/bin"
ln -s /usr/bin/python3 "$server/$home/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$version" > "$server/$home/pyvenv.cfg"
# launcher PATH MODULE: a program that runs MODULE's main(), and takes nothing from whoever calls it.
launcher() {
    mkdir -p "$(dirname "$1")"
    printf '#!/%s/bin/python3 -I\nimport sys\n\nfrom %s import main\n\nsys.exit(main())\n' "$home" "$2" > "$1"
    chmod 755 "$1"
}
launcher "$server/usr/bin/heartwire" heartwire.cli.main
launcher "$server/usr/sbin/fence_heartwire" heartwire.fence.main
for package in heartwire heartwire-monitor; do
    echo "python3:Depends=python3 (>= $version~), python3 (<< $next~)" >> "debian/$package.substvars"
done

# Units and users as `heartwire agent install` and `heartwire monitor install` write them, for this program.
heartwire() { PYTHONPATH=$server/$packages:$monitor/$packages "$PYTHON" -B -m heartwire "$@"; }
units=$root/debian/build/units
heartwire agent install --root "$units" --program /usr/bin/heartwire > /dev/null
heartwire monitor install --root "$units" --program /usr/bin/heartwire > /dev/null
for unit in "$units"/etc/systemd/system/*; do
    case ${unit##*/} in
        heartwire-monitor.*) name=heartwire-monitor.${unit##*/} ;;
        heartwire-selftest@.*) name=heartwire-monitor@.heartwire-selftest.${unit##*.} ;;
        *) name=heartwire.${unit##*/} ;;
    esac
    cp "$unit" "debian/$name"
done
cp "$units/usr/lib/sysusers.d/heartwire.conf" debian/heartwire-monitor.heartwire.sysusers
# Hooks begin as they are shipped, and are the server's from then on.
mkdir -p "$server/etc/heartwire"
cp -r "$units/etc/heartwire/hooks" "$server/etc/heartwire/hooks"
share=$root/host/heartwire/share
install -D -m 644 "$share/70-heartwire.rules" "$server/lib/udev/rules.d/70-heartwire.rules"

completion() {
    mkdir -p "$(dirname "$server/$2")"
    heartwire completion "$1" > "$server/$2"
}
completion bash usr/share/bash-completion/completions/heartwire
completion zsh usr/share/zsh/vendor-completions/_heartwire
completion fish usr/share/fish/vendor_completions.d/heartwire.fish

# examples PACKAGE FILE...
examples() {
    into=$root/debian/$1/usr/share/doc/$1/examples
    mkdir -p "$into"
    shift
    (cd "$share" && cp -r "$@" "$into")
}
examples heartwire agent.example.toml heartwire.example.toml cluster kdump ups
examples heartwire-monitor monitor.example.toml heartwire-alerts.yml heartwire-dashboard.json heartwire-icinga2.conf
