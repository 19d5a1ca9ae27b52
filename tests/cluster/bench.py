"""A board in fencer mode with two servers around it, and calls of the real agent program against it.

The board runs the real firmware on the real MicroPython VM; both servers run the product's own agent on their serial
lines, so that the board hears them and has seen their power on: without that it can prove nothing.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from heartwire.board import Board
from heartwire.broker import places
from heartwire.errors import HeartwireError, PortBusy
from heartwire.journal import Entry
from heartwire.keys import Keys
from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.rack import Rack
from heartwire.virtual.server import Server
from heartwire_protocol import codes
from heartwire_protocol import settings as contract

NAMES = {"a": "alpha", "b": "beta"}
# Short times: the board allows them on a bench only, and says so in its status.
TIMES = {
    "interval_ms": 100,
    "early_ms": 10,
    "late_ms": 400,
    "common_cause_ms": 100,
    "dead_ms": 1500,
    "good_count": 2,
    "lease_ms": 1500,
    "off_stable_ms": 200,
    "off_timeout_ms": 2000,
    "off_ms": 1000,
}


def program(name: str) -> str:
    """Return the path of a program that is installed beside this Python."""
    return str(Path(sys.executable).parent / name)


def settings_text(mode_of_proof: str = "sense", **board: int) -> str:
    """Return settings of a bench board with nodes a (alpha) and b (beta)."""
    values: dict[str, object] = {"board.name": "bench", "board.bench": 1, "board.hold_max_s": 300}
    values |= {f"board.{name}": value for name, value in {**TIMES, **board}.items()}
    for node, name in NAMES.items():
        values |= {f"node.{node}.name": name, f"node.{node}.quarantine": "clean_start"}
        if mode_of_proof == "assumed":
            values |= {
                f"node.{node}.off_proof": "assumed",
                f"node.{node}.senses": 0,
                f"node.{node}.on_board_loss": "stop",
                f"node.{node}.self_fence_ms": 400,
                f"node.{node}.assumed_off_ms": 2000,
            }
    return "".join(f"{path}={value}\n" for path, value in values.items())


def agent_command(server: Server) -> list[str]:
    """Return the command that keeps a server's heartbeats coming."""
    return [
        *(program("heartwire"), "agent", "run", "--node", server.node, "--port", str(server.port)),
        *("--interval-ms", str(TIMES["interval_ms"]), "--state-directory", str(server.directory / "state")),
    ]


@dataclasses.dataclass
class Outcome:
    """How a call of the agent ended."""

    code: int
    output: str
    errors: str
    seconds: float


class Bench:
    """The board, its rack, and the agent program aimed at it."""

    def __init__(
        self,
        directory: Path,
        command: Callable[[Server], list[str]] = agent_command,
        *,
        text: str | None = None,
        mode: str = "fencer",
        unlocked_by: str = "",
        start: bool = True,
    ) -> None:
        """Make it all in `directory`, with the settings of `text`; `unlocked_by` is its operate key, if it has one.

        Without `start` the board runs, and `start()` gives the servers their power.
        """
        self.directory = directory
        self.keys = Keys({codes.RIGHT_OPERATE: unlocked_by} if unlocked_by else {})
        self.board = VirtualBoard(directory / "board")
        self.servers = {node: Server(node, command, boot_ms=50) for node in NAMES}
        self.rack = Rack(self.board, list(self.servers.values()), discharge_ms=100)
        try:
            self._set_up(text or settings_text())
            if start:
                self.start(mode)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> str:
        """The path of the board's USB port."""
        return str(self.board.usb_path)

    def _set_up(self, text: str) -> None:
        self.board.power_on()
        self.board.wait_usb()
        wanted, problems = contract.parse(text)
        assert not problems, problems
        with Board.open(self.port) as board:  # new: it has no key yet
            board.apply_settings(wanted)

    def start(self, mode: str) -> None:
        """Give both servers power, and set the mode."""
        self.rack.start(board=False)
        self.set_mode(mode)

    def set_mode(self, mode: str) -> None:
        """Change the board's mode with the key switch turned."""
        self.board.set_input("KEY", True)
        self.until(lambda board: board.status().key, "the key switch")
        with Board.open(self.port, keys=self.keys) as board:
            board.set_mode(mode)
        self.board.set_input("KEY", False)

    def wait_good(self, *nodes: str, timeout_s: float = 15) -> None:
        """Wait until the board hears `nodes` (default: both) and reads their power on."""
        wanted = nodes or tuple(NAMES)

        def good(board: Board) -> bool:
            found = [board.node(node) for node in wanted]
            return all(node.verdict == "good" and node.power == "on" for node in found)

        self.until(good, f"{' and '.join(wanted)} good and on", timeout_s)

    def until(self, condition: Callable[[Board], bool], what: str, timeout_s: float = 10) -> None:
        """Wait until `condition` holds for the board; other programs may use its port meanwhile."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with Board.open(self.port, keys=self.keys) as board:
                    if condition(board):
                        return
            except HeartwireError as error:
                what = f"{what} ({error.words})" if time.monotonic() >= deadline else what
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{what} did not come within {timeout_s} s\n{self.story()}")
            time.sleep(0.05)

    def story(self) -> str:
        """Return what happened so far, for a failing test."""
        deadline = time.monotonic() + 10
        while True:
            try:
                with Board.open(self.port, keys=self.keys) as board:
                    entries = [item.sentence() if isinstance(item, Entry) else str(item) for item in board.events()]
                break
            except PortBusy as error:  # the cluster looks after its fence device meanwhile
                entries = [str(error)]
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.1)
        consoles = [f"server {node}: {server.log_text()[-1500:]}" for node, server in self.servers.items()]
        return "\n".join([*entries, *consoles])

    def arguments(self, **values: object) -> dict[str, str]:
        """Return agent arguments by their names on standard input, the board's address among them."""
        return {name: str(value) for name, value in {"board": self.port, **values}.items()}

    def by_stdin(self, timeout_s: float = 60, **values: object) -> Outcome:
        """Call the agent as a cluster does."""
        text = "".join(f"{name}={value}\n" for name, value in self.arguments(**values).items())
        return call([], text, timeout_s)

    def by_command_line(self, timeout_s: float = 60, **values: object) -> Outcome:
        """Call the agent as a person does, with the options that its metadata names."""
        return call([option(name, value) for name, value in self.arguments(**values).items()], "", timeout_s)

    def restore(self) -> None:
        """Bring both servers back to power, heartbeats and no quarantine."""
        with Board.open(self.port, keys=self.keys) as board:
            for node in board.nodes():
                if node.fence != "idle":
                    board.release(node.node)
        self.wait_good()
        with Board.open(self.port, keys=self.keys) as board:
            for node in board.nodes():
                if node.role == "quarantined":
                    board.clear(node.node)

    def powered(self, node: str) -> bool:
        """Tell whether a server really has power, whatever the board thinks."""
        return self.servers[node].powered

    def close(self) -> None:
        """End everything."""
        self.rack.close()
        self.board.close()


def option(name: str, value: str) -> str:
    """Return the long option of an argument."""
    return f"--{'port' if name == 'board' else name.replace('_', '-')}={value}"


def call(arguments: list[str], text: str, timeout_s: float = 60) -> Outcome:
    """Run the agent program and return how it ended."""
    began = time.monotonic()
    ours = places.ENVIRONMENT  # the tests', which says whether ports are shared here
    environment = {
        name: value for name, value in os.environ.items() if name == ours or not name.startswith("HEARTWIRE_")
    }
    done = subprocess.run(
        [program("fence_heartwire"), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
