"""When others take a silent machine for dead, by their defaults: one row each, with where that is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One program: after how long a silence it takes a machine for dead, and the source of that number."""

    name: str
    what: str
    silence_ms: int
    source: str


# Programs hear over a network; here their defaults meet the silences of a serial line, where no switch is between.
PEERS = (
    Peer("keepalived", "advert_int 1 s, three of them and the skew", 3609, "keepalived.conf(5)"),
    Peer("sbd", "watchdog timeout", 5000, "sbd(8)"),
    Peer("Corosync, Pacemaker", "token 3000 ms, then consensus 3600 ms", 6600, "corosync.conf(5)"),
    Peer("RHEL 6 cman", "token", 10_000, "Red Hat Enterprise Linux 6, Cluster Administration"),
    Peer("Windows failover cluster", "SameSubnetThreshold 10 of 1 s", 10_000, "Windows Server 2016 defaults"),
    Peer("vSphere HA", "host failure", 15_000, "Broadcom KB 322784"),
    Peer("Linux-HA heartbeat", "deadtime", 30_000, "ha.cf(5)"),
    Peer("Patroni", "ttl", 30_000, "Patroni, dynamic configuration"),
    Peer("Proxmox HA", "watchdog", 60_000, "ha-manager(1)"),
)
