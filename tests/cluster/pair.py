"""A real cluster of two: Corosync and Pacemaker in two machines of a virtual rack, joined by one network cable.

The machines alpha and beta are the rack's servers a and b: the board's relays cut their power, which kills every
process of theirs, and power that comes back boots them again. One service runs on one of them; its resource agent
writes down when it starts and stops.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import heartwire
from heartwire.next_steps import is_fit
from heartwire.virtual.server import Server
from tests.cluster.bench import NAMES, Bench, program, settings_text
from tests.cluster.machine import Machine

ADDRESSES = {"a": "10.213.7.1", "b": "10.213.7.2"}
CABLE = "cluster0"
TOKEN_MS = 1000
UP_S = 60.0

COROSYNC = """totem {{
  version: 2
  cluster_name: pair
  transport: knet
  token: {token}
}}
nodelist {{
{nodes}}}
quorum {{
  provider: corosync_votequorum
  two_node: 1
}}
logging {{
  to_syslog: no
  to_stderr: no
  to_logfile: yes
  logfile: {directory}/log/corosync.log
  timestamp: hires
}}
"""
NODE = "  node {{\n    nodeid: {number}\n    name: {name}\n    ring0_addr: {address}\n  }}\n"

SHARE = Path(heartwire.__file__).parent / "share" / "cluster"
HOOK = SHARE / "pacemaker-hook"
EXAMPLE_ADDRESS = "id:E660000000000001"
EXAMPLE_KEYS = "/etc/heartwire/host.keys"
# The cluster as it is before Heartwire comes into it: a quick election, and a service that stays where it is.
CIB = """<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.0" admin_epoch="1" epoch="1" num_updates="0">
<configuration><crm_config><cluster_property_set id="o"><nvpair id="o1" name="dc-deadtime" value="5s"/>
</cluster_property_set></crm_config><nodes/><resources>
<primitive id="service" class="ocf" provider="heartwire" type="mark">
<meta_attributes id="sa"><nvpair id="sa1" name="resource-stickiness" value="100"/></meta_attributes>
<operations><op id="sm" name="monitor" interval="2s" timeout="10s"/></operations></primitive>{device}
</resources><constraints/></configuration><status/></cib>
"""
# The fence device of the comparison: one that says "off" and does nothing.
DUMMY = """<primitive id="heartwire" class="stonith" type="fence_dummy"><instance_attributes id="di">
<nvpair id="d1" name="status_file" value="/run/fence_dummy"/>
<nvpair id="d2" name="pcmk_host_check" value="static-list"/><nvpair id="d3" name="pcmk_host_list" value="alpha beta"/>
</instance_attributes></primitive>"""
KEY = "5a" * 32
# A key to operate protects nothing without one to configure.
CONFIGURE = "6b" * 32

# Where the service runs is a file in the machine's memory: it is gone with the machine.
MARK = """#!/bin/bash
note() {{ read -r uptime _ </proc/uptime; echo "$uptime $(hostname) $1" >>{log}; }}
case "$1" in
meta-data) cat <<X
<?xml version="1.0"?>
<resource-agent name="mark" version="1.0"><version>1.0</version><longdesc lang="en">A mark</longdesc>
<shortdesc lang="en">A mark</shortdesc><parameters/><actions><action name="start" timeout="10s"/>
<action name="stop" timeout="10s"/><action name="monitor" timeout="10s" interval="2s"/>
<action name="meta-data" timeout="5s"/></actions></resource-agent>
X
    ;;
start) [ -e /run/service ] || {{ touch /run/service; note start; }} ;;
stop) [ ! -e /run/service ] || {{ rm /run/service; note stop; }} ;;
monitor) [ -e /run/service ] || exit 7 ;;
*) exit 3 ;;
esac
"""


def commands_of_the_page(way: str) -> list[list[str]]:
    """Return the commands that share/cluster/README.md has for a way, as words."""
    found = []
    for line in (SHARE / "README.md").read_text().splitlines():
        words = line.split()
        if words[:1] == ["crm_attribute"] or (words[:1] == ["cibadmin"] and words[-1].startswith(way)):
            found.append(words)
    return found


class Change(NamedTuple):
    """The service started or stopped on a node; `at_s` is the time since the machine under all of this booted."""

    at_s: float
    node: str
    what: str


def now_s() -> float:
    """Return the time as /proc/uptime tells it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True, text=True)


