"""The official MicroPython images by table: the preferred one is kept in the user's cache, checked before every use.

Downloads only from the project's own address, over HTTPS, and never uses bytes whose SHA-256 is not the pinned one.
Called by `heartwire image`, `heartwire flash` and the emulated tier (which skips with the words of ImageMissing).
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heartwire.errors import HeartwireError, StorageProblem

ADDRESS = "https://micropython.org/resources/firmware/"


@dataclass(frozen=True)
class Image:
    """An official image: for the board of that name (boards.py), its file's name, size in bytes and SHA-256."""

    board: str
    version: str
    name: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_folder() / self.name


# The preferred one of each board first. The hash of 1.29.0 is what two public sources say; a download is checked by it.
IMAGES = (
    Image(
        "Raspberry Pi Pico",
        "1.24.0",
        "RPI_PICO-20241025-v1.24.0.uf2",
        666_624,
        "e4f5f96d67b2ddd20b028e135bc410da86ebc29c8e5f44c2dfb44295b001da1a",
    ),
    Image(
        "Raspberry Pi Pico",
        "1.29.0",
        "RPI_PICO-20260824-v1.29.0.uf2",
        680_960,
        "e1160e602e277d85920adb5fe741435edccba9ba6ecadc85fdab75252eeff4e9",
    ),
)
PREFERRED = IMAGES[0]
VERSION, NAME, SHA256 = PREFERRED.version, PREFERRED.name, PREFERRED.sha256
URL = ADDRESS + NAME
# More than this is none of them.
SIZE_MAX = 4 * 1024 * 1024
TIMEOUT_S = 30.0
CHUNK = 65536

Progress = Callable[[int, int], None]


class ImageMissing(HeartwireError):
    """The image is not in the cache and cannot be downloaded, or is not the pinned one."""

    exit_code = 17
    meaning = "the MicroPython image is missing and cannot be downloaded"
    default_next = f"download {URL} on another machine and give it to `heartwire image --from FILE`"


def cache_folder() -> Path:
    """Return where images are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "heartwire" / "images"


def cache_path() -> Path:
    """Return where the preferred image is kept."""
    return PREFERRED.path


def is_kept(image: Image) -> bool:
    """Tell whether an image is in the cache, whole."""
    try:
        return hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256
    except OSError:
        return False


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
    with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer:  # noqa: S310 - HTTPS, from the table
        total = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(CHUNK):
            content += piece
            if len(content) > SIZE_MAX:
                raise OSError(None, "the answer is too long")
            if progress is not None:
                progress(len(content), total)
    return content
