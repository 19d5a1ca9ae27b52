"""The rack around the board: power, relays and sense, servers and their processes, cables and faults."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.cable import TO_BOARD, TO_SERVER
from heartwire.virtual.errors import BoardTimeout
from heartwire.virtual.guardian import marked_processes
from heartwire.virtual.rack import Rack
from heartwire.virtual.server import Server
from tests.virtual_shim.console import Console

pytestmark = pytest.mark.virtual

MakeRack = Callable[..., Rack]
MakeBoard = Callable[..., VirtualBoard]
BEATER = Path(__file__).parent / "beater.py"


def beat(server: Server) -> list[str]:
    """Return the command of a beating server."""
    return [sys.executable, str(BEATER), str(server.port)]


def quiet(node: str, **options: object) -> Server:
    """Return a server whose program does nothing."""
    return Server(node, ["sleep", "600"], boot_ms=10, **options)  # type: ignore[arg-type]


@pytest.fixture
def make_rack(make_board: MakeBoard) -> Iterator[MakeRack]:
    """Make racks around boards with the toy firmware that are closed at the end."""
    racks: list[Rack] = []

    def make(*servers: Server, **options: object) -> Rack:
        rack = Rack(make_board(), servers, **options)  # type: ignore[arg-type]
        racks.append(rack)
        rack.start()
        return rack

    yield make
    for rack in racks:
        rack.close()


def running(rack: Rack, node: str = "a") -> Server:
    """Wait until a server runs its program."""
    server = rack.servers[node]
    rack.wait_for(lambda: server.state == "running", 5, f"server {node}")
    return server


def processes_of(rack: Rack, node: str) -> list[int]:
    """Return the processes of a server."""
    return marked_processes(f"{rack.board.yard.mark}/server-{node}")


def wait_until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    """Wait for something that makes no event."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_cutting_power_kills_every_process_and_the_sense_follows(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", beat, boot_ms=20), quiet("b"))
    server = running(rack)
    running(rack, "b")
    rack.wait_event("sense a", "feed 1 on")
    wait_until(lambda: "child" in server.log_text())
    assert len(processes_of(rack, "a")) == 2
    console = Console(rack.board)
    assert console.ask("inputs")[0] == "0"
    console.ask("pin 6 1")
    off = rack.wait_event("power a", "off")
    dead = rack.wait_event("server a", "off")
    assert processes_of(rack, "a") == []
    sense = rack.wait_event("sense a", "feed 1 off")
    assert off.at_ns <= dead.at_ns < sense.at_ns
    assert 170e6 < sense.at_ns - off.at_ns < 400e6
    assert console.ask("inputs")[0] == "1"
    assert rack.servers["b"].state == "running"
    console.ask("pin 6 0")
    rack.wait_for(lambda: server.boots == 2 and server.state == "running")
    wait_until(lambda: console.ask("inputs")[0] == "0")


