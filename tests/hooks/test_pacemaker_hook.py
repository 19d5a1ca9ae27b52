"""The hook for Pacemaker, with stand-ins that speak as its tools do; tests/cluster runs it in a real cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hooks.bench import SHARE, call, only, program

HOOK = str(SHARE / "cluster" / "pacemaker-hook")


class Tools:
    """Pacemaker's command line tools on node alpha."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        program(directory, "crm_node", f"cd {directory}; [ ! -e down ] || exit 102; echo alpha")
        program(
            directory,
            "crm_resource",
            f"cd {directory}; [ ! -e down ] || {{ echo 'Could not connect' >&2; exit 102; }}\n"
            'case "$*" in *--locate*) cat locate; [ ! -e next ] || mv next locate ;; esac',
        )
        program(directory, "attrd_updater", f"cd {directory}; [ ! -e down ] || exit 102; echo $4 > told")
        program(directory, "cibadmin", f"cd {directory}; [ ! -e unprobed ] || exit 105")

    def put(self, name: str, text: str = "") -> None:
        """Write one of their files."""
        (self.directory / name).write_text(f"{text}\n")

    def hook(self, verb: str, service: str = "service") -> int:
        """Call the hook; return its exit status."""
        return call(HOOK, verb, service, path=self.directory).code


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path / "tools")


@pytest.mark.parametrize(
    ("service", "said", "code"),
    [
        ("service", "resource service is running on: alpha", 0),
        ("service", "resource service is running on: alpha ", 0),
        ("service", "resource service is running on: alpha Promoted", 0),
        ("service", "resource service is running on: beta", 1),
        ("service", "resource service is NOT running", 1),
        ("alpha", "resource alpha is NOT running", 1),
        ("alpha", "resource alpha is running on: beta", 1),
        ("alpha", "resource alpha is running on: alpha", 0),
        ("is running on: alpha", "resource is running on: alpha is NOT running", 1),
        ("service", "resource service is running on: alpha-2", 1),
        ("clone", "resource clone is running on: beta\nresource clone is running on: alpha", 0),
        ("service", "", 126),
        ("service", "servicio alpha en marcha", 126),
        ("service", "alpha", 126),
    ],
)
def test_where_a_resource_runs(tools: Tools, service: str, said: str, code: int) -> None:
    tools.put("locate", said)
    assert tools.hook("check", service) == code


@pytest.mark.parametrize("verb", ["start", "stop", "drain", "check"])
def test_without_a_cluster_nothing_is_known(tools: Tools, verb: str, tmp_path: Path) -> None:
    tools.put("down")
    assert tools.hook(verb) == 126
    path = only(tmp_path / "bin", "sh", "timeout")
    assert call(HOOK, verb, "service", PATH=str(path)).code == 126


def test_a_node_that_nobody_has_asked_is_not_stopped(tools: Tools) -> None:
    tools.put("locate", "resource service is NOT running")
    tools.put("unprobed")
    assert tools.hook("check") == 126
    tools.put("locate", "resource service is running on: alpha")
    assert tools.hook("check") == 0


def test_start_and_stop_wait_for_the_cluster(tools: Tools) -> None:
    tools.put("locate", "resource alpha is NOT running")
    tools.put("next", "resource alpha is running on: alpha")
    assert tools.hook("start", "alpha") == 0
    assert (tools.directory / "told").read_text() == "1\n"
    tools.put("next", "resource alpha is NOT running")
    assert tools.hook("stop", "alpha") == 0
    assert (tools.directory / "told").read_text() == "0\n"
    assert tools.hook("drain", "alpha") == 0


@pytest.mark.parametrize("verb", ["stop", "drain"])
@pytest.mark.parametrize("found", ["resource service is running on: alpha", "connection to cluster failed"])
def test_a_stop_never_returns_while_it_runs_here_or_that_is_unknown(tools: Tools, verb: str, found: str) -> None:
    tools.put("locate", found)
    with pytest.raises(subprocess.TimeoutExpired):
        call(HOOK, verb, "service", path=tools.directory, limit_s="1")


def test_a_wrong_call() -> None:
    assert call(HOOK).code == 64
    assert call(HOOK, "dance", "service").code == 64
