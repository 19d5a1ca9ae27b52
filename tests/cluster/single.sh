#!/bin/bash
# A cluster of one node, alpha, inside the system that this runs in (a chroot, in namespaces of its own): loads the way
# that is named with the commands in DIRECTORY/commands, and prints what came of it. Usage: single.sh DIRECTORY
set -eu
directory=$1
hostname alpha
ip link set lo up
mount -t proc proc /proc
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mkdir -p /run/crm /run/lock /run/resource-agents "$directory/corosync"
chown hacluster:haclient /run/crm
for state in /var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/corosync; do mount -t tmpfs -o mode=777 none $state; done
install -m 755 "$directory/fence_heartwire" /usr/sbin/fence_heartwire
mount --bind "$directory/corosync" /etc/corosync
cat >/etc/corosync/corosync.conf <<X
totem {
  version: 2
  cluster_name: one
}
nodelist {
  node {
    nodeid: 1
    name: alpha
    ring0_addr: 127.0.0.1
  }
}
quorum {
  provider: corosync_votequorum
}
logging {
  to_syslog: no
  to_logfile: yes
  logfile: $directory/corosync.log
}
X
corosync -f &
until corosync-quorumtool -s >/dev/null 2>&1; do sleep 0.2; done
PCMK_logfile="$directory/pacemaker.log" pacemakerd >/dev/null 2>&1 &
until crm_mon -1 2>/dev/null | grep -q 'Online: \[ alpha'; do sleep 0.5; done
cd "$directory"
echo "version $(pacemakerd --version | head -n 1)"
# What a user has there already: a group, whose name is the node's.
cibadmin --create --scope resources --xml-text '<group id="alpha"><primitive id="one" class="ocf" provider="pacemaker" type="Dummy"/><primitive id="two" class="ocf" provider="pacemaker" type="Dummy"/></group>'
while read -r command; do
    $command
    echo "status $? of $command"
done <commands
until crm_mon -1r | grep -q 'stonith:fence_heartwire.*Started alpha'; do sleep 0.5; done
echo "devices $(stonith_admin -L | head -n 1)"
crm_resource --wait
hook() {
    code=0
    timeout 40 ./pacemaker-hook "$1" alpha || code=$?
    echo "hook $1 $code"
}
if [ -e rule ]; then
    for verb in check start check stop check; do hook $verb; done
else
    hook check
fi
echo "resources $(crm_resource --list-raw | tr '\n' ' ')"
