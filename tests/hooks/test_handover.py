"""A guest that moves with a planned switchover: both agents' services, the real hook, a stand-in for virsh."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.agent.hooks import ForkedCommands
from heartwire.agent.lease import Judgement, Wish
from heartwire.agent.log import Log
from heartwire.agent.services import Services
from heartwire.agent.settings import settings_from
from tests.hooks.bench import HOOKS, program
from tests.postgres import PATH

LIMIT_S = 60
ROLES = {Wish.RUN: "active", Wish.DRAIN: "active", Wish.STOP: "standby"}
# What virsh does on one server, whose peer is another folder. A migration takes as long as the file `slow` is there.
VIRSH = """cd {own}
echo "$@" >>calls
case "$1" in
domstate) cat state ;;
domid) cat id ;;
start) echo 'running (booted)' >state ;;
shutdown | destroy) echo "$1" >>{own}/../ended; echo 'shut off (destroyed)' >state ;;
domjobabort) touch aborted ;;
migrate)
    echo 'paused (migrating)' >{peer}/state
    while [ -e slow ]; do sleep 0.05; done
    echo 'shut off (migrated)' >state; echo 'running (migrated)' >{peer}/state ;;
*) exit 1 ;;
esac"""


class Side:
    """One server: its services with the real hook, and what the board wishes there."""

    def __init__(self, node: str, own: Path, peer: Path) -> None:
        self.own = own
        own.mkdir(exist_ok=True)
        program(own, "virsh", VIRSH.format(own=own, peer=peer))
        (own / "id").write_text("1\n")
        hook = str(HOOKS / "libvirt-migrate")
        variables = {"PATH": f"{own}:{PATH}", "HEARTWIRE_RUN_DIRECTORY": str(own), "HEARTWIRE_SHUTDOWN_S": "0"}
        hooks = {
            "on_active": [hook, "start", "g", "qemu+ssh://peer/system"],
            "on_standby": [hook, "stop", "g"],
            "on_drain": [hook, "drain", "g", "qemu+ssh://peer/system"],
            "check": [hook, "check", "g"],
            "check_interval_s": 0.1,
            "retry_s": 0.1,
            "environment": variables,
        }
        settings = settings_from({"node": node, "port": "none", "hooks": hooks})
        ends, checks = ForkedCommands(quiet=True), ForkedCommands(quiet=True)
        self.commands = (ends, checks)
        self.text = io.StringIO()
        self.services = Services(node, settings.hooks, ends, checks, Log(self.text, node))
        self.wish = Wish.STOP
        self.epoch = 1

    def step(self) -> None:
        """Do one round of the agent."""
        judged = Judgement(self.wish, self.wish is Wish.RUN, 5000, 0, "test")
        self.services.step(time.monotonic_ns(), judged, ROLES[self.wish], self.epoch, lambda: "", 0)

    @property
    def state(self) -> str:
        return (self.own / "state").read_text().strip()

    @state.setter
    def state(self, text: str) -> None:
        (self.own / "state").write_text(f"{text}\n")


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    folders = [tmp_path / node for node in "ab"]
    for folder in folders:
        folder.mkdir()
    a, b = Side("a", *folders), Side("b", *reversed(folders))
    a.state, b.state = "running (booted)", "shut off (unknown)"
    a.wish = Wish.RUN
    try:
        yield a, b
    finally:
        for side in (a, b):
            for commands in side.commands:
                commands.close()


def until(sides: tuple[Side, Side], condition: Callable[[], bool]) -> None:
    """Let both agents go on until something is so."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "\n".join(
            side.text.getvalue() + (side.own / "calls").read_text() for side in sides
        )
        for side in sides:
            side.step()
        time.sleep(0.01)


def test_a_migrated_guest_is_never_ended_by_the_server_that_it_came_to(
    sides: tuple[Side, Side], tmp_path: Path
) -> None:
    a, b = sides
    until(sides, lambda: a.services.running and b.services.verified_stopped)
    (a.own / "slow").touch()
    a.wish = Wish.DRAIN
    until(sides, lambda: b.state == "paused (migrating)")
    # Agents look at the arriving guest, and the one that is to be stopped is asked again in a new role.
    seen = len((b.own / "calls").read_text().splitlines())
    until(sides, lambda: len((b.own / "calls").read_text().splitlines()) > seen + 5)
    assert b.services.verified_stopped
    (a.own / "slow").unlink()
    until(sides, lambda: a.services.verified_stopped and b.services.running)
    assert b.wish is Wish.STOP, "it has come before the board knows that the other one is drained"
    until(sides, lambda: "on_standby" in b.text.getvalue().split("running")[-1] or not b.services.idle)
    b.epoch = 2
    b.wish = Wish.RUN
    a.wish = Wish.STOP
    until(sides, lambda: b.services.idle and b.services.running and (b.own / "libvirt-g").exists())
    assert (b.state, a.state) == ("running (migrated)", "shut off (migrated)")
    assert not (tmp_path / "ended").exists(), "nobody shut it down or cut it off"


def test_a_switchover_that_is_taken_back_aborts_the_migration(sides: tuple[Side, Side]) -> None:
    a, b = sides
    until(sides, lambda: a.services.running and b.services.verified_stopped)
    (a.own / "slow").touch()
    a.wish = Wish.DRAIN
    until(sides, lambda: b.state == "paused (migrating)")
    a.wish = Wish.RUN
    until(sides, (a.own / "aborted").exists)
    b.state = "shut off (failed)"
    until(sides, lambda: a.services.idle and a.services.running)
    assert a.state == "running (booted)"