def test_a_relay_works_only_while_arm_toggles(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    console = Console(rack.board)
    console.ask("arm off")
    rack.wait_for(lambda: not rack.pump.charged)
    console.ask("pin 6 1")
    assert rack.supplies["a"].powered
    console.ask("arm on")
    rack.wait_event("relay a", "contact open")
    console.ask("arm off")
    rack.wait_event("relay a", "contact closed")
    assert rack.board.output("POWER_A")
    assert rack.supplies["a"].powered


@pytest.mark.parametrize("end", ["hang", "power_off", "press_reset", "unplug"])
def test_a_board_that_dies_lets_go(make_rack: MakeRack, end: str) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    Console(rack.board).ask("pin 6 1")
    rack.wait_event("power a", "off")
    getattr(rack.board, end)()
    rack.wait_event("relay a", "contact closed", 2)
    assert rack.supplies["a"].powered


def test_a_welded_relay_and_a_hidden_feed_keep_the_server_alive(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"), quiet("b"))
    running(rack), running(rack, "b")
    rack.wait_event("sense b", "on")
    rack.supplies["a"].weld()
    rack.supplies["b"].add_hidden_feed()
    console = Console(rack.board)
    console.ask("pin 6 1")
    console.ask("pin 7 1")
    rack.wait_event("relay a", "contact open")
    rack.wait_event("sense b", "feed 1 off")
    assert rack.servers["a"].state == rack.servers["b"].state == "running"
    rack.supplies["b"].remove_hidden_feed()
    assert rack.servers["b"].state == "off"
    rack.supplies["a"].weld(False)
    assert rack.servers["a"].state == "off"


def test_a_second_feed_has_its_own_sense_and_mains(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a", feeds=2))
    running(rack)
    console = Console(rack.board)
    wait_until(lambda: console.ask("inputs")[:2] == "00")
    rack.supplies["a"].set_mains(False, feed=2)
    rack.wait_event("sense a", "feed 2 off")
    assert console.ask("inputs")[:2] == "01"
    assert rack.servers["a"].state == "running"


def test_a_stuck_sense_reads_what_it_is_stuck_at(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    console = Console(rack.board)
    rack.wait_event("sense a", "on")
    rack.supplies["a"].stick_sense(False)
    assert console.ask("inputs")[0] == "1"
    rack.supplies["a"].stick_sense(True)
    console.ask("pin 6 1")
    rack.wait_event("server a", "off")
    with pytest.raises(BoardTimeout):
        rack.wait_for(lambda: console.ask("inputs")[0] == "1", 0.3)
    rack.supplies["a"].stick_sense(None)
    assert console.ask("inputs")[0] == "1"


def test_the_port_stays_while_servers_and_board_restart(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", beat, boot_ms=20))
    server = running(rack)
    target = server.port.resolve()
    for _ in range(2):
        before = server.log_text().count("heard")
        wait_until(lambda before=before: server.log_text().count("heard") > before)  # type: ignore[misc]
        rack.board.press_reset()
        server.reset()
        rack.wait_for(lambda: server.state == "running")
    assert server.port.resolve() == target
    assert "Traceback" not in server.log_text()


def test_a_panic_needs_a_power_cycle_or_a_reset_pulse(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", beat, boot_ms=20, respawn_ms=10))
    server = running(rack)
    server.crash()
    assert processes_of(rack, "a") == []
    assert (server.state, server.powered) == ("panicked", True)
    with pytest.raises(BoardTimeout):
        rack.wait_for(lambda: server.state != "panicked", 0.15)
    console = Console(rack.board)
    console.ask("pulse 10 30")
    rack.wait_for(lambda: server.boots == 2 and server.state == "running")
    server.crash()
    console.ask("pin 6 1")
    rack.wait_event("power a", "off")
    console.ask("pin 6 0")
    rack.wait_for(lambda: server.boots == 3 and server.state == "running")


def test_a_frozen_server_is_silent_until_thawed_and_dies_with_its_power(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", beat, boot_ms=20))
    server = running(rack)
    wait_until(lambda: "heard" in server.log_text())
    server.freeze()
    before = server.log_text()
    time.sleep(0.1)
    assert server.log_text() == before
    server.thaw()
    wait_until(lambda: server.log_text() != before)
    server.freeze()
    rack.supplies["a"].set_mains(False)
    assert processes_of(rack, "a") == []


def test_an_ended_program_is_an_event_and_may_come_back(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", ["false"], boot_ms=5), Server("b", ["true"], boot_ms=5, respawn_ms=10))
    rack.wait_event("server a", "program ended with 1")
    rack.wait_for(lambda: sum("program ended with 0" in event.text for event in list(rack.events)) >= 3)
    assert rack.servers["a"].state == "halted"


def test_the_power_button_shuts_down_and_switches_on(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a", front="power"))
    server = running(rack)
    console = Console(rack.board)
    console.ask("pulse 10 30")
    rack.wait_event("server a", "program ended with -15")
    rack.wait_for(lambda: server.state == "off")
    assert server.powered
    console.ask("pulse 10 30")
    rack.wait_for(lambda: server.boots == 2 and server.state == "running")


class Ends:
    """Both ends of a node's cable, with nothing else on them."""

    def __init__(self, rack: Rack, node: str) -> None:
        self.rack = rack
        self.port = serial.Serial(str(rack.servers[node].port), timeout=0.15)

    def echo(self, data: bytes) -> bytes:
        """Send bytes and return what the board sends back."""
        self.port.reset_input_buffer()
        self.port.write(data)
        return bytes(self.port.read(len(data)))


def test_cable_faults(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"), quiet("b"))
    running(rack), running(rack, "b")
    console = Console(rack.board)
    console.ask("echo on")
    a, b = Ends(rack, "a"), Ends(rack, "b")
    cable = rack.cables["a"]
    assert a.echo(b"hello") == b"hello"
    cable.cut()
    assert a.echo(b"hello") == b""
    assert b.echo(b"there") == b"there"
    cable.mend()
    assert a.echo(b"hello") == b"hello"
    console.ask("echo off")
    cable.one_way(TO_BOARD)
    a.port.write(b"1234")
    wait_until(lambda: console.ask("waiting") == "[4, 0, 0]")
    console.ask("echo on")
    assert a.echo(b"hello") == b""
    cable.one_way(TO_SERVER)
    assert a.echo(b"hello") == b""
    cable.mend()
    console.ask("echo off")
    cable.swap(rack.cables["b"])
    a.port.write(b"12")
    b.port.write(b"345")
    wait_until(lambda: console.ask("waiting") == "[3, 2, 0]")
    rack.cables["b"].mend()
    a.port.write(b"1")
    wait_until(lambda: console.ask("waiting") == "[4, 2, 0]")


def test_noise_is_reproducible(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    Console(rack.board).ask("echo on")
    a = Ends(rack, "a")
    cable = rack.cables["a"]
    text = bytes(200)
    heard = []
    for seed in (1, 1, 2):
        cable.noise(0.2, seed)
        heard.append(a.echo(text))
    assert len(heard[0]) == 200
    assert heard[0] != text
    assert heard[0] == heard[1] != heard[2]
    cable.noise(0)
    assert a.echo(text) == text


def test_a_sender_cannot_exceed_the_baud_rate(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"), baud=115200)
    running(rack)
    port = serial.Serial(str(rack.servers["a"].port), write_timeout=0.5)
    got = []
    rack.board.chip.send_line = lambda node, data: got.append(len(data))  # type: ignore[method-assign]
    begin_s = time.monotonic()
    with pytest.raises(serial.SerialTimeoutException):
        port.write(bytes(50000))
    elapsed_s = time.monotonic() - begin_s
    assert 0.3 * 11520 * elapsed_s < sum(got) < 1.1 * 11520 * elapsed_s + 64


def test_a_server_that_starts_hears_nothing_from_before(make_rack: MakeRack) -> None:
    rack = make_rack(Server("a", lambda server: ["cat", str(server.port)], boot_ms=20))
    server = running(rack)
    console = Console(rack.board)
    rack.board.send_line("a", b"fresh\n")
    wait_until(lambda: server.log_text() == "fresh\n")
    server.crash()
    rack.board.send_line("a", b"stale\n")
    assert console.ask("waiting") == "[0, 0, 0]"
    server.reset()
    rack.wait_for(lambda: server.boots == 2 and server.state == "running")
    rack.board.send_line("a", b"fresh\n")
    wait_until(lambda: server.log_text() == "fresh\nfresh\n")


def test_a_cable_carries_nothing_while_the_server_has_no_power(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    a = Ends(rack, "a")
    assert a.echo(b"hello") == b"hello"
    rack.supplies["a"].set_mains(False)
    assert a.echo(b"hello") == b""
    assert rack.cables["a"].dropped == 5
    rack.supplies["a"].set_mains(True)
    running(rack)
    assert a.echo(b"hello") == b"hello"


def test_the_transfer_relay_latches_and_reads_back(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    console = Console(rack.board)
    assert console.ask("inputs")[-2:] == "01"
    console.ask("pulse 14 4")
    console.ask("pulse 28 20")
    assert rack.transfer.position == "a"
    console.ask("pulse 14 30")
    assert rack.transfer.position == "b"
    assert console.ask("inputs")[-2:] == "10"
    rack.board.power_off()
    assert rack.transfer.position == "b"
    rack.board.power_on()
    console = Console(rack.board)
    rack.transfer.jam()
    console.ask("pulse 13 30")
    assert console.ask("inputs")[-2:] == "10"


def test_the_timeline_is_in_order_and_names_everything(make_rack: MakeRack) -> None:
    rack = make_rack(quiet("a"))
    running(rack)
    Console(rack.board).ask("pin 6 1")
    rack.wait_event("sense a", "off")
    timeline = rack.timeline()
    assert [event.at_ns for event in timeline] == sorted(event.at_ns for event in timeline)
    told = [(event.source, event.text) for event in timeline]
    expected = [
        ("power a", "on"),
        ("server a", "booting"),
        ("server a", "running"),
        ("board", "POWER_A on"),
        ("relay a", "coil on"),
        ("relay a", "contact open"),
        ("power a", "off"),
        ("server a", "off"),
        ("sense a", "feed 1 off"),
    ]
    positions = [told.index(item) for item in expected]
    assert positions == sorted(positions)
