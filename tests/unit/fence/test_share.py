"""The templates of share/cluster: they pass the checks of those who read them, and the hook never claims too much."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

import heartwire
from heartwire import config, keys
from heartwire.agent.settings import load, settings_from
from heartwire.fence.options import BY_NAME, from_arguments

SHARE = Path(heartwire.__file__).parent / "share" / "cluster"
TEMPLATES = ("cluster-decides", "board-decides")


@pytest.mark.parametrize("name", TEMPLATES)
def test_board_settings_keep_every_rule(tmp_path: Path, name: str) -> None:
    shutil.copy(SHARE / f"{name}.toml", tmp_path)
    keys.write_new(tmp_path / "host.keys", ("view", "operate", "configure"))
    for node in ("alpha", "beta"):
        keys.write_new(tmp_path / f"{node}.key", ("",))
    found = config.load(tmp_path / f"{name}.toml")
    assert not found.problems
    assert [node.name for node in found.settings.nodes[:2]] == ["alpha", "beta"]


def test_agent_settings() -> None:
    settings = settings_from(load(SHARE / "board-decides-agent.toml"))
    for hook in (settings.hooks.on_active, settings.hooks.on_standby, settings.hooks.on_drain, settings.hooks.check):
        assert hook is not None
        assert Path(hook.argv[0]).name == "pacemaker-hook"


@pytest.mark.parametrize("name", TEMPLATES)
def test_cluster_configuration(tmp_path: Path, name: str) -> None:
    text = (SHARE / f"{name}.xml").read_text()
    device = ElementTree.fromstring(text).find("resources/primitive")
    assert device is not None
    assert (device.get("class"), device.get("type")) == ("stonith", "fence_heartwire")
    given = {pair.get("name"): pair.get("value") for pair in device.iterfind("instance_attributes/nvpair")}
    assert given.pop("pcmk_host_map") == "alpha:a;beta:b"
    assert set(given) <= set(BY_NAME)
    assert ("only_confirm" in given) == (name == "board-decides")


@pytest.mark.parametrize("name", TEMPLATES)
def test_pacemaker_takes_the_configuration(tmp_path: Path, name: str) -> None:
    verify = shutil.which("crm_verify", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if verify is None:
        pytest.skip("not installed: pacemaker-cli-utils (crm_verify)")
    service = '<primitive id="service" class="ocf" provider="pacemaker" type="Dummy"/></resources>'
    body = (SHARE / f"{name}.xml").read_text().replace("</resources>", service)
    cib = tmp_path / "cib.xml"
    frame = '<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.0" admin_epoch="1" epoch="1" num_updates="0">'
    cib.write_text(f"{frame}{body}<status/></cib>")
    done = subprocess.run([verify, "-x", str(cib), "-V"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lab_examples_name_options_that_exist() -> None:
    pdu = json.loads((SHARE / "pdudaemon.json").read_text())["pdus"]["heartwire"]
    lines = [pdu["cmd_on"] % "a", pdu["cmd_off"] % "a"]
    lines += [
        line.partition('"')[2].rstrip('"')
        for line in (SHARE / "labgrid.yaml").read_text().splitlines()
        if "cmd_" in line
    ]
    assert len(lines) == 5
    for line in lines:
        program, *words = line.split()
        found = from_arguments(words)
        assert program == "fence_heartwire"
        assert (found.plug, found.ignored) == ("a", [])


class Hook:
    """The hook, with stand-ins for Pacemaker's programs that say what a test wants."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.stand_in("crm_node", "echo alpha")
        self.stand_in("attrd_updater", f'echo "$@" >>{self.log}')
        self.located("resource service is running on: beta")

    def stand_in(self, name: str, body: str) -> None:
        """Put a program in place."""
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def located(self, words: str, code: int = 0) -> None:
        """Set what is said about where the service runs."""
        self.stand_in("crm_resource", f"echo '{words}'; exit {code}")

    def run(self, what: str, timeout_s: float = 10) -> int:
        """Run the hook; return its exit code."""
        path = f"{self.directory}:{os.environ['PATH']}"
        command = [str(SHARE / "pacemaker-hook"), what, "service"]
        return subprocess.run(
            command, env={"PATH": path}, timeout=timeout_s, check=False, stderr=subprocess.DEVNULL
        ).returncode

    def told(self) -> str:
        """Return what Pacemaker was told."""
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """Return a hook."""
    return Hook(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "answer"),
    [
        ("resource service is running on: alpha", 0, 0),
        ("resource service is running on: beta", 0, 1),
        ("resource service is running on: alphabet", 0, 1),
        ("resource service is NOT running", 0, 1),
        ("connection to cluster failed", 107, 126),
    ],
)
def test_check(hook: Hook, words: str, code: int, answer: int) -> None:
    hook.located(words, code)
    assert hook.run("check") == answer


def test_check_without_pacemaker_cannot_say(hook: Hook) -> None:
    hook.stand_in("crm_node", "exit 1")
    assert hook.run("check") == 126
    assert hook.run("stop") == 126


def test_stop_tells_pacemaker_and_returns_once_it_is_stopped(hook: Hook) -> None:
    assert hook.run("stop") == 0
    assert hook.told() == "--name heartwire --update 0\n"


@pytest.mark.parametrize("verb", ["stop", "drain"])
def test_stop_never_returns_while_it_runs_here(hook: Hook, verb: str) -> None:
    hook.located("resource service is running on: alpha")
    with pytest.raises(subprocess.TimeoutExpired):
        hook.run(verb, 1)


def test_stop_never_takes_an_error_for_stopped(hook: Hook) -> None:
    hook.located("connection to cluster failed", 107)
    with pytest.raises(subprocess.TimeoutExpired):
        hook.run("stop", 1)


def test_start(hook: Hook) -> None:
    hook.located("resource service is running on: alpha")
    assert hook.run("start") == 0
    assert hook.told() == "--name heartwire --update 1\n"
    hook.stand_in("attrd_updater", "exit 1")
    assert hook.run("start") == 126


def test_another_verb(hook: Hook) -> None:
    assert hook.run("explode") not in (0, 1)
    assert hook.told() == ""
