"""Somebody who reads a page and does what it says: a shell, terminals that stay open, files that are saved."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.manual.book import Block

# A command has ended within this, an installation of packages too; what is waited for has come within WAIT_S.
COMMAND_S = 300.0
WAIT_S = 60.0


class Stuck(AssertionError):
    """The page says something that is not so."""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, name: str, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name}.terminal"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder,
                env=dict(environment), start_new_session=True,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def wait(self, words: str) -> None:
        """Wait until it has printed `words`. Raises Stuck."""
        deadline = time.monotonic() + WAIT_S
        while not re.search(words, self.text):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Stuck(f"{self.name} did not print {words!r}:\n{self.text}")
            time.sleep(0.1)

    def type(self, line: str) -> None:
        """Type one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """Press Ctrl-C; kill it if it does not end."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Walk:
    """One reader of one page, in `folder`; `renamed` are texts that stand for others (a port that is taken)."""

    def __init__(self, folder: Path, environment: Mapping[str, str], renamed: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.output = ""
        self._renamed = dict(renamed or {})
        self._terminals: dict[str, Terminal] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in reversed(self._terminals.values()):
            terminal.close()

    def do(self, block: Block) -> None:
        """Do what a block says. Raises Stuck."""
        words = self._text(block.words)
        if block.how == "file":
            (self.folder / words).write_text(self._text("\n".join(block.lines) + "\n"))
        elif block.how == "run" and words.startswith("typed "):
            for line in block.lines:
                self._terminals[words.removeprefix("typed ")].type(line)
        elif block.how == "run" and words.startswith("in "):
            name, _, until = words.removeprefix("in ").partition(", until ")
            (command,) = block.commands
            self._terminals[name] = Terminal(name, self._text(command), self.folder, self.environment)
            if until:
                self._terminals[name].wait(until)
        elif block.how == "run":
            for command in block.commands:
                self._run(block, self._text(command), words)

    def _run(self, block: Block, command: str, words: str) -> None:
        until = words.removeprefix("until ") if words.startswith("until ") else None
        code = int(words.removeprefix("exit ")) if words.startswith("exit ") else 0
        deadline = time.monotonic() + WAIT_S
        while True:
            done = subprocess.run(
                ["sh", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND_S, check=False,
            )  # fmt: skip
            self.output = done.stdout
            if until is None and done.returncode == code:
                return
            if until is not None and done.returncode == 0 and re.search(until, self.output):
                return
            if until is None or time.monotonic() > deadline:
                wanted = f"exit code {code}" if until is None else repr(until)
                raise Stuck(f"{block.place}: $ {command}\n{self.output}\nexit code {done.returncode}; wanted {wanted}")
            time.sleep(0.3)

    def _text(self, text: str) -> str:
        for old, new in self._renamed.items():
            text = text.replace(old, new)
        return text
