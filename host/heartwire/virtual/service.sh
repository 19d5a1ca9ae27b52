#!/bin/sh
# The service of a virtual server, for the demo and the tests: while it runs, it writes "node epoch" lines to the shared ledger.
# Two nodes writing at once is exactly what Heartwire is there to prevent, and the ledger would show it.
#
#   service.sh start|stop|check FOLDER LEDGER
folder=$2
ledger=$3
pid_file=$folder/service.pid
is_running() { [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

case $1 in
start)
    is_running && exit 0
    (
        while :; do
            echo "$HEARTWIRE_NODE $HEARTWIRE_EPOCH" >>"$ledger"
            sleep 0.1
        done
    ) </dev/null >/dev/null 2>&1 &
    echo $! >"$pid_file"
    ;;
stop)
    is_running && kill "$(cat "$pid_file")"
    rm -f "$pid_file"
    ;;
check)
    is_running
    ;;
esac
