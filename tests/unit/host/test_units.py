"""The shipped units: what systemd itself says of how far each is exposed, and that none shares another one's files."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

SHARE = Path(str(resources.files("heartwire") / "share"))
# Unit -> the highest exposure of `systemd-analyze security` (0 to 10) that it may have, and why it is not lower.
EXPOSURE = {
    "heartwire-monitor.service": (2.2, "the network, and the boards' ports"),
    "systemd/heartwire-broker.service": (1.0, "the boards' ports"),
    "systemd/heartwire-selftest@.service": (2.4, "root, for its key file"),
    "systemd/heartwire-planned-off.service": (2.6, "root, to give systemd an order"),
    "systemd/heartwire-agent.service": (8.0, "hooks inherit all of it, and start and stop whatever a server runs"),
    "kdump/heartwire-dumping.service": (9.6, "a capture kernel, for seconds"),
}


def test_every_unit_has_its_number() -> None:
    shipped = {str(path.relative_to(SHARE)) for path in SHARE.rglob("*.service")}
    assert shipped == set(EXPOSURE)


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_is_exposed_no_further_than_stated(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("not installed: systemd (systemd-analyze)")
    unit = tmp_path / Path(name).name
    unit.write_text((SHARE / name).read_text().replace("@HEARTWIRE@", "/usr/bin/true"))
    command = [program, "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    if found is None and "offline" in done.stderr:
        pytest.skip("systemd-analyze knows no --offline (it came with systemd 250)")
    assert found is not None, done.stderr
    assert float(found[1]) <= EXPOSURE[name][0], done.stdout


def test_no_two_units_share_a_state_directory() -> None:
    folders = {
        name: row.partition("=")[2]
        for name in EXPOSURE
        for row in (SHARE / name).read_text().splitlines()
        if row.startswith("StateDirectory=")
    }
    assert len(folders) == 2
    (first, second) = (Path("/", folder) for folder in folders.values())
    assert first not in [second, *second.parents] and second not in first.parents
