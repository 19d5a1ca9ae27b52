"""The agent under a real systemd, on a rack: started, restarted, stopped, shut down, hung; nobody is ever cut.

Each prints how long the service was interrupted, or what the shutdown did when.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.systemd.rack import DEAD_S, MachineRack, heartwire

pytestmark = pytest.mark.virtual
# Long enough for systemd's watchdog, which acts after 10 s, to be quicker than the board.
PATIENT = {
    "interval_ms": 1000,
    "early_ms": 250,
    "late_ms": 3000,
    "dead_ms": 25_000,
    "common_cause_ms": 2000,
    "lease_ms": 20_000,
}
MakeRack = Callable[..., MachineRack]


def main_pid(rack: MachineRack) -> str:
    return rack.shown("heartwire-agent.service", "MainPID")


def wait_new_agent(rack: MachineRack, before: str, limit_s: float = 90.0) -> None:
    """Wait until another agent is ready and the board hears it."""
    deadline = time.monotonic() + limit_s
    while main_pid(rack) in ("0", before) or rack.shown("heartwire-agent.service", "ActiveState") != "active":
        assert time.monotonic() < deadline, rack.run("journalctl", "--no-pager", "-n", "40").stdout
        time.sleep(0.1)
    time.sleep(3.0)
    rack.wait_verdict("a", "good")


def wait_stopped(rack: MachineRack, began: float, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not any(row.what == "stopped" for row in rack.told(began)):
        assert time.monotonic() < deadline, rack.told(began)
        time.sleep(0.05)


@pytest.mark.parametrize("loss", ["hold", "stop"])
def test_a_restart_and_an_upgrade_are_not_noticed_by_the_service(make_rack: MakeRack, loss: str) -> None:
    rack = make_rack(timings=PATIENT, on_board_loss=loss)
    service = rack.service_pid()
    assert service != "0"
    for how in (
        ("systemctl", "restart", "heartwire-agent"),
        ("systemctl", "try-restart", "heartwire-agent.service"),
        ("sh", "-c", "systemctl daemon-reload && systemctl restart heartwire-agent"),
        ("systemctl", "kill", "--kill-who=main", "--signal=KILL", "heartwire-agent"),
    ):
        before = main_pid(rack)
        done = rack.run(*how)
        assert done.returncode == 0, done.stderr
        wait_new_agent(rack, before)
        assert rack.service_pid() == service, how
        print(f"{loss}, {' '.join(how)}: interrupted for 0 ms")
    assert [row.what for row in rack.told()] == ["started"]
    assert rack.shown("heartwire-planned-off.service", "ActiveState") == "active"
    assert not [name for name in rack.names() if name[0] in ("fence_fired", "dead")]


def test_an_agent_that_hangs_is_replaced_by_systemds_watchdog(make_rack: MakeRack) -> None:
    rack = make_rack(timings=PATIENT)
    service, before = rack.service_pid(), main_pid(rack)
    rack.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "heartwire-agent")
    wait_new_agent(rack, before)
    assert rack.shown("heartwire-agent.service", "NRestarts") == "1"
    assert (rack.service_pid(), rack.fences()) == (service, 0)


def shut_down(rack: MachineRack, verb: str, stop_s: float) -> None:
    """Shut a down and see that its service ended in good order, once, and that b serves only then."""
    began = time.time()
    rack.run("systemctl", verb)
    wait_stopped(rack, began)
    rack.wait_active("b", 20)
    served_s = time.time() - began
    time.sleep(2 * DEAD_S)
    told = rack.told(began)
    for row in told:
        print(f"  {row.at_s:+6.2f} s service: {row.what}")
    print(f"  {served_s:+6.2f} s b serves; fences: {rack.fences()}")
    assert [row.what for row in told] == ["asked to stop", "stopped"], "started again while going down"
    assert told[1].at_s - told[0].at_s >= stop_s and served_s >= told[1].at_s
    assert rack.fences() == 0


@pytest.mark.parametrize(("stop_s", "on_exit", "unit"), [
    (DEAD_S + 3, "leave", ""), (DEAD_S + 3, "stop", ""), (0, "leave", ""),
    (3, "leave", "After=heartwire-agent.service"), (3, "leave", "DefaultDependencies=no"),
    (3, "leave", "After=heartwire-planned-off.service"),
])  # fmt: skip
def test_poweroff_cuts_nothing_and_starts_nothing(make_rack: MakeRack, stop_s: float, on_exit: str, unit: str) -> None:
    rack = make_rack(stop_s=stop_s, on_exit=on_exit, unit=unit)
    shut_down(rack, "poweroff", stop_s)
    server = rack.servers["a"]
    assert (server.state, server.powered, server.boots) == ("halted", True, 1)


def test_a_reboot_comes_back_as_a_standby(make_rack: MakeRack) -> None:
    rack = make_rack(stop_s=3, respawn_ms=500)
    shut_down(rack, "reboot", 3)
    rack.wait_verdict("a", "good")
    with rack.open() as board:
        status, node = board.status(), board.node("a")
    assert (status.active, node.role, node.state) == ("b", "standby", "healthy")
    assert rack.fences() == 0


def test_a_stop_of_the_agent_alone_moves_the_services(make_rack: MakeRack) -> None:
    rack = make_rack(stop_s=DEAD_S + 3)
    began = time.time()
    done = rack.run("systemctl", "stop", "heartwire-agent")
    assert done.returncode == 0
    wait_stopped(rack, began, 1.0)
    rack.wait_active("b", 20)
    time.sleep(2 * DEAD_S)
    assert rack.fences() == 0
    rack.run("systemctl", "start", "heartwire-agent")
    rack.wait_verdict("a", "good")
    with rack.open() as board:
        assert (board.node("a").state, board.status().active) == ("healthy", "b")
    assert [row.what for row in rack.told(began)] == ["asked to stop", "stopped"]


def test_a_package_that_stops_and_starts_a_busy_agent_moves_nothing(make_rack: MakeRack) -> None:
    rack = make_rack()
    service = rack.service_pid()
    to_agent = ("--config", "/etc/heartwire/agent.toml")
    assert rack.run(heartwire(), "agent", "busy", "--for", "2m", *to_agent).returncode == 0
    time.sleep(1.0)
    rack.run("systemctl", "stop", "heartwire-agent")
    time.sleep(2 * DEAD_S)
    assert rack.shown("heartwire-agent.service", "ActiveState") == "inactive"
    rack.run("systemctl", "start", "heartwire-agent")
    rack.wait_verdict("a", "good")
    time.sleep(3.0)
    assert (rack.service_pid(), rack.fences()) == (service, 0)
    assert [row.what for row in rack.told()] == ["started"]


def test_an_agent_whose_first_start_failed_is_told_of_a_shutdown_as_well(make_rack: MakeRack, tmp_path: Path) -> None:
    rack = make_rack(stop_s=3, arm=False)
    rack.state.mkdir()
    (rack.state / "epoch").write_text("damaged")
    rack.start()
    deadline = time.monotonic() + 40
    while rack.shown("heartwire-agent.service", "NRestarts") in ("", "0"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    done = rack.run(heartwire(), "agent", "epoch", "--set", "0", "--config", "/etc/heartwire/agent.toml")
    assert done.returncode == 0, done.stderr
    rack.arm(start=False)
    assert rack.shown("heartwire-planned-off.service", "ActiveState") == "active"
    shut_down(rack, "poweroff", 3)
