"""What tests of the chip's own modules share."""

from __future__ import annotations

import sys

import pytest
from pytest_mock import MockerFixture


@pytest.fixture
def chip_modules(mocker: MockerFixture) -> None:
    """Let modules be imported that import what only the chip has."""
    mocker.patch.dict(sys.modules, {name: mocker.MagicMock() for name in ("machine", "rp2", "uctypes")})
