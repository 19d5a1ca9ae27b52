"""Installing and examining: files below a root, units that systemd accepts, and each fault that the doctor names."""

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path
from typing import Any

import pytest

from heartwire import __version__, ports
from heartwire.agent import doctor_units, state
from heartwire.agent.doctor import System, check_agent, examine
from heartwire.agent.doctor_findings import Finding
from heartwire.agent.doctor_line import ask_board
from heartwire.agent.errors import SettingsError
from heartwire.agent.install import Adapter, adapter_of, carry_out, plan
from heartwire.agent.port import SerialPort
from heartwire.agent.settings import load, settings_from
from heartwire.cli.main import main
from tests.unit.agent.agent_fakes import KEY, FakeBoard, FakePort
from tests.unit.host.test_ports import Sys

PROGRAM = "/usr/bin/heartwire"


# --- install ---


def test_everything_is_written_once(tmp_path: Path) -> None:
    files = plan(PROGRAM, "A50285BI")
    assert {one.what for one in carry_out(files, tmp_path, False, dry_run=True)} == {"would be written"}
    assert list(tmp_path.iterdir()) == []
    assert {one.what for one in carry_out(files, tmp_path, False, False)} == {"written"}
    assert {one.what for one in carry_out(files, tmp_path, False, False)} == {"unchanged"}
    assert os.access(tmp_path / "etc/heartwire/hooks/postgresql", os.X_OK)
    rules = (tmp_path / "etc/udev/rules.d/70-heartwire-agent.rules").read_text()
    assert 'ATTRS{serial}=="A50285BI", SYMLINK+="heartwire-node"' in rules
    unit = (tmp_path / "etc/systemd/system/heartwire-agent.service").read_text()
    assert f"ExecStart={PROGRAM} agent run" in unit
    assert "@" not in unit


def test_what_a_person_changed_is_kept(tmp_path: Path) -> None:
    files = plan(PROGRAM)
    carry_out(files, tmp_path, False, False)
    unit = tmp_path / "etc/systemd/system/heartwire-agent.service"
    settings = tmp_path / "etc/heartwire/agent.toml"
    unit.write_text("mine")
    settings.write_text("mine")
    kept = [one.path.name for one in carry_out(files, tmp_path, False, False) if one.what == "kept"]
    assert kept == ["heartwire-agent.service", "agent.toml"]
    kept = [one.path.name for one in carry_out(files, tmp_path, True, False) if one.what == "kept"]
    assert kept == ["agent.toml"], "settings are never overwritten"
    assert unit.read_text() != "mine"


@pytest.mark.parametrize("folder", ["usr/lib/systemd/system", "lib/systemd/system"])
def test_the_unit_of_a_package_is_left_to_it_and_a_copy_that_hides_it_is_named(tmp_path: Path, folder: str) -> None:
    packaged = tmp_path / folder / "heartwire-agent.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text("the package's")
    made = {one.path.name: one.what for one in carry_out(plan(PROGRAM), tmp_path, True, False)}
    assert made["heartwire-agent.service"] == "packaged"
    assert made["heartwire-planned-off.service"] == "written"
    assert not (tmp_path / "etc/systemd/system/heartwire-agent.service").exists()
    assert list(doctor_units.hidden(tmp_path)) == []
    (tmp_path / "etc/systemd/system/heartwire-agent.service").write_text("mine")
    assert carry_out(plan(PROGRAM)[:1], tmp_path, False, False)[0].what == "kept"
    (finding,) = doctor_units.hidden(tmp_path)
    assert str(packaged) in finding.words and finding.next_step.startswith("`rm /etc/systemd/system/heartwire-agent")


