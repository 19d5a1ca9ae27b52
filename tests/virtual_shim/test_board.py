"""The virtual board by itself: lines, watchdog, resets, scratch registers, flash, USB, heap."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from heartwire.virtual.board import VirtualBoard, id_of
from heartwire.virtual.errors import BoardTimeout, VirtualError
from heartwire.virtual.guardian import marked_processes
from tests.virtual_shim.console import FIRMWARE, Console

pytestmark = pytest.mark.virtual

MakeBoard = Callable[..., VirtualBoard]
EVERY_BYTE = bytes(range(256))


@pytest.mark.parametrize("node", ["a", "b", "spare"])
def test_each_line_carries_every_byte_both_ways(board: VirtualBoard, console: Console, node: str) -> None:
    assert console.ask("echo on") == "ok"
    with serial.Serial(str(board.line_path(node)), timeout=3) as port:
        for start in range(0, 384, 32):  # further than the ring of the PIO line is long
            chunk = EVERY_BYTE[start % 256 : start % 256 + 32]
            port.write(chunk)
            assert port.read(32) == chunk


def test_a_full_receive_buffer_loses_the_rest(board: VirtualBoard, console: Console) -> None:
    console.ask("echo off")
    for node in ("a", "b", "spare"):
        board.send_line(node, bytes(300))
    assert console.ask("waiting") == "[256, 256, 44]"  # a DMA ring does not stop: it overtakes the reader


def test_nothing_is_delivered_from_before_power_on(make_board: MakeBoard) -> None:
    board = make_board()
    board.send_line("a", b"too early")
    board.power_on()
    console = Console(board)
    console.ask("echo off")
    assert console.ask("waiting") == "[0, 0, 0]"


def test_inputs_follow_and_float_to_their_pull(board: VirtualBoard, console: Console) -> None:
    assert console.ask("inputs") == "111111"
    board.set_input("SENSE_A1", True)
    board.set_input("TRANSFER_AT_B", True)
    assert console.ask("inputs") == "011110"
    board.set_input("SENSE_A1", None)
    board.set_input("TRANSFER_AT_B", False)
    assert console.ask("inputs") == "111111"
    board.set_input("SENSE_B1", True)
    board.press_reset()
    assert Console(board).ask("inputs") == "110111"  # a chip that starts finds its inputs as they are
    with pytest.raises(VirtualError, match="POWER_A is not an input"):
        board.set_input("POWER_A", True)


def test_every_output_edge_has_its_time(board: VirtualBoard, console: Console) -> None:
    begin_ns = time.monotonic_ns()
    console.ask("pulse 13 15")
    end_ns = time.monotonic_ns()
    rise, fall = [edge for edge in board.edges if edge.signal == "TRANSFER_SET_A"]
    assert (rise.level, fall.level) == (1, 0)
    assert begin_ns < rise.at_ns < fall.at_ns < end_ns
    assert 13e6 < fall.at_ns - rise.at_ns < 40e6


def test_an_output_keeps_its_level_when_it_is_set_up_again(board: VirtualBoard, console: Console) -> None:
    console.ask("pin 6 1")
    console.ask("again 6")
    assert [edge.level for edge in board.edges if edge.signal == "POWER_A"] == [1]


def test_arm_is_seen_to_toggle_and_to_stop(board: VirtualBoard, console: Console) -> None:
    console.ask("arm on")
    before_ns = board.toggled_ns("ARM")
    assert time.monotonic_ns() - before_ns < 100e6
    console.ask("arm off")
    stopped_ns = board.toggled_ns("ARM")
    console.ask("pulse 14 60")
    assert board.toggled_ns("ARM") == stopped_ns


def test_a_hung_firmware_is_reset_by_the_watchdog(board: VirtualBoard, console: Console) -> None:
    console.ask("scratch 2 12345")
    console.ask("pin 6 1")
    console.ask("dog 400")
    fed_ns = time.monotonic_ns()
    console.send("hang")
    board.wait_output("POWER_A", False, 2)
    down_ns = board.edges[-1].at_ns - fed_ns
    assert 350e6 < down_ns < 900e6
    board.wait_for(lambda: board.boots == 2 and board.main_ns > board.started_ns)
    assert board.main_ns - fed_ns < 900e6
    assert board.watchdog_bites == 1
    again = Console(board)
    assert again.ask("who") == f"{id_of(board.directory).hex()} 3"
    assert again.ask("scratches") == "[0, 0, 12345, 0, 0, 0, 0, 0]"


def test_a_stopped_processor_is_reset_and_a_resumed_one_is_not(board: VirtualBoard, console: Console) -> None:
    console.ask("dog 400")
    board.hang()
    assert board.state == "hung"
    board.resume()
    assert console.ask("who") == f"{id_of(board.directory).hex()} 1"
    board.hang()
    board.wait_for(lambda: board.boots == 2, 2)
    assert board.watchdog_bites == 1


def test_a_fed_watchdog_does_not_bite(board: VirtualBoard, console: Console) -> None:
    console.ask("dog 60")
    console.ask("leak 3000")
    assert board.watchdog_bites == 0


def test_a_reset_by_the_firmware_keeps_scratch_and_a_power_cycle_clears_it(
    board: VirtualBoard, console: Console
) -> None:
    console.ask("scratch 0 7")
    console.send("reset")
    board.wait_for(lambda: board.boots == 2)
    console = Console(board)
    assert console.ask("scratches") == "[7, 0, 0, 0, 0, 0, 0, 0]"
    assert console.ask("who").endswith(" 3")
    board.power_off()
    board.power_on()
    console = Console(board)
    assert console.ask("scratches") == "[0, 0, 0, 0, 0, 0, 0, 0]"
    assert console.ask("who").endswith(" 1")
    console.ask("scratch 0 7")
    board.press_reset()
    assert Console(board).ask("scratches") == "[0, 0, 0, 0, 0, 0, 0, 0]"


def test_a_crashed_firmware_stays_silent_and_tells_why(board: VirtualBoard, console: Console) -> None:
    console.ask("pin 28 1")
    console.send("raise")
    board.wait_for(lambda: board.crashed is not None)
    assert board.state == "dead"
    assert board.crashed is not None and "ValueError: told to" in board.crashed
    assert board.output("GUARDING")  # pins keep their level in the REPL
    with pytest.raises(BoardTimeout):
        board.wait_for(lambda: board.boots > 1, 0.1)


def test_a_vm_that_dies_drops_the_outputs_and_is_seen(board: VirtualBoard, console: Console) -> None:
    console.ask("pin 28 1")
    assert board.vm_pid is not None
    os.kill(board.vm_pid, signal.SIGKILL)
    board.wait_output("GUARDING", False)
    board.wait_for(lambda: board.crashed is not None)
    assert board.state == "dead"


def test_the_boot_loader_is_left_by_a_power_cycle_only(board: VirtualBoard, console: Console) -> None:
    console.send("bootloader")
    board.wait_for(lambda: board.state == "bootloader")
    assert not board.usb_path.is_symlink()
    board.power_off()
    board.power_on()
    assert Console(board).ask("echo on") == "ok"


def test_the_firmware_sees_its_flash_and_nothing_else(console: Console) -> None:
    assert console.ask("ls") == "boot.py main.py toy ['', '.frozen', '/lib']"


def test_files_survive_every_power_cut(board: VirtualBoard, console: Console) -> None:
    for number in range(4):
        console.ask(f"append log entry{number}")
        board.power_off()
        board.power_on()
        console = Console(board)
        assert console.ask("read log") == "".join(f"entry{n}," for n in range(number + 1))
    board.power_off()
    assert board.flash.read("log") == b"entry0\nentry1\nentry2\nentry3\n"


@pytest.mark.parametrize("operation", [1, 2, 3, 5, 8, 13, 21])
def test_a_cut_half_way_through_a_flash_operation_keeps_whole_records(make_board: MakeBoard, operation: int) -> None:
    board = make_board()
    board.power_on()
    console = Console(board)
    console.ask("append log first")
    board.cut_power_at_flash_operation(operation)
    console.send("fill log 200")
    board.wait_for(lambda: board.state == "off")
    board.power_on()
    records = Console(board).ask("read log").split(",")
    assert records[0] == "first"
    assert records[-1] == ""
    assert records[1:-1] == [f"record {n:04d} {'x' * 40}" for n in range(len(records) - 2)]


def test_a_slow_erase_loses_all_but_a_fifo_of_bytes(make_board: MakeBoard) -> None:
    board = make_board(erase_ms=300)
    board.power_on()
    console = Console(board)
    console.ask("echo off")
    for node in ("a", "b"):
        board.send_line(node, b"0123456789")
    console.send("erase")
    board.wait_output("TRANSFER_SET_A", True)
    time.sleep(0.05)  # now the erase has certainly begun
    for _ in range(10):
        board.send_line("a", b"0123456789")
    board.send_line("b", b"0123456789")
    assert not board.output("TRANSFER_SET_B")
    assert console.port.readline() == b"ok\n"
    assert console.ask("waiting") == "[42, 20, 0]"
    assert console.ask("overruns") == "[1, 0]"
    assert console.ask("overruns") == "[0, 0]"


def test_a_new_firmware_replaces_the_old_and_keeps_data(make_board: MakeBoard, tmp_path: Path) -> None:
    board = make_board()
    board.flash.write("config", b"keep me")
    board.flash.write("toy/gone.py", b"stale")
    first = board.flash.names()
    assert {"toy/loop.mpy", "toy/pio_line.mpy", "boot.py", "main.py", "config", "toy/gone.py"} <= set(first)
    with VirtualBoard(board.directory, firmware_dir=FIRMWARE, compiled=False) as again:
        names = again.flash.names()
        assert again.flash.read("config") == b"keep me"
    assert "toy/loop.py" in names
    assert not [name for name in names if name.endswith(".mpy") or "gone" in name]


def test_usb_vanishes_and_returns(board: VirtualBoard, console: Console) -> None:
    board.usb_unplug()
    assert not board.usb_path.is_symlink()
    with pytest.raises(serial.SerialException):
        console.port.read(1)
    assert board.state == "off" or board.boots == 1
    board.usb_plug()
    assert Console(board).ask("who") == f"{id_of(board.directory).hex()} 1"
    assert board.boots == 1


def test_unplugging_takes_the_power_of_a_bus_powered_board(board: VirtualBoard, console: Console) -> None:
    console.ask("pin 6 1")
    board.unplug()
    assert board.state == "off"
    assert not board.output("POWER_A")
    with pytest.raises(serial.SerialException):
        console.port.read(1)
    board.plug()
    assert Console(board).ask("who").endswith(" 1")
    assert board.boots == 2


def test_a_self_powered_board_runs_on_without_usb(make_board: MakeBoard) -> None:
    board = make_board(self_powered=True)
    board.power_on()
    Console(board).ask("pin 6 1")
    board.unplug()
    assert board.state == "running"
    assert board.output("POWER_A")
    board.plug()
    assert Console(board).ask("who").endswith(" 1")
    assert board.boots == 1


def test_nothing_said_without_a_listener_is_heard_later(board: VirtualBoard, console: Console) -> None:
    console.send("flood 20000")
    console.port.read(100)
    console.port.close()
    again = Console(board)
    again.port.timeout = 0.3
    rest = again.port.read(30000)
    assert len(rest) < 20000
    again.port.timeout = 3
    assert again.ask("echo on") == "ok"


def test_a_host_that_does_not_read_does_not_stop_the_loop(board: VirtualBoard, console: Console) -> None:
    console.ask("dog 300")
    console.send("flood 100000")
    with serial.Serial(str(board.line_path("b")), timeout=3) as port:
        for _ in range(20):
            port.write(b"still here")
            assert port.read(10) == b"still here"
    assert board.watchdog_bites == 0


def test_what_is_printed_to_nobody_is_in_the_log(board: VirtualBoard, console: Console) -> None:
    console.send("say")
    console.port.close()
    end_s = time.monotonic() + 3
    while not board.log_text().endswith("\n") and time.monotonic() < end_s:
        time.sleep(0.005)
    assert board.log_text() == "does anybody hear?\n"


def test_a_large_answer_arrives_whole(console: Console) -> None:
    assert console.ask("flood 100000") == "x" * 100000


def test_idle_turns_allocate_nothing(board: VirtualBoard, console: Console) -> None:
    console.ask("dog 8000")
    assert console.ask("leak 10000") == "0"


def test_no_process_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from heartwire.virtual.board import VirtualBoard, id_of\n"
        f"board = VirtualBoard(None, firmware_dir={str(FIRMWARE)!r}); board.power_on()\n"
        "board.wait_usb(); board.hang()\n"
        "print(board.vm_pid, board.yard.mark, board.directory, flush=True); sys.stdin.read()\n"
    )
    path = os.pathsep.join(sys.path)
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert owner.stdout is not None
    _, mark, directory = owner.stdout.readline().decode().split()
    assert marked_processes(mark)
    owner.kill()
    owner.communicate()
    end_s = time.monotonic() + 3
    while (marked_processes(mark) or Path(directory).exists()) and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not marked_processes(mark)
    assert not Path(directory).exists()


def test_closing_leaves_nothing(make_board: MakeBoard) -> None:
    board = VirtualBoard(None, firmware_dir=FIRMWARE)
    board.power_on()
    board.wait_usb()
    board.close()
    board.close()
    assert board.state == "closed"
    assert not board.directory.exists()
    assert not marked_processes(board.yard.mark)
