"""What all fuzz targets are: something that reads, a way to feed it, and what must hold."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self


class Finding(AssertionError):
    """Something escaped, ended, was lost or late."""


class Target:
    """One reader; `tokens` are what its input may be made of. Use with `with`."""

    tokens: tuple[bytes, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._end = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()

    def begin(self) -> None:
        """Build what is fuzzed."""

    def feed(self, data: bytes) -> int:
        """Give it `data`; return how many bytes it was given. Raises Finding, or whatever escapes."""
        raise NotImplementedError

    def finish(self) -> None:
        """Assert what must hold at the end."""
