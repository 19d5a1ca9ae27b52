"""Fixtures for the tests of hw/: the generators are importable, and tools that are missing skip with their reason."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "hw" / "gen"), str(Path(__file__).parent)]

import kicad  # noqa: E402  the path is set above
import netlist as circuit_netlist  # noqa: E402
import pins as pin_list  # noqa: E402
import spice  # noqa: E402
import wiring_svg  # noqa: E402


@pytest.fixture
def pins() -> list[pin_list.Pin]:
    """Return the committed pin list."""
    return pin_list.load()


@pytest.fixture
def nets() -> circuit_netlist.Netlist:
    """Return the committed netlist, to be changed at will."""
    return circuit_netlist.load()


def _need(missing: list[str]) -> None:
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture
def needs_kicad() -> None:
    """Skip where KiCad 9 is missing."""
    _need(kicad.missing())


@pytest.fixture
def needs_ngspice() -> None:
    """Skip where ngspice is missing."""
    _need(spice.missing())


@pytest.fixture
def needs_wireviz() -> None:
    """Skip where WireViz or graphviz is missing."""
    _need(wiring_svg.missing())
