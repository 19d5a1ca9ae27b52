"""Which of the plugged-in devices is a board: a made-up sysfs with other devices, whole and half gone."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from heartwire import ports
from heartwire.errors import BoardNotFound

ONE = ports.Port("/dev/ttyACM0", "E66118604B5C4A2A", "Board in FS mode", "1-2")
TWO = ports.Port("/dev/ttyACM1", "E66118604B00FFFF", "Board in FS mode", "1-3")


@pytest.mark.parametrize(
    ("said", "environment", "plugged", "path"),
    [
        (None, None, [ONE], "/dev/ttyACM0"),
        (None, "/dev/ttyX", [ONE, TWO], "/dev/ttyX"),
        ("/dev/ttyY", "/dev/ttyX", [ONE], "/dev/ttyY"),
        ("id:E66118604B5C", None, [ONE, TWO], "/dev/ttyACM0"),
        ("id:e66118604b00ffff", None, [ONE, TWO], "/dev/ttyACM1"),
    ],
)
def test_which_board(
    monkeypatch: pytest.MonkeyPatch, said: str | None, environment: str | None, plugged: list[ports.Port], path: str
) -> None:
    monkeypatch.setattr(ports, "list_ports", lambda: plugged)
    if environment:
        monkeypatch.setenv(ports.ENVIRONMENT, environment)
    assert ports.resolve(said) == path


@pytest.mark.parametrize(
    ("said", "plugged", "words"),
    [
        (None, [], "no board is plugged in"),
        (None, [ONE, TWO], "2 boards are plugged in: id:E66118604B5C4A2A"),
        ("id:E6", [ONE, TWO], "2 boards have a USB serial number that starts so"),
        ("id:FF", [ONE], "no board with USB serial number FF"),
        ("id:", [ONE], "no board with USB serial number"),
    ],
)
def test_which_board_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, said: str | None, plugged: list[ports.Port], words: str
) -> None:
    monkeypatch.setattr(ports, "list_ports", lambda: plugged)
    with pytest.raises(BoardNotFound, match=words):
        ports.resolve(said)


class Sys:
    """A made-up sysfs with its device files."""

    def __init__(self, folder: Path) -> None:
        self.tty = folder / "class" / "tty"
        self.dev = folder / "dev"
        self._devices = folder / "devices"
        self._buses = folder / "bus"
        for made in (self.tty, self.dev, self._devices, self._buses / "usb", self._buses / "usb-serial"):
            made.mkdir(parents=True)

    def plug(self, tty: str, location: str, bus: str = "usb", **attributes: str) -> Path:
        """Plug a device in; `attributes` are the files of its USB device, whose folder is returned."""
        device = self._devices / location
        device.mkdir(exist_ok=True)
        for name, text in attributes.items():
            (device / name).write_text(text + "\n")
        below = device / f"{location}:1.0"
        if bus == "usb-serial":
            below = below / tty
        below.mkdir(parents=True, exist_ok=True)
        (below / "subsystem").symlink_to(self._buses / bus)
        (self.tty / tty).mkdir()
        (self.tty / tty / "device").symlink_to(below)
        (self.dev / tty).touch()
        return device


@pytest.fixture
def sys_tty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sys:
    made = Sys(tmp_path)
    monkeypatch.setattr(ports, "SYS_TTY", made.tty)
    monkeypatch.setattr(ports, "DEV", made.dev)
    monkeypatch.delenv(ports.ENVIRONMENT, raising=False)
    return made


PICO = {"idVendor": "2e8a", "idProduct": "0005", "serial": "E66118604B5C4A2A", "product": "Board in FS mode"}
PROBE = {"idVendor": "2e8a", "idProduct": "000c", "serial": "E6614103E7174523", "product": "Debug Probe (CMSIS-DAP)"}
ADAPTER = {"idVendor": "0403", "idProduct": "6001", "serial": "A50285BI", "product": "FT232R USB UART"}


def test_a_board_is_found_beside_whatever_else_is_plugged_in(sys_tty: Sys) -> None:
    sys_tty.plug("ttyACM0", "1-1", **PROBE)
    sys_tty.plug("ttyACM1", "1-2", **PICO)
    sys_tty.plug("ttyUSB0", "1-3", "usb-serial", **ADAPTER)
    (sys_tty.tty / "ttyS0").mkdir()  # of a platform device that is not there: no link
    (sys_tty.tty / "tty").mkdir()
    expected = ports.Port(str(sys_tty.dev / "ttyACM1"), "E66118604B5C4A2A", "Board in FS mode", "1-2")
    assert ports.list_ports() == [expected]
    assert ports.resolve(None) == expected.path


@pytest.mark.parametrize("bus", ["usb", "usb-serial"])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"idVendor": "0403"},
        {"idProduct": "6001"},
        {"idVendor": "", "idProduct": ""},
        {"idVendor": "04z3", "idProduct": "6001"},
        {"idVendor": "2e8a"},
        {"idVendor": "\xff\xfe", "idProduct": "6001"},
    ],
)
def test_a_device_that_is_half_gone_hides_no_board(sys_tty: Sys, bus: str, attributes: dict[str, str]) -> None:
    sys_tty.plug("ttyUSB0", "1-1", bus, **attributes)
    sys_tty.plug("ttyACM0", "1-2", **PICO)
    assert [port.path for port in ports.list_ports()] == [str(sys_tty.dev / "ttyACM0")]


def test_a_device_that_goes_while_it_is_looked_at_hides_no_board(sys_tty: Sys) -> None:
    gone = sys_tty.plug("ttyUSB0", "1-1", "usb-serial")
    for name in ("idVendor", "idProduct"):
        (gone / name).mkdir()  # reading it is an error, as from a device that has just gone
    (sys_tty.tty / "ttyUSB1").mkdir()
    (sys_tty.tty / "ttyUSB1" / "device").symlink_to(sys_tty.tty / "nowhere")
    (sys_tty.tty / "ttyUSB2").mkdir()
    (sys_tty.tty / "ttyUSB2" / "device").symlink_to("device")  # a loop
    sys_tty.plug("ttyACM0", "1-2", **PICO)
    assert len(ports.list_ports()) == 1


def test_the_texts_of_other_devices_are_not_waited_for(sys_tty: Sys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives a text only when a reset of the device is over, and one may hang for ever."""
    read: list[str] = []
    real = Path.read_text

    def note(self: Path, *args: str, **kwargs: str) -> str:
        read.append(f"{self.parent.name}/{self.name}")
        return real(self, *args, **kwargs)

    sys_tty.plug("ttyUSB0", "1-1", "usb-serial", **ADAPTER)
    sys_tty.plug("ttyACM0", "1-2", **PICO)
    monkeypatch.setattr(Path, "read_text", note)
    assert len(ports.list_ports()) == 1
    assert {entry for entry in read if entry.startswith("1-1/")} == {"1-1/idVendor", "1-1/idProduct"}