def test_a_unit_that_starts_another_heartwire_or_none_is_named(tmp_path: Path) -> None:
    unit = "[Service]\nExecStart=/usr/bin/heartwire agent run --config /etc/heartwire/agent.toml\n"
    (gone,) = doctor_units.program(unit, str(tmp_path / "mine"), tmp_path)
    assert gone.level == "bad" and "which is not there" in gone.words
    theirs = tmp_path / "usr/bin/heartwire"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("")
    (tmp_path / "mine").write_text("")
    (other,) = doctor_units.program(unit, str(tmp_path / "mine"), tmp_path)
    assert other.level == "warning" and "another installation" in other.words
    (tmp_path / "link").symlink_to(theirs)
    assert list(doctor_units.program(unit, str(tmp_path / "link"), tmp_path)) == []


def test_an_agent_from_before_an_upgrade_is_named(tmp_path: Path) -> None:
    settings = settings_from({"node": "a", "port": "/dev/null", "state_directory": str(tmp_path)})
    status = {"boot_id": state.boot_id(), "time_ns": System().boottime_ns(), "port": "x", "port_problem": "closed"}
    for version, told in ((__version__, 0), ("0.0.1", 1), (None, 1)):
        (tmp_path / state.STATUS_FILE).write_text(json.dumps({**status, "version": version}))
        found = [one for one in check_agent(settings, System()) if "is installed" in one.words]
        assert len(found) == told
        assert all("systemctl restart heartwire-agent" in one.next_step for one in found)


@pytest.mark.parametrize(
    ("program", "serial"),
    [("heartwire", ""), ("/a b/heartwire", ""), ("/x$y", ""), (PROGRAM, 'a"b'), (PROGRAM, "a b"), (PROGRAM, "x" * 65)],
)
def test_nothing_strange_gets_into_units_and_rules(program: str, serial: str) -> None:
    with pytest.raises(SettingsError):
        plan(program, serial)


def test_the_example_settings_are_good_settings(tmp_path: Path) -> None:
    carry_out(plan(PROGRAM), tmp_path, False, False)
    settings = settings_from(load(tmp_path / "etc/heartwire/agent.toml"))
    assert settings.probes[0].kind == "disk"
    assert settings.hooks.check is not None


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("not installed: systemd")
    program = tmp_path / "heartwire"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    carry_out(plan(str(program)), tmp_path, False, False)
    units = sorted(str(path) for path in (tmp_path / "etc/systemd/system").iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "heartwire" not in done.stderr, done.stderr


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "install", "--root", str(tmp_path), "--program", PROGRAM]) == 0
    output = capsys.readouterr().out
    assert "systemctl daemon-reload" in output
    (tmp_path / "file").touch()
    assert main(["agent", "install", "--root", str(tmp_path / "file"), "--program", PROGRAM]) == 12


# --- doctor ---


class FakeSystem(System):
    """A system that says what the test wants."""

    def __init__(self, root: Path, **outputs: str) -> None:
        super().__init__(root)
        self.outputs = outputs
        self.now_ns = 10**12
        self.now_s = time.time()

    def output(self, *words: str) -> str:
        line = " ".join(words)
        return next((text for key, text in self.outputs.items() if key.replace("_", " ") in line), "")

    def boottime_ns(self) -> int:
        return self.now_ns

    def wall_s(self) -> float:
        return self.now_s

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


STATUS: dict[str, Any] = {
    "time_ns": 10**12 - 5 * 10**8,
    "port_problem": "",
    "port": "/dev/ttyS0",
    "newest_grant_ms_ago": 400,
    "grants_refused": {},
    "frames_broken": 0,
    "role": "standby",
    "epoch": 3,
    "degraded": "",
    "epochs_refused": 0,
    "peer_seen": None,
}


def values(directory: Path, **more: Any) -> Any:
    key = directory / "key"
    if not key.exists():
        key.touch(0o600)
        key.write_text(KEY.hex())
    hooks = {"on_active": ["/bin/true"], "on_standby": ["/bin/true"], "check": ["/bin/true"]}
    base = {"node": "a", "port": "socket://127.0.0.1:1", "state_directory": str(directory), "key_file": str(key)}
    return settings_from({**base, "hooks": hooks, **more})


