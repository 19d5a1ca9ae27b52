"""The MicroPython prompt of a board, through mpremote: run a script, copy files, reset, enter the boot loader.

One mpremote process per step, so that the port is free between them. It knows nothing of Heartwire's files (install.py
does) and never interrupts a guarding board: the caller brings it to the prompt first.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heartwire.errors import HeartwireError, NoAnswer, Unplugged, UsageProblem

STEP_TIMEOUT_S = 120.0


class Prompt:
    """The prompt at `port`."""

    def __init__(self, port: str, timeout_s: float = STEP_TIMEOUT_S) -> None:
        if importlib.util.find_spec("mpremote") is None:
            raise UsageProblem("mpremote is not installed", "pip install 'heartwire[flash]'")
        self.port = port
        self.timeout_s = timeout_s

    def run(self, script: str) -> Any:
        """Run a script on the board and return the JSON value that it prints last. Raises NoAnswer, Unplugged."""
        output = self._mpremote(["exec", script])
        try:
            return json.loads(output.strip().splitlines()[-1])
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
        self._mpremote(["reset"])

    def enter_boot_loader(self) -> None:
        """Restart the board into its boot loader, where it is a USB drive."""
        self._mpremote(["bootloader"])

    def _mpremote(self, arguments: Sequence[str], line: Callable[[str], None] | None = None) -> str:
        command = [sys.executable, "-m", "mpremote", "connect", self.port, "resume", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output = ""
        deadline = time.monotonic() + self.timeout_s
        try:
            for text in process.stdout or ():
                output += text
                if line is not None:
                    line(text)
                    deadline = time.monotonic() + self.timeout_s
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{self.port}: no answer from the prompt within {self.timeout_s:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code:
            raise _problem(self.port, output)
        return output


def _problem(port: str, output: str) -> HeartwireError:
    last = output.strip().splitlines()[-1] if output.strip() else "no output"
    if "failed to access" in output or "no device" in output:
        return Unplugged(f"{port}: {last}")
    return NoAnswer(f"{port}: mpremote says: {last}", "unplug the board, plug it in again and repeat the command")
