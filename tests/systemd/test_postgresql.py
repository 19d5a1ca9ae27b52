"""The hook for PostgreSQL under a real systemd, where Debian's pg_ctlcluster hands over to the cluster's unit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.rack import install
from tests.systemd.test_units import Machine

HOOK = "/etc/heartwire/hooks/postgresql"
NAME = "heartwire"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if not shutil.which("pg_createcluster"):
        pytest.skip("not installed: postgresql-common")
    versions = sorted(path.parent.parent.name for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        pytest.skip("not installed: postgresql")
    made = Machine(tmp_path)
    install(made.stage)
    made.start()
    try:
        done = made.run("pg_createcluster", versions[-1], NAME, "--start-conf", "manual", "--", "--no-sync")
        assert done.returncode == 0, done.stderr
        made.version = versions[-1]  # type: ignore[attr-defined]
        yield made
    finally:
        made.close()


def test_a_cluster_is_its_own_unit_and_ends_with_the_hook(machine: Machine) -> None:
    version: str = machine.version  # type: ignore[attr-defined]
    unit = f"postgresql@{version}-{NAME}.service"

    def hook(verb: str) -> tuple[int, str]:
        data = f"/var/lib/postgresql/{version}/{NAME}"
        done = machine.run("env", "HEARTWIRE_NODE=a", "HEARTWIRE_EPOCH=1", HOOK, verb, data)
        return done.returncode, machine.shown(unit, "ActiveState")

    assert hook("check") == (1, "inactive")
    assert hook("start") == (0, "active"), "no child of whoever called the hook"
    assert (
        machine.shown(unit, "MainPID")
        in machine.run("cat", f"/var/lib/postgresql/{version}/{NAME}/postmaster.pid").stdout
    )
    assert hook("check") == (0, "active")
    # An ordinary service in systemd's eyes: what it does with a dead one is its own matter, and the hook sees it.
    machine.run("systemctl", "kill", "--signal=KILL", unit)
    code, state = hook("start")
    assert (code, state) == (0, "active")
    assert hook("stop") == (0, "inactive")
    assert hook("check") == (1, "inactive")