def words(findings: list[Finding], level: str) -> str:
    return "\n".join(f"{one.subject}: {one.words}" for one in findings if one.level == level)


def with_status(directory: Path, **more: Any) -> None:
    status = {**STATUS, "boot_id": state.boot_id(), "version": __version__, **more}
    (directory / "status.json").write_text(json.dumps(status))


def test_a_good_server_has_no_findings_but_good_ones(tmp_path: Path) -> None:
    with_status(tmp_path)
    findings = examine(values(tmp_path), FakeSystem(tmp_path / "root"))
    assert {one.level for one in findings} == {"ok"}
    assert "answered 400 ms ago: standby, epoch 3" in words(findings, "ok")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"grants_refused": {"wrong_node": 5}}, "answers for another node"),
        ({"grants_refused": {"wrong_mac": 5}}, "wrong signature"),
        ({"frames_broken": 9}, "bytes arrive, but no good frames"),
        ({}, "nothing arrives"),
        ({"port_problem": "No such file or directory"}, "No such file or directory"),
    ],
)
def test_what_the_agent_knows_of_its_line(tmp_path: Path, status: dict[str, Any], expected: str) -> None:
    with_status(tmp_path, newest_grant_ms_ago=None, **status)
    bad = words(examine(values(tmp_path), FakeSystem(tmp_path)), "bad")
    assert expected in bad and bad.startswith("line: ")


def test_old_epochs_peers_and_probes_are_told(tmp_path: Path) -> None:
    with_status(tmp_path, epochs_refused=4, peer_seen=False, degraded="probes: web")
    findings = examine(values(tmp_path), FakeSystem(tmp_path))
    assert "lower epoch" in words(findings, "bad")
    assert "peer: " in words(findings, "warning") and "probes: web" in words(findings, "warning")


@pytest.mark.parametrize("change", [{"time_ns": 1}, {"boot_id": "other"}, {"time_ns": 10**13}])
def test_an_agent_that_is_gone_is_noticed(tmp_path: Path, change: dict[str, Any]) -> None:
    with_status(tmp_path, **change)
    assert "does not run, or hangs" in words(examine(values(tmp_path), FakeSystem(tmp_path)), "warning")


def test_keys_state_and_hooks(tmp_path: Path) -> None:
    with_status(tmp_path)
    system = FakeSystem(tmp_path)
    settings = values(tmp_path, hooks={"on_active": ["/no/such/program"]})
    (tmp_path / "key").chmod(0o644)
    (tmp_path / "epoch").write_text("x")
    bad = words(examine(settings, system), "bad")
    assert "others may read" in bad and "does not hold a number" in bad and "/no/such/program" in bad
    assert KEY.hex() not in bad
    assert "no check" in words(examine(settings, system), "warning")
    assert "no key" in words(examine(values(tmp_path, key_file=""), system), "warning")


def test_services_that_start_by_themselves_are_found(tmp_path: Path) -> None:
    with_status(tmp_path)
    hooks = {"on_active": ["/bin/true", "start", "x.target"], "check": ["/bin/true"]}
    outputs = {"--property=Wants": "db.service", "is-enabled": "enabled"}
    good = FakeSystem(tmp_path, **outputs, **{"--property=WantedBy": "x.target"})
    assert words(examine(values(tmp_path, hooks=hooks), good), "bad") == ""
    wrong = FakeSystem(tmp_path, **outputs, **{"--property=WantedBy": "multi-user.target x.target"})
    bad = words(examine(values(tmp_path, hooks=hooks), wrong), "bad")
    assert "db.service starts by itself" in bad and "x.target starts by itself" in bad


def test_probes_that_depend_on_a_name_server(tmp_path: Path) -> None:
    with_status(tmp_path)
    probes = [
        {"name": "db", "kind": "tcp", "host": "db.example", "port": 5432},
        {"name": "web", "kind": "http", "url": "http://web.example:8080/x"},
        {"name": "own", "kind": "tcp", "port": 22},
        {"name": "near", "kind": "http", "url": "http://[2001:db8::1]/"},
        {"name": "local", "kind": "http", "url": "http://localhost/"},
    ]
    found = words(examine(values(tmp_path, probes=probes), FakeSystem(tmp_path)), "warning")
    assert "probe db: db.example is a name" in found
    assert "probe web: web.example is a name" in found
    assert found.count("is a name") == 2


