"""The parts that touch the world: settings and key files, state on disk, serial port, commands, watchdog, log."""

import io
import os
import pty
import select
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import line as line_module
from heartwire.agent import settings as settings_module
from heartwire.agent import state
from heartwire.agent.errors import SettingsError, StateError
from heartwire.agent.lease import Loss
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.port import SerialPort, SocketPort
from heartwire.agent.settings import Command, settings_from, with_flags
from heartwire.errors import BadConfig

MINIMAL = {"node": "a", "port": "/dev/x", "state_directory": "/tmp/x"}


def wait_for(ready: Any, limit_s: float = 10.0) -> Any:
    """Poll until `ready` gives something; the limit is only for a test that fails."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := ready():
            return value
        time.sleep(0.005)
    raise AssertionError("waited in vain")


# --- settings ---


def test_the_smallest_settings() -> None:
    settings = settings_from(dict(MINIMAL))
    assert (settings.interval_ms, settings.on_board_loss, settings.node_number) == (1000, Loss.HOLD, 0)


def test_all_settings_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        'node = "b"\nport = "socket://127.0.0.1:7000"\nbaud = 9600\nkey_file = "/etc/heartwire/key"\n'
        "interval_ms = 250\n"
        'on_board_loss = "stop"\non_exit = "stop"\nstop_timeout_s = 7.5\nstate_directory = "/var/lib/x"\n'
        'watchdog = "/dev/watchdog"\nwatchdog_timeout_s = 5\n'
        '[hooks]\non_active = ["systemctl", "start", "x.target"]\ncheck = {command = ["true"], limit_s = 1.5}\n'
        "check_interval_s = 0.5\nretry_s = 3\n"
    )
    settings = settings_from(settings_module.load(path))
    assert settings.hooks.on_active == Command(("systemctl", "start", "x.target"), 60.0)
    assert settings.hooks.check == Command(("true",), 1.5)
    assert (settings.on_board_loss, settings.watchdog, settings.baud) == (Loss.STOP, "/dev/watchdog", 9600)


def test_hooks_have_an_environment_and_one_hook_its_own() -> None:
    drain = {"command": ["x"], "environment": {"PGBIN": "/own"}}
    hooks = {"environment": {"PGBIN": "/all", "LANG": "C"}, "on_active": ["x"], "on_drain": drain}
    settings = settings_from({**MINIMAL, "hooks": hooks})
    assert settings.hooks.on_active == Command(("x",), 60.0, (("PGBIN", "/all"), ("LANG", "C")))
    assert settings.hooks.on_drain == Command(("x",), 60.0, (("PGBIN", "/own"), ("LANG", "C")))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"node": "c"}, "node"),
        ({"node": None}, "node"),
        ({"port": ""}, "port"),
        ({"intervall_ms": 5}, "intervall_ms"),
        ({"interval_ms": 1}, "interval_ms"),
        ({"interval_ms": True}, "interval_ms"),
        ({"interval_ms": 100.5}, "interval_ms"),
        ({"baud": 115201}, "baud"),
        ({"on_board_loss": "wait"}, "on_board_loss"),
        ({"on_exit": 1}, "on_exit"),
        ({"state_directory": 5}, "state_directory"),
        ({"watchdog": "/dev/watchdog"}, "watchdog"),
        ({"hooks": []}, "hooks"),
        ({"hooks": {"on_fire": ["x"]}}, "hooks.on_fire"),
        ({"hooks": {"on_active": "a string"}}, "hooks.on_active"),
        ({"hooks": {"on_active": []}}, "hooks.on_active"),
        ({"hooks": {"on_active": {"command": ["x"], "limit": 5}}}, "hooks.on_active.limit"),
        ({"hooks": {"on_active": {"command": ["x"], "limit_s": 0}}}, "hooks.on_active.limit_s"),
        ({"hooks": {"on_active": {"limit_s": 5}}}, "hooks.on_active.command"),
        ({"hooks": {"check_interval_s": "2"}}, "hooks.check_interval_s"),
        ({"hooks": {"environment": "PGBIN=/x"}}, "hooks.environment"),
        ({"hooks": {"environment": {"PG BIN": "x"}}}, "hooks.environment.PG BIN"),
        ({"hooks": {"environment": {"N": 5}}}, "hooks.environment.N"),
        ({"hooks": {"environment": {"N": "a\0b"}}}, "hooks.environment.N"),
        ({"hooks": {"environment": {"HEARTWIRE_EPOCH": "9"}}}, "hooks.environment.HEARTWIRE_EPOCH"),
        ({"hooks": {"environment": {"N": "x" * 9000}}}, "hooks.environment"),
        ({"hooks": {"check": {"command": ["x"], "environment": {"": "x"}}}}, "hooks.check.environment."),
    ],
)
def test_wrong_settings_name_their_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({**MINIMAL, **change})
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.next_step
    assert caught.value.exit_code == 11


def test_flags_lie_over_the_file_and_hooks_are_split_like_a_shell_does() -> None:
    values = with_flags(
        {**MINIMAL, "hooks": {"retry_s": 3}},
        {"node": "b", "port": None, "on_active": "start 'my service' --now", "check": None, "key_file": Path("k")},
    )
    settings = settings_from(values)
    assert (settings.node, settings.port, settings.key_file) == ("b", "/dev/x", Path("k"))
    assert settings.hooks.on_active == Command(("start", "my service", "--now"), 60.0)
    assert settings.hooks.retry_s == 3


@pytest.mark.parametrize("text", ["a = ", "\xff"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match="TOML"):
        settings_module.load(path)
    with pytest.raises(SettingsError, match="No such file"):
        settings_module.load(tmp_path / "none")


KEY_TEXT = "0123456789abcdef" * 4


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(f"# node a\n{KEY_TEXT}\n")
    assert settings_module.read_key(path) == bytes.fromhex(KEY_TEXT)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text(KEY_TEXT)
    path.chmod(mode)
    with pytest.raises(BadConfig, match=f"mode {mode:04o}"):
        settings_module.read_key(path)


@pytest.mark.parametrize("text", [KEY_TEXT[:-2], KEY_TEXT + "00", KEY_TEXT.replace("0", "g"), f"view={KEY_TEXT}", ""])
def test_a_damaged_key_is_never_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        settings_module.read_key(path)
    assert "123456789" not in f"{caught.value!r} {caught.value.next_step} {caught.value.__cause__}"


# --- state ---


@pytest.mark.parametrize("text", ["", "x", "-1", "1073741824", "3 4"])
def test_a_damaged_epoch_is_an_error_not_zero(tmp_path: Path, text: str) -> None:
    (tmp_path / "epoch").write_text(text)
    with pytest.raises(StateError):
        state.read_epoch(tmp_path)


def test_a_failed_write_leaves_the_old_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write_epoch(tmp_path, 5)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    disk = state.Disk(tmp_path, 5)
    monkeypatch.setattr(os, "write", full)
    disk.write("epoch", 6)
    disk.write("status", {})
    monkeypatch.undo()
    assert (disk.durable_epoch, disk.epoch_error, disk.status_errors) == (5, "No space left on device", 1)
    assert state.read_epoch(tmp_path) == 5


def test_an_epoch_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_sync = os.fsync
    real_replace = Path.replace

    def sync(descriptor: int) -> None:
        order.append("sync")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    state.write_epoch(tmp_path, 5)
    assert order == ["sync", "rename", "sync"]


def test_an_epoch_is_never_lowered(tmp_path: Path) -> None:
    disk = state.Disk(tmp_path, 0)
    disk.write("epoch", 6)
    disk.write("epoch", 5)
    assert (state.read_epoch(tmp_path), disk.durable_epoch) == (6, 6)


def test_the_disk_thread_writes_and_a_hung_disk_never_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = state.Disk(tmp_path, 0)
    for _ in range(100):
        disk.store_status({})  # nobody takes them: the thread does not run yet
    disk = state.Disk(tmp_path, 0)
    disk.start()
    disk.store_epoch(4)
    disk.finish(10)
    assert state.read_epoch(tmp_path) == 4


def test_a_frozen_disk_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = threading.Event()
    real = state.write_epoch

    def slow(directory: Path, epoch: int) -> None:
        frozen.wait(30)
        real(directory, epoch)

    monkeypatch.setattr(state, "write_epoch", slow)
    disk = state.Disk(tmp_path, 0)
    disk.start()
    for epoch in range(1, 50):
        disk.store_epoch(epoch)
        disk.store_status({})
    assert disk.durable_epoch == 0, "nothing may start"
    frozen.set()
    disk.finish(10)
    assert disk.durable_epoch == state.read_epoch(tmp_path) > 0


def test_one_agent_per_state_directory(tmp_path: Path) -> None:
    descriptor = state.lock_directory(tmp_path / "new" / "deep")
    with pytest.raises(StateError, match="in use"):
        state.lock_directory(tmp_path / "new" / "deep")
    os.close(descriptor)
    os.close(state.lock_directory(tmp_path / "new" / "deep"))
    (tmp_path / "file").touch()
    with pytest.raises(StateError):
        state.lock_directory(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", '{"boot_id": "x", "node": "a", "lease_until_ns": "y"}'])
def test_a_damaged_status_resumes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert state.read_resumption(tmp_path, "a", "x") == state.Resumption()


# --- line ---


def quiet_log() -> Log:
    return Log(io.StringIO(), "a")


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    yield master, os.ttyname(slave)
    for descriptor in (master, slave):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_port_is_raw_flushed_and_never_blocks(terminal: tuple[int, str]) -> None:
    master, path = terminal
    first = SerialPort(path, 115_200)
    os.write(master, b"stale grant\n")
    first.close()
    port = SerialPort(path, 115_200)
    with pytest.raises(BlockingIOError):
        port.read()
    os.write(master, b"\x00\x03\x11\x13\r\n\x7f\xff")
    wait_for(lambda: select.select([port.fileno()], [], [], 0)[0])
    assert port.read() == b"\x00\x03\x11\x13\r\n\x7f\xff"
    assert port.write(memoryview(b"\x00\n\xff")) == 3
    assert os.read(master, 10) == b"\x00\n\xff"
    port.close()


def test_a_full_buffer_drops_the_frame(terminal: tuple[int, str]) -> None:
    line = Line(terminal[1], 115_200, quiet_log())
    assert line.ensure(0)
    frame = memoryview(bytes(30))
    for _ in range(10_000):
        line.write(frame, 0)
        if line.dropped_frames > 3:
            break
    assert line.dropped_frames > 3
    assert line.port is not None


def test_a_port_has_one_user(terminal: tuple[int, str]) -> None:
    port = SerialPort(terminal[1], 115_200)
    with pytest.raises(OSError, match="in use by another program"):
        SerialPort(terminal[1], 115_200)
    port.close()
    SerialPort(terminal[1], 115_200).close()


def test_what_is_no_serial_port_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match="not a serial port"):
        SerialPort(str(path), 115_200)


def test_a_line_tries_again_with_growing_pauses() -> None:
    tries: list[int] = []
    now = 0

    def fail(path: str, baud: int) -> SerialPort:
        tries.append(now)
        raise OSError(2, "No such file or directory")

    log = io.StringIO()
    line = Line("x", 9600, Log(log, "a"), fail)
    for now in range(0, 10_000_000_000, 10_000_000):
        line.ensure(now)
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == line_module.BACK_OFF_NS[-1]
    assert log.getvalue().count("\n") == 1


def test_a_line_notices_that_the_other_end_is_gone(terminal: tuple[int, str]) -> None:
    line = Line(terminal[1], 115_200, quiet_log())
    line.ensure(0)
    os.close(terminal[0])
    assert line.read(0) == b""
    assert line.port is None


def test_a_socket_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = SocketPort(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"hello")
            wait_for(lambda: select.select([port.fileno()], [], [], 0)[0])
            assert port.read() == b"hello"
            assert port.write(memoryview(b"abc")) == 3
            assert peer.recv(10) == b"abc"
        port.close()


@pytest.mark.parametrize("url", ["socket://", "socket://host", "socket://host:x", "socket://no.such.name:80"])
def test_a_bad_socket_address(url: str) -> None:
    with pytest.raises(OSError):
        SocketPort(url)
