"""The official MicroPython images by table: board and version to file, size and SHA-256; which of them is preferred.

They are kept in the user's cache and checked before every use. Downloads only from the project's own address, over
HTTPS, and never uses bytes whose size or SHA-256 is not the pinned one. Called by `heartwire image`, `heartwire flash`
and the emulated tier (which skips with the words of ImageMissing).
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
from heartwire.flash import boards

ADDRESS = "https://micropython.org/resources/firmware/"
PAGE = "https://micropython.org/download/"


@dataclass(frozen=True)
class Image:
    """An official image: for the board of that id (boards.py), its file's name, size in bytes and SHA-256."""

    board: str
    version: str
    name: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_folder() / self.name

    @property
    def url(self) -> str:
        """Where it comes from."""
        return ADDRESS + self.name

    def difference(self, content: bytes) -> str:
        """Return how `content` differs from the pinned image; "" if it is that."""
        if len(content) != self.size:
            return f"it has {len(content):,} bytes, and {self.size:,} are pinned"
        found = hashlib.sha256(content).hexdigest()
        return "" if found == self.sha256 else f"its SHA-256 is {found}, and {self.sha256} is pinned"


# Of 1.24.0 the bytes were at hand; the hash of 1.29.0 is what two public sources say, and a download is checked by it.
IMAGES = (
    Image(
        "RPI_PICO",
        "1.24.0",
        "RPI_PICO-20241025-v1.24.0.uf2",
        666_624,
        "e4f5f96d67b2ddd20b028e135bc410da86ebc29c8e5f44c2dfb44295b001da1a",
    ),
    Image(
        "RPI_PICO",
        "1.29.0",
        "RPI_PICO-20260824-v1.29.0.uf2",
        680_960,
        "e1160e602e277d85920adb5fe741435edccba9ba6ecadc85fdab75252eeff4e9",
    ),
)
# What a board gets that has none of its images. The Pico's is the one whose very bytes the emulated tier has run.
PREFERENCES = {
    "RPI_PICO": "1.24.0",
    "RPI_PICO2": "1.29.0",
    "PIMORONI_PICOLIPO": "1.29.0",
    "WAVESHARE_RP2040_PLUS": "1.29.0",
}
# From and until these releases the RP2040 runs the interpreter out of its flash (in RAM before and after): slower by an
# amount that no emulator here shows.
_SLOW = ("1.25", "1.28")
SLOW = "it works, and is not recommended: from 1.25 to 1.28 MicroPython runs its interpreter from the RP2040's flash"
PREFERRED = IMAGES[0]
# More than this is none of them.
SIZE_MAX = 4 * 1024 * 1024
TIMEOUT_S = 30.0
CHUNK = 65536

Progress = Callable[[int, int], None]


class ImageMissing(HeartwireError):
    """The image is not in the cache and cannot be downloaded, or is not the pinned one."""

    exit_code = 17
    meaning = "the MicroPython image is missing and cannot be downloaded"
    default_next = "`heartwire image --list` names what is known"


def cache_folder() -> Path:
    """Return where images are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "heartwire" / "images"


def is_kept(image: Image) -> bool:
    """Tell whether an image is in the cache, whole."""
    try:
        return not image.difference(image.path.read_bytes())
    except OSError:
        return False


def of(board: boards.Board, version: str | None = None) -> Image:
    """Return the image of a board: of that version, or the preferred one. Raises ImageMissing where none is pinned."""
    wanted = version or PREFERENCES.get(board.id, "")
    for image in IMAGES:
        if (image.board, image.version) == (board.id, wanted):
            return image
    raise ImageMissing(
        f"no image of MicroPython {wanted or 'any version'} for the {board.name} is pinned".replace("  ", " "),
        f"get it from {PAGE}{board.id}, copy it onto the board's drive yourself, and repeat `heartwire flash`, which "
        "keeps it"
        if not board.refused
        else None,
    )


def is_slow(board: boards.Board, version: str) -> bool:
    """Tell whether a version works on that board and is not recommended."""
    first, last = _SLOW
    return board.chip is boards.RP2040 and not (boards.is_older(version, first) or boards.is_older(last, version))


def replacement(board: boards.Board, there: str, wanted: str | None = None) -> tuple[Image | None, str]:
    """Return the image that a board with MicroPython `there` gets, None if it keeps what it has, and why in words.

    A release whose image is pinned stays, as does one on a board without pinned images that is not too old. Raises
    ImageMissing where something else is needed and no image of it is pinned.
    """
    known = {image.version for image in IMAGES if image.board == board.id}
    if there == wanted or (wanted is None and there in known):
        return None, f"MicroPython {there} stays"
    if wanted is None and not known and "-" not in there and not boards.is_older(there, board.chip.minimum):
        return None, f"MicroPython {there} stays; no image for the {board.name} is pinned" + (
            f"; {SLOW}" if is_slow(board, there) else ""
        )
    image = of(board, wanted)
    words = f"MicroPython {there} is replaced by {image.version}; files and settings stay"
    return image, words + (f" ({SLOW})" if is_slow(board, there) else "")


def find(image: Image = PREFERRED) -> Path:
    """Return the image in the cache, checked. Raises ImageMissing."""
    path, again = image.path, "`heartwire image" + ("`" if image is PREFERRED else f" --micropython {image.version}`")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageMissing(f"the MicroPython image {image.name} is not in the cache", f"{again} gets it") from None
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    if difference := image.difference(content):
        raise ImageMissing(f"{path} is not the pinned image: {difference}", f"{again} gets it anew")
    return path


def get(progress: Progress | None = None, *, image: Image = PREFERRED, source: Path | None = None) -> tuple[Path, bool]:
    """Return (path, whether it came anew): from the cache, from the file `source`, or downloaded.

    Raises ImageMissing, StorageProblem.
    """
    try:
        if source is None:
            return find(image), False
    except ImageMissing:
        pass
    place = str(source or image.url)
    by_hand = f"download {image.url} on another machine and give it to `heartwire image --from FILE`"
    try:
        content = source.read_bytes() if source is not None else _download(image, progress)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ImageMissing(f"{place}: {reason}", by_hand) from None
    if difference := image.difference(content):
        raise ImageMissing(
            f"{place} is not MicroPython {image.version} for the {boards.by_id(image.board).name}: {difference}; "
            "nothing was kept",
            f"{by_hand}; if it differs again, do not use it",
        )
    path = image.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        raise StorageProblem(f"{path}: {error.strerror}") from None
    return path, True


def _download(image: Image, progress: Progress | None) -> bytes:
    content = b""
    with urllib.request.urlopen(image.url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - HTTPS, from the table
        total = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(CHUNK):
            content += piece
            if len(content) > SIZE_MAX:
                raise OSError(None, "the answer is too long")
            if progress is not None:
                progress(len(content), total)
    return content
