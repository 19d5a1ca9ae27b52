"""The product on a virtual rack: the real firmware on a virtual board, real agents on virtual servers, keys and
settings.

Used by `heartwire demo`, `heartwire virtual` and the virtual tests. It only sets the scene; what happens then is the
product's doing. Timings are bench timings, five to ten times faster than a rack's, so that a failover can be watched.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heartwire import config, keys, settings_transfer
from heartwire.board import Board
from heartwire.errors import HeartwireError, NotAllowed, UsageProblem
from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.errors import BoardTimeout
from heartwire.virtual.rack import Rack
from heartwire.virtual.server import Server

SERVICE = Path(__file__).with_name("service.sh")
# Bench timings in ms: a heartbeat each 200 ms, dead after 2 s.
TIMINGS = {
    "interval_ms": 200,
    "early_ms": 50,
    "late_ms": 700,
    "dead_ms": 2000,
    "common_cause_ms": 300,
    "lease_ms": 1500,
    "cold_start_ms": 6000,
    "drain_ms": 3000,
    "off_stable_ms": 250,
    "off_timeout_ms": 3000,
    "off_ms": 1500,
    "hold_max_s": 5,
}
BOOT_GRACE_MS = 6000


class ProductRack:
    """A rack with a board and servers; `timings` and `node_settings` are laid over the bench ones.

    `on_board_loss` is hold or stop. `agent_flags` are laid over those of each agent, "{directory}" in them is the
    server's; `agent_environment` is by node. Nothing runs before `start`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: Sequence[str] = ("a", "b"),
        boot_ms: float = 800,
        timings: Mapping[str, int] | None = None,
        node_settings: Mapping[str, object] | None = None,
        on_board_loss: str = "hold",
        respawn_ms: float | None = None,
        agent_flags: Sequence[str] = (),
        agent_environment: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.directory = directory
        self._agent_flags = tuple(agent_flags)
        self.nodes = tuple(nodes)
        self.timings = {**TIMINGS, **(timings or {})}
        self.on_board_loss = on_board_loss
        self.key_on = False
        self.ledger = directory / "ledger"
        self._node_settings = dict(node_settings or {})
        directory.mkdir(parents=True, exist_ok=True)
        self.host_keys = directory / "host.keys"
        self.config_file = directory / "heartwire.toml"
        self._prepare()
        self.board = VirtualBoard(directory / "board")
        around = agent_environment or {}
        servers = [
            Server(
                node, self._command, boot_ms=boot_ms, respawn_ms=respawn_ms, environment=around.get(node),
                announced_by=signal.SIGUSR1,  # as heartwire-planned-off.service does
                **self._body(node),
            )
            for node in self.nodes
        ]  # fmt: skip
        self.rack = Rack(self.board, servers)
        self.servers = self.rack.servers
        self.cables = self.rack.cables
        self.supplies = self.rack.supplies

    def key_file(self, node: str) -> Path:
        """Return the file with the key of `node`."""
        return self.directory / f"{node}.key"

    def _prepare(self) -> None:
        """Make keys and settings, before anything runs; those of an earlier run in this folder stay.

        Raises UsageProblem where somebody has changed the settings there.
        """
        text = self._config_text()
        if self.config_file.exists() and self.config_file.read_text() != text:
            raise UsageProblem(
                f"{self.config_file} holds other settings than this start would write",
                f"`heartwire virtual --config {self.config_file}` runs them; or remove the file",
            )
        if not self.host_keys.exists():
            keys.write_new(self.host_keys, ("operate", "configure"))
        for node in self.nodes:
            if not self.key_file(node).exists():
                keys.write_new(self.key_file(node), ("",))
        self.config_file.write_text(text)

    def _body(self, node: str) -> dict[str, Any]:
        """Return how the server of `node` is built, as arguments of Server."""
        return {}

    def _config_text(self) -> str:
        lines = ["[board]", 'name = "virtual rack"', "bench = true"]
        lines += [f"{name} = {value}" for name, value in self.timings.items()]
        lines += ['operate_key_file = "host.keys"', 'configure_key_file = "host.keys"']
        for node in self.nodes:
            lines += ["", f"[node.{node}]", "enabled = true", f'key_file = "{node}.key"']
            settings = {"boot_grace_ms": BOOT_GRACE_MS, "on_board_loss": self.on_board_loss, **self._node_settings}
            lines += [f"{name} = {_toml(value)}" for name, value in settings.items()]
        return "\n".join(lines) + "\n"

    def _command(self, server: Server) -> list[str]:
        service = f"sh {SERVICE} {{}} {server.directory} {self.ledger}"
        return [
            sys.executable, "-m", "heartwire", "agent", "run",
            "--node", server.node,
            "--port", str(server.port),
            "--key-file", str(self.key_file(server.node)),
            "--interval-ms", str(self.timings["interval_ms"]),
            "--on-board-loss", self.on_board_loss,
            "--state-directory", str(server.directory / "state"),
            "--hook-active", service.format("start"),
            "--hook-standby", service.format("stop"),
            "--hook-drain", service.format("stop"),
            "--check", service.format("check"),
            "--check-interval-s", "0.3",
            # Without a kernel watchdog of its own, `stop` is refused inside a virtual machine; the rack fences it.
            *(["--fenced-from-outside"] if self.on_board_loss == "stop" else []),
            *[flag.replace("{directory}", str(server.directory)) for flag in self._agent_flags],
        ]  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Switch everything off; files stay for whoever owns the directory."""
        self.rack.close()
        self.board.close()

    def start(self) -> None:
        """Switch the rack on and apply the settings; the board observes."""
        self.rack.start()
        self.board.wait_usb()
        with self._open_new() as board:
            found = config.load(self.config_file)
            found.require_good()
            running = settings_transfer.values_of(board.settings().text)
            if config.differences(running, found.settings):
                board.apply_settings(found.settings)
            board.set_time()

    def arm(self) -> None:
        """Put the board into auto mode; its key switch is turned for it where the settings have no configure key."""
        self.board.set_input("KEY", True)
        self.board.wait_for(lambda: self.board.state == "running", 5, "the board")
        with self.open() as board:
            deadline = time.monotonic() + 5
            while True:
                try:
                    board.set_mode("auto")
                    break
                except NotAllowed:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
        self.board.set_input("KEY", self.key_on)

    def _keys(self) -> keys.Keys:
        return keys.find(self.host_keys)

    def _open_new(self) -> Board:
        """Open a board that may be new: it has no key until it has this rack's settings, and nobody else its cable."""
        board = self._open(keys.Keys())
        if not board.link.welcome.keys:
            return board
        board.close()
        return self.open()

    def open(self) -> Board:
        """Open the board over its USB port, with all keys."""
        return self._open(self._keys())

    def _open(self, held: keys.Keys) -> Board:
        deadline = time.monotonic() + 5
        while True:
            try:
                return Board.open(str(self.board.wait_usb()), keys=held)
            except HeartwireError:
                # The port of a board that has just come back may vanish once more.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def is_running(self, node: str) -> bool:
        """Tell whether the service of `node` runs, asking its process and not its agent."""
        pid_file = self.servers[node].directory / "service.pid"
        try:
            pid = int(pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError, IndexError):
            return False
        return state not in "ZX"

    def writers(self) -> list[tuple[str, int]]:
        """Return who wrote to the ledger, in order: (node, epoch), each run of equal lines once."""
        runs: list[tuple[str, int]] = []
        text = self.ledger.read_text() if self.ledger.exists() else ""
        for line in text.splitlines():
            parts = line.split()
            if len(parts) == 2:
                writer = (parts[0], int(parts[1]))
                if not runs or runs[-1] != writer:
                    runs.append(writer)
        return runs

    def wait_active(self, node: str, timeout_s: float = 20.0) -> None:
        """Wait until the board calls `node` active and its service runs. BoardTimeout with the journal otherwise."""
        deadline = time.monotonic() + timeout_s
        with self.open() as board:
            while time.monotonic() < deadline:
                if board.status().active == node and self.is_running(node):
                    return
                time.sleep(0.05)
            story = "\n".join(str(getattr(row, "sentence", lambda row=row: row)()) for row in board.events())
        raise BoardTimeout(f"{node} did not become active:\n{story}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'
