"""What the agent reports about its server: probes, states set through the control socket, real-time running, VMs."""

import errno
import io
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import control, machine, probe_kinds, realtime
from heartwire.agent.control import SOCKET_FILE, Control, ask
from heartwire.agent.errors import ControlError, SettingsError
from heartwire.agent.hooks import ForkedCommands
from heartwire.agent.log import Log
from heartwire.agent.notify import Notifier
from heartwire.agent.probes import Probes
from heartwire.agent.settings import Command, ProbeSettings, settings_from
from heartwire_protocol import codes
from tests.unit.agent.agent_fakes import FakeCommands, World, ms

MINIMAL = {"node": "a", "port": "/dev/x", "state_directory": "/tmp/x"}


def state(world: World) -> str:
    return codes.STATES[world.board.beats[-1]["node_state"] >> 2]


def answer(world: World, request: dict[str, Any]) -> dict[str, Any]:
    """Return what the agent answers at once."""
    found = world.agent.handle(request)
    assert found is not None
    return found


# --- probes ---


def two_probes() -> tuple[Probes, FakeCommands, io.StringIO]:
    commands = FakeCommands()
    text = io.StringIO()
    probes = Probes(
        [
            ProbeSettings("web", "http", interval_s=10, failures=3, successes=2),
            ProbeSettings("own", "command", Command(("own",)), interval_s=10, failures=1, successes=1),
        ],
        commands,
        Log(text, "a"),
        0,
    )
    return probes, commands, text


def test_probes_are_spread_and_run_at_their_interval() -> None:
    probes, commands, _ = two_probes()
    commands.instant = {"http": 0, "own": 0}
    for second in range(31):
        probes.step(ms(1000 * second))
    assert commands.names().count("http") == 4
    assert commands.names().count("own") == 3
    assert commands.names()[:2] == ["http", "own"]
    assert probes.bad == []


def test_a_probe_is_latched_both_ways() -> None:
    probes, commands, text = two_probes()
    states = []
    for second, code in enumerate([errno.ECONNREFUSED, 0, 111, 111, 111, 0, 111, 0, 0, 0]):
        commands.instant = {"http": code, "own": 0}
        probes.step(ms(10_000 * second))
        probes.step(ms(10_000 * second + 1))
        states.append("web" in probes.bad)
    assert states == [False, False, False, False, True, True, True, True, False, False]
    assert text.getvalue().count("probe_bad") == 1
    assert "Connection refused" in text.getvalue()
    assert text.getvalue().count("probe_good") == 1


def test_a_hung_probe_is_bad_and_never_runs_twice_at_once() -> None:
    probes, commands, text = two_probes()
    commands.instant = {"http": 0}
    for second in range(60):
        probes.step(ms(1000 * second))
    assert commands.names().count("own") == 1
    commands.end("own", 0, "time_limit")
    probes.step(ms(60_000))
    assert probes.bad == ["own"]
    assert "time_limit" in text.getvalue()


def test_a_bad_probe_degrades_the_server(tmp_path: Path) -> None:
    world = World(tmp_path, probes=(ProbeSettings("web", "http", interval_s=1, failures=2, successes=1),))
    world.probe_commands.instant = {"http": 111}
    world.go(6000)
    assert state(world) == "degraded"
    assert world.agent.why_degraded() == "probes: web"
    world.probe_commands.instant = {"http": 0}
    world.go(3000)
    assert state(world) == "healthy"


@pytest.fixture
def commands() -> Iterator[ForkedCommands]:
    forked = ForkedCommands(quiet=True)
    yield forked
    forked.close()


def probe(commands: ForkedCommands, kind: str, limit_s: float = 20.0, **values: Any) -> tuple[str, int]:
    commands.start_probe(kind, values, limit_s)
    while not (results := commands.results()):
        time.sleep(0.005)
    return results[0].outcome, results[0].code


