#!/bin/sh
# NUT 2.8.0: where upsmon on the primary forces a shutdown, it is not notified of FSD itself: its NOTIFYCMD is run for ONBATT,
# LOWBATT and, after the secondaries have gone, SHUTDOWN. A secondary's NOTIFYCMD is run for FSD. So a command that is tied to
# FSD, as upsmon.conf lists it for every upsmon, is run on all servers but the one with the UPS's cable.
#
# Needs Debian 12 (amd64), apt-get, dpkg, util-linux and root (for an own /run of each upsmon); installs nothing, unpacks the
# pinned packages into a folder that is removed. The UPS is NUT's own dummy-ups.
# Exits with 0 while the behaviour is as described, 1 when it has changed.
set -eu
work=$(mktemp -d)
chmod 755 "$work"
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get -q -o APT::Sandbox::User=root download nut-server=2.8.0-7 nut-client=2.8.0-7 libupsclient6=2.8.0-7 >/dev/null
# What those need and a small Debian does not have.
apt-get -q -o APT::Sandbox::User=root download libnss3 libnspr4 libltdl7 libwrap0 >/dev/null
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu"
nut=$work/root/lib/nut
port=34931

mkdir ups primary secondary
printf 'maxretry = 1\n[rack]\ndriver = dummy-ups\nport = rack.dev\n' >ups/ups.conf
echo 'ups.status: OL' >ups/rack.dev
echo "LISTEN 127.0.0.1 $port" >ups/upsd.conf
printf '[primary]\npassword = x\nupsmon primary\n[secondary]\npassword = x\nupsmon secondary\n' >ups/upsd.users
for role in primary secondary; do
    printf '#!/bin/sh\necho "%s notified of $NOTIFYTYPE" >>%s/said\n' $role "$work" >$role/notify
    chmod 755 $role/notify
    cat >$role/upsmon.conf <<X
RUN_AS_USER root
MONITOR rack@127.0.0.1:$port 1 $role x $role
SHUTDOWNCMD "echo $role shuts down >>$work/said"
NOTIFYCMD $work/$role/notify
NOTIFYFLAG ONBATT EXEC
NOTIFYFLAG LOWBATT EXEC
NOTIFYFLAG FSD EXEC
NOTIFYFLAG SHUTDOWN EXEC
POLLFREQ 1
POLLFREQALERT 1
HOSTSYNC 15
FINALDELAY 1
POWERDOWNFLAG $work/$role/killpower
X
done
chmod 640 ups/* ./*/upsmon.conf
export NUT_STATEPATH="$work/ups" NUT_ALTPIDPATH="$work/ups" NUT_CONFPATH="$work/ups"
"$nut/upsmon" -V 2>&1 | head -n 1
(cd ups && exec "$nut/dummy-ups" -a rack -u root -D >"$work/driver.log" 2>&1) & pids="$pids $!"
sleep 1
"$nut/upsd" -u root -D >upsd.log 2>&1 & pids="$pids $!"
sleep 1
for role in primary secondary; do
    NUT_CONFPATH="$work/$role" unshare -m sh -c "mount -t tmpfs none /run && mkdir /run/nut && exec '$nut/upsmon' -D" \
        >$role/log 2>&1 & pids="$pids $!"
done
waited=0
until [ "$(grep -c 'logged into UPS' upsd.log)" = 2 ]; do
    sleep 1; waited=$((waited + 1)); [ $waited -lt 30 ] || { cat upsd.log; exit 2; }
done
sleep 2
echo 'ups.status: OB LB' >ups/rack.dev
waited=0
until grep -q 'primary shuts down' said 2>/dev/null; do
    sleep 1; waited=$((waited + 1)); [ $waited -lt 60 ] || { cat ./*.log; exit 2; }
done
cat said
grep -q 'secondary notified of FSD' said && ! grep -q 'primary notified of FSD' said || {
    echo "CHANGED: the primary is notified of FSD too, or the secondary is not"
    exit 1
}
echo "as described"