class Pair:
    """The cluster. Its way to fence is that of share/cluster: `cluster-decides`, `board-decides`; or `dummy`."""

    def __init__(self, directory: Path, way: str = "cluster-decides") -> None:
        self.directory = directory
        self.way = way
        self.board_decides = way == "board-decides"
        self.loaded = False
        self.marks = directory / "marks"
        self.spaces = {node: f"hw{os.getpid()}{node}" for node in NAMES}
        self.machines: dict[str, Machine] = {}
        self._make_network()
        try:
            # Where the board decides, power stays off long enough for the cluster to come and see the proof.
            # More faults are tried than a real server may have before its board locks it out.
            text = settings_text(off_stable_ms=250, off_ms=8000 if self.board_decides else 1000, max_actions=20)
            self.bench = Bench(
                directory / "bench",
                self._command,
                text=f"{text}board.operate_key={KEY}\nboard.configure_key={CONFIGURE}\n",
                unlocked_by=KEY,
                start=False,
            )
            self._make_machines()
            self.bench.start("auto" if self.board_decides else "fencer")
        except BaseException:
            self.close()
            raise

    def _make_network(self) -> None:
        a, b = self.spaces.values()
        for space in (a, b):
            run("ip", "netns", "add", space)
            run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "link", "add", CABLE, "netns", a, "type", "veth", "peer", "name", CABLE, "netns", b)
        for node, space in self.spaces.items():
            run("ip", "-n", space, "address", "add", f"{ADDRESSES[node]}/24", "dev", CABLE)
            run("ip", "-n", space, "link", "set", CABLE, "up")

    def commands(self) -> list[list[str]]:
        """Return the commands of the page for this way, with the test's board and key file in the fragments."""
        keys = self.directory / "host.keys"
        keys.write_text(f"operate={KEY}\n")
        keys.chmod(0o600)
        found = commands_of_the_page(self.way)
        for words in found:
            if words[-1].endswith(".xml"):
                text = (SHARE / words[-1]).read_text()
                text = text.replace(EXAMPLE_ADDRESS, self.bench.port).replace(EXAMPLE_KEYS, str(keys))
                words[-1] = str(self.directory / words[-1])
                Path(words[-1]).write_text(text)
        return found

    def _load(self) -> None:
        """Bring Heartwire into the running cluster, as the page says."""
        before = self.inside("a", "cibadmin", "--query", "--scope", "resources")
        for words in self.commands():
            done = self.run_inside("a", *words)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        after = self.inside("a", "cibadmin", "--query", "--scope", "resources")
        # Nothing of what was there is gone.
        assert "<primitive" in before and before.split("</resources>")[0].strip() in after
        self.loaded = True

    def _make_machines(self) -> None:
        nodes = "".join(
            NODE.format(number=number, name=NAMES[node], address=ADDRESSES[node])
            for number, node in enumerate(NAMES, start=1)
        )
        cib = CIB.format(device=DUMMY if self.way == "dummy" else "")
        for node, name in NAMES.items():
            machine = Machine(name, self.directory / name, "node", self.spaces[node])
            conf = COROSYNC.format(token=TOKEN_MS, nodes=nodes, directory=machine.directory)
            (machine.directory / "corosync.conf").write_text(conf)
            machine.add("resources/heartwire/mark", MARK.format(log=self.marks))
            (machine.directory / "state" / "cib").mkdir(parents=True, exist_ok=True)
            (machine.directory / "state" / "cib" / "cib.xml").write_text(cib)
            self.machines[node] = machine

    def _command(self, server: Server) -> list[str]:
        """Return what a server runs when it has booted: the machine, with its heartbeats to the board."""
        machine = self.machines[server.node]
        words = [program("heartwire"), "agent", "run", "--node", server.node, "--port", str(server.port)]
        words += ["--interval-ms", "100", "--state-directory", str(machine.directory / "agent")]
        if self.board_decides:
            for option, what in (
                ("--hook-active", "start"),
                ("--hook-standby", "stop"),
                ("--hook-drain", "drain"),
                ("--check", "check"),
            ):
                words += [option, f"'{HOOK} {what} service'"]
            words += ["--check-interval-s", "0.5", "--retry-s", "0.5"]
        machine.add("heartbeats", f"#!/bin/sh\nexec {' '.join(words)}\n")
        return machine.command

    # What happens in it

    def run_inside(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a node's machine."""
        return self.machines[node].inside(self.bench.servers[node].pid or 0, *command, timeout_s=10)

    def inside(self, node: str, *command: str) -> str:
        """Run a command in a node's machine; return its output, or "" if the machine does not run."""
        with contextlib.suppress(OSError, IndexError, subprocess.TimeoutExpired):
            return self.run_inside(node, *command).stdout
        return ""

    def wait_up(self, timeout_s: float = UP_S) -> None:
        """Wait until both nodes are members, the service runs and the board hears both."""
        deadline = time.monotonic() + timeout_s
        while True:
            views = [self.inside(node, "crm_mon", "-1") for node in NAMES]
            online = all("Online: [ alpha beta ]" in view for view in views)
            if online and not self.loaded:
                self._load()
            if online and all("Started" in view for view in views) and self.holders():
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster did not come up:\n{views}\n{self.story()}")
            time.sleep(0.3)
        self.bench.wait_good()
        if self.board_decides:
            # A node that starts its services is given time, and its death in the middle of that is no plain death. Its
            # successor is fit once its hooks, first asked before its cluster ran, have said that it is stopped.
            holder = self.holders()[0]
            self.bench.until(lambda board: board.node(holder).state == "healthy", f"{holder} healthy", 20)
            others = [node for node in NAMES if node != holder]
            self.bench.until(lambda board: all(is_fit(board.node(node)) for node in others), f"{others} fit", 20)

    def holders(self) -> list[str]:
        """Return the nodes on which the service runs, looking into the machines."""
        found = []
        for node, server in self.bench.servers.items():
            with contextlib.suppress(OSError, IndexError):
                children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
                if Path(f"/proc/{children[0]}/root/run/service").exists():
                    found.append(node)
        return found

    def changes(self, since_s: float) -> list[Change]:
        """Return what the service did after `since_s`."""
        if not self.marks.exists():
            return []
        letters = {name: node for node, name in NAMES.items()}
        rows = [line.split() for line in self.marks.read_text().splitlines()]
        # /proc/uptime has hundredths of a second.
        return [Change(float(at), letters[name], what) for at, name, what in rows if float(at) >= since_s - 0.01]

    def wait_start(self, since_s: float, timeout_s: float) -> Change | None:
        """Return the first start of the service after `since_s`, or None if there was none in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            starts = [change for change in self.changes(since_s) if change.what == "start"]
            if starts:
                return starts[0]
            time.sleep(0.02)
        return None

    def cut_network(self, cut: bool = True) -> None:
        """Pull the cable between the machines, or put it back."""
        run("ip", "-n", self.spaces["a"], "link", "set", CABLE, "down" if cut else "up")

    def power_cycle(self) -> None:
        """Switch both machines off and on again by their mains, and put the cable back."""
        self.cut_network(False)
        for on in (False, True):
            for supply in self.bench.rack.supplies.values():
                supply.set_mains(on)
            time.sleep(0.5)

    def power_cuts(self, since_ns: int) -> dict[str, int]:
        """Return when each server lost its power after `since_ns` (time.monotonic_ns())."""
        lost: dict[str, int] = {}
        for event in self.bench.rack.timeline(since_ns):
            if event.source.startswith("power ") and event.text == "off":
                lost.setdefault(event.source[-1], event.at_ns)
        return lost

    def story(self) -> str:
        """Return the ends of the logs, for a failing test."""
        parts = [self.bench.story()]
        for machine in self.machines.values():
            for name in ("corosync.log", "pacemaker.log"):
                parts.append(f"--- {machine.name} {name}\n{machine.log(name)[-3000:]}")
        return "\n".join(parts)

    def close(self) -> None:
        """End it all."""
        bench = getattr(self, "bench", None)
        if bench is not None:
            bench.close()
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