def test_tcp_probes(commands: ForkedCommands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe(commands, "tcp", host="127.0.0.1", port=port) == ("exit", 0)
    assert probe(commands, "tcp", host="127.0.0.1", port=port) == ("exit", errno.ECONNREFUSED)


def test_a_probe_whose_name_has_no_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for kind, values in (
        ("tcp", {"host": "db.example", "port": 1}),
        ("http", {"url": "http://x.example", "status": 200}),
    ):
        code = probe_kinds.run(kind, values)
        # It is the exit status of a process.
        assert 0 < code < 256
        assert probe_kinds.words_of(code) == "its host's name could not be looked up"
    assert probe_kinds.words_of(errno.ECONNREFUSED) == "Connection refused"


def test_http_probes(commands: ForkedCommands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 500 Sorry\r\n\r\n", b"no http\r\n\r\n"):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/health?full=1"
        assert probe(commands, "http", url=url, status=204) == ("exit", 0)
        assert probe(commands, "http", url=url, status=204) == ("exit", errno.EBADMSG)
        assert probe(commands, "http", url=url, status=204) == ("exit", errno.EPROTO)
        thread.join()


def test_a_hanging_probe_is_ended(commands: ForkedCommands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert probe(commands, "http", 0.1, url=url, status=200)[0] == "time_limit"


def test_a_disk_probe_writes_and_leaves_nothing(tmp_path: Path, commands: ForkedCommands) -> None:
    assert probe(commands, "disk", directory=str(tmp_path)) == ("exit", 0)
    assert list(tmp_path.iterdir()) == []
    assert probe(commands, "disk", directory=str(tmp_path / "none")) == ("exit", errno.ENOENT)
    assert probe(commands, "disk", directory="/proc")[1] != 0


def test_memory_and_load_probes(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 999999 kB\nMemAvailable:   102400 kB\n")
    assert probe_kinds.memory(100, str(meminfo)) == 0
    assert probe_kinds.memory(101, str(meminfo)) == errno.ENOMEM
    meminfo.write_text("MemTotal: 999999 kB\n")
    assert probe_kinds.memory(1, str(meminfo)) == errno.ENODATA
    assert probe_kinds.load(1e6) == 0
    assert probe_kinds.load(-1.0) == errno.EBUSY


def test_probe_settings() -> None:
    probes = settings_from(
        {
            **MINIMAL,
            "probes": [
                {"kind": "command", "name": "own", "command": ["x", "y"], "limit_s": 2},
                {"kind": "systemd", "unit": "nginx.service"},
                {"kind": "tcp", "port": 5432, "interval_s": 3, "failures": 5},
                {"kind": "http", "url": "http://localhost/"},
                {"kind": "disk", "directory": "/srv"},
                {"kind": "memory", "available_mb": 200},
                {"kind": "load", "per_cpu": 4},
            ],
        }
    ).probes
    assert [one.name for one in probes] == ["own", "systemd", "tcp", "http", "disk", "memory", "load"]
    assert probes[0].command == Command(("x", "y"), 2)
    assert probes[1].command is not None and probes[1].command.argv[-1] == "nginx.service"
    assert (probes[2].values, probes[2].failures) == ({"host": "127.0.0.1", "port": 5432}, 5)


@pytest.mark.parametrize(
    ("probes", "path"),
    [
        ({}, "probes"),
        ([{"kind": "ping"}], "probes[0].kind"),
        ([5], "probes[0].kind"),
        ([{"kind": "tcp"}], "probes[0].port"),
        ([{"kind": "tcp", "port": "80"}], "probes[0].port"),
        ([{"kind": "tcp", "port": True}], "probes[0].port"),
        ([{"kind": "tcp", "port": 80, "prot": 1}], "probes[0].prot"),
        ([{"kind": "tcp", "port": 80, "failures": 0}], "probes[0].failures"),
        ([{"kind": "http", "url": "https://x"}], "probes[0].url"),
        ([{"kind": "command", "command": "x"}], "probes[0].command"),
        ([{"kind": "tcp", "port": 1}, {"kind": "tcp", "port": 2}], "probes[1].name"),
    ],
)
def test_wrong_probe_settings_name_their_path(probes: Any, path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({**MINIMAL, "probes": probes})
    assert str(caught.value).startswith(f"{path}: ")


# --- states and the control socket ---


def test_busy_runs_out_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    assert answer(world, {"do": "busy", "seconds": 10})["ok"]
    world.go(2000)
    assert state(world) == "busy"
    assert 7 <= world.board.beats[-1]["busy_s"] <= 10
    world.go(10_000)
    assert state(world) == "healthy"
    assert world.board.beats[-1]["busy_s"] == 0


def test_states_in_their_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(3000)
    for request, expected in (
        ({"do": "busy", "seconds": 100}, "busy"),
        ({"do": "crash_dump", "seconds": 100}, "crash_dump"),
        ({"do": "planned_off"}, "planned_off"),
        ({"do": "status"}, "planned_off"),
        ({"do": "ready"}, "healthy"),
    ):
        assert "status" in answer(world, request)
        world.go(1000)
        assert state(world) == expected


def test_busy_survives_a_restart_of_the_agent(tmp_path: Path) -> None:
    from heartwire.agent.state import read_resumption

    world = World(tmp_path)
    world.agent.handle({"do": "busy", "seconds": 100})
    world.go(1000)
    assert read_resumption(tmp_path, "a", "boot-1").busy_until_ns == world.agent.conditions.busy_until_ns


@pytest.mark.parametrize(
    "request_", [{}, {"do": "explode"}, {"do": "busy"}, {"do": "busy", "seconds": 0}, {"do": "busy", "seconds": 65_536}]
)
def test_wrong_requests_change_nothing(tmp_path: Path, request_: dict[str, Any]) -> None:
    world = World(tmp_path)
    assert answer(world, request_)["error"]
    world.go(3000)
    assert state(world) == "healthy"


class Served:
    """A control socket served by a thread, as the agent's loop would."""

    def __init__(self, directory: Path) -> None:
        self.seen: list[dict[str, Any]] = []
        self.control = Control(directory / SOCKET_FILE, self._answer, Log(io.StringIO(), "a"))
        self._end = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _answer(self, request: dict[str, Any], _: object) -> dict[str, Any]:
        self.seen.append(request)
        return {"error": "no"} if request.get("do") == "no" else {"ok": True}

    def _serve(self) -> None:
        import select

        while not self._end:
            for descriptor in select.select(self.control.descriptors(), [], [], 0.01)[0]:
                self.control.serve(descriptor)

    def close(self) -> None:
        self._end = True
        self._thread.join()
        self.control.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    deep = tmp_path / ("long" * 40)
    deep.mkdir()
    made = Served(deep)
    yield made
    made.close()
    assert list(deep.iterdir()) == []


def socket_path(served: Served) -> Path:
    return served.control._path


def test_the_control_socket_answers(served: Served) -> None:
    directory = socket_path(served).parent
    assert ask(directory, {"do": "x"}) == {"ok": True}
    assert served.seen == [{"do": "x"}]
    assert socket_path(served).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ControlError, match="refused: no"):
        ask(directory, {"do": "no"})


@pytest.mark.parametrize("data", [b"x\n", b"[]\n", b"\xff\n", b"y" * 5000])
def test_nonsense_on_the_control_socket_is_refused(served: Served, data: bytes) -> None:
    directory = os.open(socket_path(served).parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(f"/proc/self/fd/{directory}/control")
        client.sendall(data)
        try:
            answer = client.recv(4096)
        except ConnectionResetError:
            answer = b""
        assert answer == b"" or "error" in json.loads(answer)
    os.close(directory)
    assert served.seen == []
    assert ask(socket_path(served).parent, {"do": "x"}) == {"ok": True}


def test_idle_clients_do_not_keep_others_out(served: Served) -> None:
    directory = os.open(socket_path(served).parent, os.O_RDONLY)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(control.CLIENTS_MAX * 2)]
    for client in clients:
        client.settimeout(20)
        client.connect(f"/proc/self/fd/{directory}/control")
    assert ask(socket_path(served).parent, {"do": "x"}) == {"ok": True}
    assert len(served.control.descriptors()) <= 1 + control.CLIENTS_MAX
    for client in clients:
        client.close()
    os.close(directory)


def test_without_an_agent_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no agent answers") as caught:
        ask(tmp_path, {"do": "status"})
    assert "systemctl" in caught.value.next_step


def test_systemd_is_told_and_never_waited_for(tmp_path: Path) -> None:
    Notifier("").tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = f"@heartwire-test-{os.getpid()}"
        systemd.bind("\0" + path[1:])
        notifier = Notifier(path)
        notifier.tell("READY=1")
        assert systemd.recv(100) == b"READY=1"
        for at in range(10):
            notifier.alive(ms(500 * at))
        for _ in range(5):
            assert systemd.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            systemd.recv(100, socket.MSG_DONTWAIT)
        for _ in range(5000):
            notifier.tell("STATUS=full")


# --- on time ---


def test_capabilities_are_read_from_the_kernel() -> None:
    assert realtime.has_capability(14, "Name:\tx\nCapEff:\t0000000000004000\n")
    assert not realtime.has_capability(14, "CapEff:\t0000000000002000\n")
    assert not realtime.has_capability(14, "")


def test_what_is_not_allowed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert realtime.raise_priority(10) == "Operation not permitted"
    monkeypatch.setattr(realtime, "has_capability", lambda *_: False)
    assert realtime.lock_memory() == "needs CAP_IPC_LOCK"


# --- virtual machines ---


def test_a_virtual_machine_is_recognised(tmp_path: Path) -> None:
    assert machine.hypervisor(tmp_path) == ""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu vme\n")
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text("Dell Inc.\n")
    assert machine.hypervisor(tmp_path) == ""
    (dmi / "product_name").write_text("Standard PC (QEMU)\n")
    assert machine.hypervisor(tmp_path) == "Standard PC (QEMU)"
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu hypervisor vme\n")
    assert machine.hypervisor(tmp_path) == "the processor says so"


def test_lease_only_is_refused_in_a_virtual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from heartwire.agent import run

    monkeypatch.setattr(run, "hypervisor", lambda: "qemu")
    run.refuse_lease_only(settings_from({**MINIMAL}))
    run.refuse_lease_only(settings_from({**MINIMAL, "on_board_loss": "stop", "fenced_from_outside": True}))
    with pytest.raises(SettingsError, match="refused in a virtual machine"):
        run.refuse_lease_only(settings_from({**MINIMAL, "on_board_loss": "stop"}))
    monkeypatch.setattr(run, "hypervisor", lambda: "")
    run.refuse_lease_only(settings_from({**MINIMAL, "on_board_loss": "stop"}))
