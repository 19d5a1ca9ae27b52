#!/bin/sh
# ser2net 4.3.11 with pyserial 3.5: over `telnet(rfc2217)` a device without control lines (a pty, say) cannot be opened by
# pyserial's rfc2217:// at all. ser2net never answers SET-CONTROL for it, and pyserial waits three seconds for that answer and
# gives up: "timeout while waiting for option 'control'". With pyserial's `?ign_set_control` it opens at once.
#
# Needs Debian 12 (amd64), apt-get, dpkg and a Python 3 with venv; installs nothing, unpacks the pinned packages into a folder
# that is removed.
# Exits with 0 while the behaviour is as described, 1 when it has changed.
set -eu
work=$(mktemp -d)
chmod 755 "$work"
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get -q -o APT::Sandbox::User=root download ser2net=4.3.11-1 libgensio4=2.6.2-4 >/dev/null
# What it needs and a small Debian does not have.
apt-get -q -o APT::Sandbox::User=root download libwrap0 libyaml-0-2 libsctp1 libavahi-client3 libavahi-common3 libdbus-1-3 >/dev/null
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check pyserial==3.5
port=34932

cat >device.py <<'X'
import os, pty, time, tty
master, slave = pty.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
time.sleep(600)
X
python3 device.py >device & pids="$pids $!"
until [ -s device ]; do sleep 1; done
cat >ser2net.yaml <<X
%YAML 1.1
---
connection: &line
  accepter: telnet(rfc2217),127.0.0.1,$port
  connector: serialdev,$(cat device),115200n81,local
X
"$work/root/usr/sbin/ser2net" -v
"$work/root/usr/sbin/ser2net" -n -d -u -c ser2net.yaml >ser2net.log 2>&1 & pids="$pids $!"
sleep 2
cat >open.py <<'X'
import sys, time, serial
begun = time.monotonic()
try:
    serial.serial_for_url(sys.argv[1], baudrate=115200, timeout=1).close()
    said = "opened"
except serial.SerialException as error:
    said = str(error)
print(f"{said} ({time.monotonic() - begun:.1f} s)")
X
echo "pyserial $(python/bin/python -c 'import serial; print(serial.__version__)')"
python/bin/python open.py "rfc2217://127.0.0.1:$port" | tee plain
sleep 1
python/bin/python open.py "rfc2217://127.0.0.1:$port?ign_set_control" | tee ignoring
grep -q "timeout while waiting for option 'control'" plain && grep -q '^opened' ignoring || {
    echo "CHANGED: the plain URL opens, or the other one does not"
    cat ser2net.log ser2net.yaml
    exit 1
}
echo "as described"
