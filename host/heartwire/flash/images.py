"""The official MicroPython image: one pinned version, kept in the user's cache and checked before every use.

Downloads only from the project's own address, over HTTPS, and never uses bytes whose SHA-256 is not the pinned one.
Called by `heartwire image`, `heartwire flash` and the emulated tier (which skips with the words of ImageMissing).
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from heartwire.errors import HeartwireError, StorageProblem

VERSION = "1.24.0"
NAME = "RPI_PICO-20241025-v1.24.0.uf2"
URL = "https://micropython.org/resources/firmware/" + NAME
SHA256 = "e4f5f96d67b2ddd20b028e135bc410da86ebc29c8e5f44c2dfb44295b001da1a"
# The file has 683 KiB; more than this is not it.
SIZE_MAX = 4 * 1024 * 1024
TIMEOUT_S = 30.0
CHUNK = 65536

Progress = Callable[[int, int], None]


class ImageMissing(HeartwireError):
    """The image is not in the cache and cannot be downloaded, or is not the pinned one."""

    exit_code = 17
    meaning = "the MicroPython image is missing and cannot be downloaded"
    default_next = f"download {URL} on another machine and give it to `heartwire image --from FILE`"


def cache_path() -> Path:
    """Return where the image is kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "heartwire" / "images" / NAME


def find() -> Path:
    """Return the image in the cache, checked. Raises ImageMissing."""
    path = cache_path()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageMissing(f"the MicroPython image {NAME} is not in the cache", "`heartwire image` gets it") from None
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ImageMissing(f"{path} is not the pinned image (SHA-256 differs)", "`heartwire image` gets it anew")
    return path


def get(progress: Progress | None = None, *, source: Path | None = None) -> tuple[Path, bool]:
    """Return (path, whether it came anew): from the cache, from the file `source`, or downloaded.

    Raises ImageMissing, StorageProblem.
    """
    try:
        if source is None:
            return find(), False
    except ImageMissing:
        pass
    try:
        content = source.read_bytes() if source is not None else _download(progress)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ImageMissing(f"{source or URL}: {reason}") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ImageMissing(f"{source or URL} is not MicroPython {VERSION} for the Pico (SHA-256 differs)")
    path = cache_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    return path, True


def _download(progress: Progress | None) -> bytes:
    content = b""
    with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(CHUNK):
            content += piece
            if len(content) > SIZE_MAX:
                raise OSError(None, "the answer is too long")
            if progress is not None:
                progress(len(content), total)
    return content