def test_ports(tmp_path: Path) -> None:
    with_status(tmp_path)
    system = FakeSystem(tmp_path)
    assert "No such file" in words(examine(values(tmp_path, port="/dev/none"), system), "bad")
    assert "not a device" in words(examine(values(tmp_path, port=str(tmp_path / "key")), system), "bad")
    system.put("proc/cmdline", "quiet console=null,115200n8 root=/dev/x")
    system.outputs = {"serial-getty": "active"}
    bad = words(examine(values(tmp_path, port="/dev/null"), system), "bad")
    assert "console of the kernel" in bad and "login prompt" in bad


def test_services_that_reach_for_the_port_are_named(tmp_path: Path) -> None:
    """Also where the port is away: one of them may have taken it."""
    with_status(tmp_path)
    away = FakeSystem(tmp_path, brltty="active", fwupd="active", ModemManager="active")
    found = words(examine(values(tmp_path, port="/dev/ttyUSB77"), away), "warning")
    for name in ("brltty takes", "fwupd looks", "ModemManager asks"):
        assert name in found
    quiet = words(examine(values(tmp_path, port="/dev/ttyUSB77"), FakeSystem(tmp_path)), "warning")
    assert "brltty" not in quiet


def test_a_second_reader_of_the_port_is_named_and_the_agent_is_none(tmp_path: Path) -> None:
    with_status(tmp_path)
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    code = "import os, sys; os.open(sys.argv[-1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
    try:
        for words_of in (["x"], ["agent", "run"]):
            command = [sys.executable, "-c", code, *words_of, path]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
                assert other.stdout is not None
                other.stdout.readline()
                system = FakeSystem(tmp_path)
                system.put(f"proc/{other.pid}/cmdline", "\0".join(command))
                bad = words(examine(values(tmp_path, port=path), system), "bad")
                assert (f"(pid {other.pid}) as well" in bad) is (words_of == ["x"])
    finally:
        os.close(master)
        os.close(slave)


def test_an_adapter_without_a_serial_number_is_known_by_its_path_and_one_of_several_ports_by_its_interface(
    tmp_path: Path,
) -> None:
    by_path = Adapter(path="pci-0000:00:14.0-usb-0:2:1.0").rules
    assert 'ENV{ID_PATH}=="pci-0000:00:14.0-usb-0:2:1.0", SYMLINK+="heartwire-node"' in by_path
    assert 'SUBSYSTEM=="usb"' not in by_path
    second = Adapter("FT4ABCDE", "", "01").rules
    assert 'ATTRS{serial}=="FT4ABCDE", ENV{ID_USB_INTERFACE_NUM}=="01", SYMLINK+="heartwire-node"' in second
    assert Adapter().rules == ""
    for wrong in (Adapter('x", RUN+="y'), Adapter(path="a b"), Adapter("x", interface="1")):
        with pytest.raises(SettingsError):
            plan(PROGRAM, adapter=wrong)


def test_what_the_adapter_at_a_port_is_known_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Sys(tmp_path)
    monkeypatch.setattr(ports, "SYS_TTY", made.tty)
    made.plug("ttyUSB0", "1-1", "usb-serial", idVendor="0403", idProduct="6001", serial="A50285BI")
    made.plug("ttyUSB1", "1-2", "usb-serial", idVendor="1a86", idProduct="7523")
    made.plug("ttyUSB2", "1-3", "usb-serial", idVendor="0403", idProduct="6011", serial="FT4ABCDE")
    made.plug("ttyUSB3", "1-3", "usb-serial")
    known = {"ID_PATH": "pci-0000:00:14.0-usb-0:2:1.0", "ID_USB_INTERFACE_NUM": "01"}
    assert adapter_of("/dev/ttyUSB0", lambda _: known) == Adapter("A50285BI")
    assert adapter_of("/dev/ttyUSB1", lambda _: known) == Adapter(path=known["ID_PATH"])
    assert adapter_of("/dev/ttyUSB3", lambda _: known) == Adapter("FT4ABCDE", "", "01")
    with pytest.raises(SettingsError, match="udev does not tell"):
        adapter_of("/dev/ttyUSB1", lambda _: {})


