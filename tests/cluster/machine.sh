#!/bin/bash
# The inside of one machine: private /run, /dev/shm, logs and state, the machine's own agents in /usr/sbin, and then
# programs of its role. Started in new mount, process and host name namespaces; nothing outside them is changed.
# Usage: machine.sh fenced|node NAME DIRECTORY, with agents/, resources/ and node.conf in DIRECTORY.
set -eu
role=$1 name=$2 directory=$3
hostname "$name"
mount --make-rprivate /
mkdir -p "$directory"/{log,state,resources,agents}

# Folders of the system, seen through links, with files of the test beside them.
extend() {
    mkdir -p "/run/machine/$2"
    mount --bind "$1" "/run/machine/$2"
    mount -t tmpfs none "$1"
    ln -s "/run/machine/$2"/* "$1/"
    for file in "$3"/*; do [ -e "$file" ] && ln -sfn "$file" "$1/"; done
    return 0
}
mount -t tmpfs none /run
mkdir -p /run/crm /run/lock /run/resource-agents
chown hacluster:haclient /run/crm
mount -t tmpfs none /dev/shm
extend "$(readlink -f /usr/sbin)" sbin "$directory/agents"
[ -d /usr/lib/ocf/resource.d ] && extend /usr/lib/ocf/resource.d ocf "$directory/resources"
mkdir -p "$directory"/state/{cib,pengine,blackbox,cores}
chown -R hacluster:haclient "$directory/state"
chmod 777 "$directory/log"
mkdir -p /var/log/pacemaker
mount --bind "$directory/state" /var/lib/pacemaker
mount --bind "$directory/log" /var/log/pacemaker

if [ "$role" = fenced ]; then
    daemons=/usr/lib/pacemaker
    [ -d "$daemons" ] || daemons=/usr/libexec/pacemaker
    exec "$daemons/pacemaker-fenced" -s -l "$directory/log/fenced.log"
fi
mkdir -p /var/lib/corosync "$directory/corosync"
mount -t tmpfs none /var/lib/corosync
cp "$directory/corosync.conf" "$directory/corosync/"
mount --bind "$directory/corosync" /etc/corosync
# Heartbeats come first, as on a real server: the board hears the machine before the cluster does.
"$directory/heartbeats" &
corosync -f &
until corosync-quorumtool -s >/dev/null 2>&1 || [ $? -eq 2 ]; do sleep 0.1; done
PCMK_logfile="$directory/log/pacemaker.log" pacemakerd &
wait
