"""What the doctor finds that starts by itself, for each hook that is shipped, and whether the check can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import doctor_starts
from heartwire.agent.doctor import System, examine
from heartwire.agent.settings import settings_from
from tests.unit.agent.test_agent_install import FakeSystem, values, with_status, words

HOOKS = "/etc/heartwire/hooks"
DATA = "/var/lib/postgresql/15/main"


class Asked(System):
    """A system that gives one answer to virsh, and remembers every question."""

    def __init__(self, root: Path, answer: str) -> None:
        super().__init__(root)
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    def output(self, *words: str) -> str:
        self.asked.append(words)
        return self.answer if "virsh" in words else ""


def found(system: System, name: str, *about: str) -> str:
    """Return what is found for a hook, with its next steps."""
    start = [f"{HOOKS}/{name}", "start", *about]
    settings = settings_from({"node": "a", "port": "x", "hooks": {"on_active": start, "on_standby": start}})
    return "\n".join(f"{one.words}: {one.next_step}" for one in doctor_starts.find(settings.hooks, system))


@pytest.mark.parametrize(
    ("start", "by_itself"), [("auto", True), ("# a word\n\nmanual", False), ("disabled", False), ("", True)]
)
def test_a_debian_cluster_that_starts_at_boot(tmp_path: Path, start: str, by_itself: bool) -> None:
    system = FakeSystem(tmp_path)
    system.put("etc/postgresql/15/main/postgresql.conf", f"# data_directory = 'x'\ndata_directory = '{DATA}'\n")
    system.put("etc/postgresql/15/main/start.conf", start)
    system.put("etc/postgresql/15/other/postgresql.conf", "data_directory = '/elsewhere'\n")
    told = found(system, "postgresql", f"{DATA}/")
    assert ("echo manual > /etc/postgresql/15/main/start.conf" in told) == by_itself
    assert "other" not in told


def test_an_enabled_unit_with_the_data_directory(tmp_path: Path) -> None:
    units = {
        "list-unit-files": "postgresql-15.service enabled enabled",
        "cat": f"Environment=PGDATA={DATA}/\nExecStart=x",
    }
    assert "postgresql-15.service starts by itself" in found(FakeSystem(tmp_path, **units), "postgresql", DATA)
    units["cat"] = f"Environment=PGDATA={DATA}2\n"
    assert found(FakeSystem(tmp_path, **units), "postgresql", DATA) == ""


def test_a_guest_that_libvirt_starts(tmp_path: Path) -> None:
    told = found(
        FakeSystem(tmp_path, **{"dominfo web": "Persistent: yes\nAutostart:      enable\n"}), "libvirt-migrate", "web"
    )
    assert "virsh autostart --disable web" in told
    off = {"dominfo web": "Autostart:      disable\n", "libvirt-guests": "enabled"}
    system = FakeSystem(tmp_path, **off)
    assert "libvirt-guests" in found(system, "libvirt-migrate", "web", "qemu+ssh://b/system")
    system.put("etc/default/libvirt-guests", "#ON_BOOT=start\nON_BOOT=ignore\n")
    assert found(system, "libvirt-migrate", "web") == ""


@pytest.mark.parametrize("path", [one.replace("*", "10-lan") for one in doctor_starts.NETWORK_FILES])
def test_an_address_in_the_network_configuration(tmp_path: Path, path: str) -> None:
    system = FakeSystem(tmp_path)
    system.put(path, "Address=192.0.2.100/24\n# 192.0.2.10\nx 1192.0.2.10\n")
    assert found(system, "floating-ip", "192.0.2.10/24", "eth0") == ""
    system.put(path, "Address=192.0.2.10/24\n")
    assert f"/{path} sets 192.0.2.10" in found(system, "floating-ip", "192.0.2.10/24", "eth0")


def test_a_resource_that_pacemaker_starts_anywhere(tmp_path: Path) -> None:
    assert found(FakeSystem(tmp_path), "pacemaker-hook", "service") == "", "no cluster here"
    resources = {"/cib/configuration/resources": "<resources/>"}
    assert "cibadmin --create" in found(FakeSystem(tmp_path, **resources), "pacemaker-hook", "service")
    tied = {"@rsc='service'": "<expression/>", **resources}
    assert found(FakeSystem(tmp_path, **tied), "pacemaker-hook", "service") == ""


def test_a_socket_that_starts_a_service_of_the_target(tmp_path: Path) -> None:
    outputs = {
        "--property=Wants": "db.service",
        "TriggeredBy --value db.service": "db.socket",
        "is-active db.socket": "active",
    }
    assert "db.service is started by db.socket" in found(FakeSystem(tmp_path, **outputs), "systemd-target", "x.target")
    outputs["--property=Wants"] = "db.service db.socket"
    assert found(FakeSystem(tmp_path, **outputs), "systemd-target", "x.target") == "", "the target stops it"


def test_every_shipped_hook_has_a_finder() -> None:
    share = Path(doctor_starts.__file__).parent.parent / "share"
    shipped = {one.name for one in (share / "hooks").iterdir() if one.suffix == "" and one.is_file()}
    assert {*shipped, "pacemaker-hook"} == set(doctor_starts.FINDERS)


def test_words_before_a_hook_are_passed_over() -> None:
    argv = ["env", "PGBIN=/x", f"{HOOKS}/postgresql", "start", DATA]
    settings = settings_from({"node": "a", "port": "x", "hooks": {"on_active": argv}})
    assert doctor_starts.hooks_of(settings.hooks) == [doctor_starts.Hook("postgresql", (DATA,), ("PGBIN=/x",))]


def test_libvirt_is_asked_where_the_hook_would_ask_it(tmp_path: Path) -> None:
    hooks = {
        "on_active": [f"{HOOKS}/libvirt-migrate", "start", "web"],
        "environment": {"LIBVIRT_DEFAULT_URI": "xen:///system"},
    }
    settings = settings_from({"node": "a", "port": "x", "hooks": hooks})
    there = Asked(tmp_path, "Autostart: enable")
    assert [one.next_step for one in doctor_starts.find(settings.hooks, there)] == ["virsh autostart --disable web"]
    assert ("env", "LIBVIRT_DEFAULT_URI=xen:///system", "LC_ALL=C", "virsh", "dominfo", "web") in there.asked


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (["/bin/sh", "-c", "exit 0"], ""),
        (["/bin/sh", "-c", "exit 1"], ""),
        (["/bin/sh", "-c", "exit 3"], ""),
        (["/bin/sh", "-c", "echo no such guest >&2; exit 126"], "no such guest"),
        (["/bin/sh", "-c", "exit 64"], "exit status 64"),
        (["/no/such/check"], "No such file"),
        ({"command": ["/bin/sh", "-c", "exec sleep 50"], "limit_s": 0.05}, "longer than 0.05 s"),
        ({"command": ["/bin/sh", "-c", 'exit "$CODE"'], "environment": {"CODE": "77"}}, "exit status 77"),
    ],
)
def test_a_check_that_cannot_tell_is_told(tmp_path: Path, check: Any, expected: str) -> None:
    with_status(tmp_path)
    hooks = {"on_active": ["/bin/true"], "check": check}
    bad = words(examine(values(tmp_path, hooks=hooks), FakeSystem(tmp_path)), "bad")
    assert expected in bad
    assert bool(bad) == bool(expected)
