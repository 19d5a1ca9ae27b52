"""The templates of share/cluster: they pass the checks of those who read them."""

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
def test_the_fence_device(name: str) -> None:
    device = ElementTree.fromstring((SHARE / f"{name}.xml").read_text())
    assert (device.get("class"), device.get("type")) == ("stonith", "fence_heartwire")
    given = {pair.get("name"): pair.get("value") for pair in device.iterfind("instance_attributes/nvpair")}
    assert given.pop("pcmk_host_map") == "alpha:a;beta:b"
    assert set(given) <= set(BY_NAME)
    assert ("only_confirm" in given) == (name == "board-decides")
    assert {one.get("name"): one.get("timeout") for one in device.iterfind("operations/op")}["start"] == "60s"


@pytest.mark.parametrize("path", sorted(SHARE.glob("*.xml")), ids=lambda path: str(path.name))
def test_no_file_can_replace_a_configuration_and_the_page_says_how_to_add_it(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text())
    # Pacemaker 2.1.5 makes elements of comments within one that it creates, and then finds them against its schema.
    assert "<!--" not in path.read_text().split(f"<{root.tag}", 1)[1]
    section = {"primitive": "resources", "rsc_location": "constraints"}[root.tag]
    page = (SHARE / "README.md").read_text()
    assert f"cibadmin --create --scope {section} --xml-file {path.name}" in page


@pytest.mark.parametrize("name", TEMPLATES)
def test_pacemaker_takes_the_fragments(tmp_path: Path, name: str) -> None:
    verify = shutil.which("crm_verify", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if verify is None:
        pytest.skip("not installed: pacemaker-cli-utils (crm_verify)")
    service = '<primitive id="service" class="ocf" provider="pacemaker" type="Dummy"/>'
    device = (SHARE / f"{name}.xml").read_text()
    rule = (SHARE / "board-decides-location.xml").read_text() if name == "board-decides" else ""
    cib = tmp_path / "cib.xml"
    cib.write_text(
        '<cib crm_feature_set="3.0.14" validate-with="pacemaker-3.0" admin_epoch="1" epoch="1" num_updates="0">'
        f"<configuration><crm_config/><nodes/><resources>{service}{device}</resources>"
        f"<constraints>{rule}</constraints></configuration><status/></cib>"
    )
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
