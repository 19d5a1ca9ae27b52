"""The MicroPython prompt of a board, through mpremote: run a script, copy files, reset, enter the boot loader.

One mpremote process per step. Where a broker has the port, it is borrowed from the first step to the restart, so that
no other program says hello in between. It knows nothing of Heartwire's files (install.py does) and never interrupts a
guarding board: the caller brings it to the prompt first.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

from heartwire import bounded, extras
from heartwire.broker import client
from heartwire.broker.client import Loan
from heartwire.errors import HeartwireError, NoAnswer, Unplugged
from heartwire.ports import holder_of

STEP_TIMEOUT_S = 120.0
ANSWER_MAX = 1 << 20


def require() -> None:
    """Raise UsageProblem if mpremote is not installed; before a guard is stopped for it."""
    extras.require("flashing", "flash", "mpremote")


class Prompt:
    """The prompt at `port`; a step that says nothing for `timeout_s` is given up."""

    def __init__(self, port: str, timeout_s: float = STEP_TIMEOUT_S) -> None:
        require()
        self.port = port
        self.timeout_s = timeout_s
        self._loan: Loan | None = None

    def borrow(self) -> None:
        """Have the port from its broker, if that has it; each step does so by itself. Raises PortBusy.

        A broker that was killed took the loan with it, and the next one may serve others by now.
        """
        if self._loan is not None and self._loan.ended():
            self.give_back()
        if self._loan is None:
            self._loan = client.borrow(self.port)

    def give_back(self) -> None:
        """Let other programs have the port again. Never raises."""
        if self._loan is not None:
            self._loan.close()
            self._loan = None

    def run(self, script: str) -> Any:
        """Run a script on the board and return the JSON value that it prints last. Raises NoAnswer, Unplugged."""
        output = self._mpremote(["exec", script])
        try:
            return bounded.load(output.strip().splitlines()[-1].encode(), ANSWER_MAX)
        except (IndexError, ValueError):
            raise NoAnswer(f"{self.port}: the board's answer makes no sense: {output[-200:]!r}") from None

    def copy(self, files: Sequence[tuple[Path, str]], done: Callable[[str], None]) -> None:
        """Copy local files to paths on the board, telling each; what stands there already is skipped."""
        arguments: list[str] = []
        for source, target in files:
            arguments += ["+"] if arguments else []
            arguments += ["fs", "cp", str(source), ":" + target]
        seen = iter(files)

        def line(text: str) -> None:
            if text.startswith(("cp ", "Up to date")):
                entry = next(seen, None)
                if entry is not None:
                    done(entry[1])

        self._mpremote(arguments, line)
        for entry in seen:
            done(entry[1])

    def reset(self) -> None:
        """Restart the board; the port goes away."""
        try:
            self._mpremote(["reset"])
        finally:
            self.give_back()

    def enter_boot_loader(self) -> None:
        """Restart the board into its boot loader, where it is a USB drive."""
        try:
            self._mpremote(["bootloader"])
        finally:
            self.give_back()

    def _mpremote(self, arguments: Sequence[str], line: Callable[[str], None] | None = None) -> str:
        self.borrow()
        command = [sys.executable, "-m", "mpremote", "connect", self.port, "resume", *arguments]
        # Unbuffered: its lines are the progress, and a sign that it lives.
        surroundings = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=surroundings)
        stream = cast(IO[bytes], process.stdout)
        try:
            output = self._read(stream, line)
            code = process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            raise self._silence() from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            stream.close()
        if code:
            raise _problem(self.port, output)
        return output

    def _read(self, stream: IO[bytes], line: Callable[[str], None] | None) -> str:
        """Return all that comes until the end, telling each whole line."""
        output = b""
        told = 0
        while select.select([stream], [], [], self.timeout_s)[0]:
            data = os.read(stream.fileno(), 4096)
            if not data:
                return output.decode(errors="replace")
            output += data
            while line is not None and (end := output.find(b"\n", told)) >= 0:
                text, told = output[told:end], end + 1
                line(text.decode(errors="replace"))
        raise self._silence()

    def _silence(self) -> NoAnswer:
        holder = holder_of(self.port)
        beside = f"; {holder} has this port open too, and takes what the board says" if holder else ""
        return NoAnswer(
            f"{self.port}: no answer from the prompt within {self.timeout_s:g} s{beside}",
            "unplug the board, plug it in again and repeat the command",
        )


def _problem(port: str, output: str) -> HeartwireError:
    last = output.strip().splitlines()[-1] if output.strip() else "no output"
    if "failed to access" in output or "no device" in output:
        return Unplugged(f"{port}: {last}", "plug the board in again and repeat the command")
    return NoAnswer(f"{port}: mpremote says: {last}", "unplug the board, plug it in again and repeat the command")