def test_lease_watchdog_and_clock(tmp_path: Path) -> None:
    with_status(tmp_path)
    system = FakeSystem(tmp_path)
    system.put("proc/cpuinfo", "flags : hypervisor\n")
    system.now_s = 1000.0
    findings = examine(values(tmp_path, on_board_loss="stop"), system)
    assert "proves nothing" in words(findings, "bad")
    assert "without a kernel watchdog" in words(findings, "warning") and "clock" in words(findings, "warning")
    findings = examine(values(tmp_path, watchdog="/dev/null", stop_timeout_s=7.5), system)
    assert "self_fence_ms for this node must be at least 17500" in words(findings, "ok")
    assert "missing" in words(examine(values(tmp_path, watchdog="/no/dog"), system), "bad")


class LineBoard:
    """A board on a pty, played by a thread; `twist` changes what it sends."""

    def __init__(self, board: FakeBoard, twist: str = "") -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._board = board
        self._twist = twist
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        port = FakePort(self._board)
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:
                return
            self._board.hear(data, port)
            answer, port.inbox = port.inbox, b""
            if self._twist == "echo":
                answer = data
            elif self._twist == "noise":
                answer = bytes(byte ^ 0x5A for byte in answer)
            if answer:
                os.write(self.master, answer)

    def close(self) -> None:
        os.close(self._slave)
        self._thread.join(10)
        os.close(self.master)


@pytest.mark.parametrize(
    ("twist", "level", "expected"),
    [
        ("", "ok", "the board answers"),
        ("silent", "bad", "nothing arrives"),
        ("noise", "bad", "bytes arrived"),
        ("echo", "bad", "come back"),
        ("node", "bad", "another node"),
        ("key", "bad", "wrong signature"),
    ],
)
def test_asking_the_board(twist: str, level: str, expected: str) -> None:
    board = FakeBoard(node=1 if twist == "node" else 0, key=bytes(32) if twist == "key" else KEY)
    board.silent = twist in ("silent", "echo")
    line = LineBoard(board, twist)
    port = SerialPort(line.path, 115_200)
    finding = ask_board(port, 0, KEY, answer_s=0.2)
    port.close()
    line.close()
    assert (finding.level, expected in finding.words) == (level, True), finding
    assert all(beat["flags"] == 0 for beat in board.beats), "the doctor's heartbeats must prove nothing"


def test_the_doctor_asks_only_while_no_agent_runs(tmp_path: Path) -> None:
    line = LineBoard(FakeBoard())
    settings = values(tmp_path, port=line.path)
    assert "the board answers" in words(examine(settings, FakeSystem(tmp_path)), "ok")
    with_status(tmp_path)
    assert "the board answers," not in words(examine(settings, FakeSystem(tmp_path)), "ok")
    taken = SerialPort(line.path, 115_200)
    (tmp_path / "status.json").unlink()
    assert "in use by another program" in words(examine(settings, FakeSystem(tmp_path)), "bad")
    taken.close()
    line.close()


def test_the_doctor_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    config.write_text(f'node = "a"\nport = "socket://127.0.0.1:{port}"\nstate_directory = "{tmp_path}"\n')
    assert main(["agent", "doctor", "--config", str(config)]) == 15
    assert "-> " in capsys.readouterr().out
    assert main(["agent", "doctor", "--json", "--config", str(config)]) == 15
    assert {"level", "subject", "words", "next_step"} == set(json.loads(capsys.readouterr().out)[0])