def test_a_board_without_texts_is_still_one(sys_tty: Sys) -> None:
    sys_tty.plug("ttyACM0", "1-2", idVendor="2e8a", idProduct="0005")
    assert ports.list_ports() == [ports.Port(str(sys_tty.dev / "ttyACM0"), "", "ttyACM0", "1-2")]


def test_without_a_device_file_there_is_no_port(sys_tty: Sys) -> None:
    sys_tty.plug("ttyACM0", "1-2", **PICO)
    (sys_tty.dev / "ttyACM0").unlink()
    assert ports.list_ports() == []


def test_what_a_port_is_by_any_of_its_names(sys_tty: Sys) -> None:
    sys_tty.plug("ttyACM0", "1-1", **PROBE)
    sys_tty.plug("ttyACM1", "1-2", **PICO)
    sys_tty.plug("ttyUSB0", "1-3", "usb-serial")
    named = sys_tty.dev / "heartwire-E66118604B5C4A2A"
    named.symlink_to("ttyACM1")
    assert ports.stranger(str(named)) == ""
    assert ports.stranger(str(sys_tty.dev / "ttyACM1")) == ""
    assert ports.stranger(str(sys_tty.dev / "ttyACM0")) == "Debug Probe (CMSIS-DAP) (2e8a:000c)"
    for other in ("ttyUSB0", "ttyS0"):
        assert ports.stranger(str(sys_tty.dev / other)) == "not the USB port of a board"
    master, slave = os.openpty()
    assert ports.stranger(os.ttyname(slave)) == "not the USB port of a board"
    os.close(master)
    os.close(slave)


def test_without_sysfs_pyserial_is_asked(sys_tty: Sys, monkeypatch: pytest.MonkeyPatch) -> None:
    from serial.tools import list_ports

    board = SimpleNamespace(
        device="/dev/cu.1", vid=0x2E8A, pid=5, serial_number=None, product=None, description="x", location=None
    )
    probe = SimpleNamespace(**{**vars(board), "device": "/dev/cu.2", "pid": 0xC})
    none = SimpleNamespace(device="/dev/cu.3", vid=None, pid=None)
    monkeypatch.setattr(list_ports, "comports", lambda: [none, probe, board])
    monkeypatch.setattr(ports, "SYS_TTY", sys_tty.tty / "nowhere")
    assert ports.list_ports() == [ports.Port("/dev/cu.1", "", "x", "")]
    assert [ports.stranger(f"/dev/cu.{number}") for number in (1, 2)] == ["", "not the USB port of a board"]

    def broken() -> None:
        raise TypeError("int() can't convert non-string with explicit base")

    monkeypatch.setattr(list_ports, "comports", broken)
    with pytest.raises(BoardNotFound, match="cannot be listed"):
        ports.resolve(None)
