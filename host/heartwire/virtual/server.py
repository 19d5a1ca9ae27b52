"""A server of the rack: it boots for a while when it gets power, then runs a real program, and dies when power goes.

The program is usually the real node program of the product (`heartwire agent run ...`) on the server's serial port.
Losing power kills its whole process tree with SIGKILL at once; a panic does the same with the power still on, and then
nothing starts until a power cycle or a reset pulse. It never reads what its program does, except to log its exit. Made
by the user, wired up by rack.py; every method may be called from any thread.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.cable import Cable
from heartwire.virtual.errors import VirtualError
from heartwire.virtual.power import Report
from heartwire.virtual.processes import MarkedProcess
from heartwire.virtual.reactor import Timer

Command = Sequence[str] | Callable[["Server"], Sequence[str]]

HARD_OFF_MS = 4000  # holding a PC's power button this long switches it off
LAST_WORDS_BYTES = 1000  # of a console, for the reason why a program ended


class Server:
    """A server: off, booting, running, frozen, panicked, or halted (its program has ended)."""

    def __init__(
        self,
        node: str,
        command: Command,
        *,
        boot_ms: float = 500,
        environment: Mapping[str, str] | None = None,
        respawn_ms: float | None = None,
        front: str = "reset",
        feeds: int = 1,
        announced_by: int | None = None,
    ) -> None:
        """Describe a server. `command` is an argument list, or makes one from the server (`server.port` is its line).

        `environment` is added to this program's. `respawn_ms` restarts an ended program, as an init system would;
        None leaves it ended. `front` tells which front-panel header the board's FRONT output presses: reset or power.
        `announced_by` is a signal that the program itself gets in a shutdown in good order, ahead of SIGTERM for all.
        """
        if front not in ("reset", "power"):
            raise VirtualError(f"front is reset or power, not {front}")
        self.node = node
        self.command = command
        self.boot_ms = boot_ms
        self.environment = dict(environment or {})
        self.respawn_ms = respawn_ms
        self.front = front
        self.feeds = feeds
        self.announced_by = announced_by
        self.state = "off"
        self.boots = 0
        self.powered = False
        self._process: MarkedProcess | None = None
        self._timer: Timer | None = None
        self._press: Timer | None = None
        self._shutting_down = False

    def attach(self, board: VirtualBoard, cable: Cable, directory: Path, report: Report) -> None:
        """Wire the server up; called by the rack."""
        self._board = board
        self._cable = cable
        self._report_to = report
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / "console.log"
        board.on_output(self._on_output)

    @property
    def port(self) -> Path:
        """Return the path of the serial port towards the board; the same for the rack's whole life."""
        return self._cable.port

    @property
    def pid(self) -> int | None:
        """Return the process id of the running program, which leads its process group."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def crash(self) -> None:
        """Panic: everything stops at once, the power stays on, nothing starts by itself."""
        self._board.reactor.call(self._panic)

    def freeze(self) -> None:
        """Stop every process of the server where it is."""
        self._board.reactor.call(lambda: self._signal(signal.SIGSTOP, "frozen"))

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._board.reactor.call(lambda: self._signal(signal.SIGCONT, "running"))

    def reset(self) -> None:
        """Press the reset button."""
        self._board.reactor.call(self._reset)

    def shut_down(self) -> None:
        """Shut down in good order: announce it, end the program with SIGTERM, then switch off by software."""
        self._board.reactor.call(self._shut_down)

    def press_power(self) -> None:
        """Press the power button briefly: switch on, or shut down in good order."""
        self._board.reactor.call(self._short_press)

    def kill(self) -> None:
        """End everything that runs, for the rack's own end."""
        self._board.reactor.call(self._kill)

    def log_text(self) -> str:
        """Return everything the server's programs have printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def set_power(self, on: bool) -> None:
        """Give or take the power; called by the power supply in the reactor's thread."""
        self.powered = on
        self._kill()
        self._cable.set_live(on)
        if on:
            self._boot()
        else:
            self._become("off")

    # Inside the reactor's thread

    def _boot(self) -> None:
        self.boots += 1
        self._become("booting")
        self._timer = self._board.reactor.later(self.boot_ms, self._run)

    def _run(self) -> None:
        argv = self.command(self) if callable(self.command) else self.command
        self._cable.set_live(True)
        with self.log_path.open("ab") as log:
            try:
                self._process = self._board.yard.start(
                    argv,
                    name=f"server-{self.node}",
                    ended=self._ended,
                    environment={**os.environ, **self.environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                )
            except OSError as error:
                self._report(f"cannot start {argv[0]}: {error}")
                self._become("halted")
                return
        self._report(f"starts {Path(argv[0]).name}, process {self._process.pid}")
        self._become("running")

    def _ended(self, code: int) -> None:
        self._process = None
        why = self._last_words() if code > 0 else ""
        self._report(f"program ended with {code}{why}")
        if self._shutting_down:
            self._switch_off()
            return
        self._become("halted")
        if self.respawn_ms is not None:
            self._timer = self._board.reactor.later(self.respawn_ms, self._run)

    def _last_words(self) -> str:
        """Return what its programs printed last, two lines at most: an error and its next step."""
        with self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            lines = log.read().decode(errors="replace").splitlines()[-2:]
        return ": " + " / ".join(" ".join(line.split()) for line in lines) if lines else ""

    def _kill(self) -> None:
        self._shutting_down = False
        if self._timer is not None:
            self._timer.cancel()
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _panic(self) -> None:
        if self.state not in ("off", "panicked"):
            self._kill()
            self._become("panicked")

    def _reset(self) -> None:
        if self.powered and self.state != "off":
            self._kill()
            self._report("reset")
            self._boot()

    def _signal(self, number: int, state: str) -> None:
        if self._process is not None and self.state in ("running", "frozen"):
            self._process.signal(number)
            self._become(state)

    def _shut_down(self) -> None:
        if self.state in ("off", "panicked"):
            return
        self._report("shuts down")
        if self._process is None:
            self._switch_off()
        else:
            self._shutting_down = True
            if self.announced_by is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, self.announced_by)
            self._process.signal(signal.SIGTERM)

    def _switch_off(self) -> None:
        """Go off by software: mains and sense stay, only the button or a power cycle brings it back."""
        self._kill()
        self._cable.set_live(False)
        self._become("off")

    def _short_press(self) -> None:
        if self.powered and self.state == "off":
            self._cable.set_live(True)
            self._boot()
        else:
            self._shut_down()

    def _on_output(self, signal_name: str, asserted: bool, _at_ns: int) -> None:
        if signal_name != f"FRONT_{self.node.upper()}" or not self.powered:
            return
        if self.front == "reset":
            if asserted:
                self._reset()
        elif asserted:
            self._press = self._board.reactor.later(HARD_OFF_MS, self._long_press)
        elif self._press is not None and self._press.callback is not None:
            self._press.cancel()
            self._short_press()

    def _long_press(self) -> None:
        if self.powered and self.state != "off":
            self._report("power button held")
            self._switch_off()

    def _become(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._report(state)

    def _report(self, text: str) -> None:
        self._report_to(f"server {self.node}", text)
