"""The pages and examples of share/: settings are settings, files and scenarios that are named exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import heartwire
from heartwire_protocol import settings as contract

SHARE = Path(heartwire.__file__).parent / "share"
ROOT = Path(__file__).parent.parent.parent.parent


def test_the_kdump_settings_are_settings_of_a_board() -> None:
    values = tomllib.loads((SHARE / "kdump" / "kdump.toml").read_text())
    text = "".join(
        f"node.{node}.{name}={value}\n" for node, rows in values["node"].items() for name, value in rows.items()
    )
    found, problems = contract.parse(f"node.a.enabled=1\nnode.a.name=alpha\n{text}")
    assert not problems
    assert found.nodes[0].second_sign == "line"


@pytest.mark.parametrize("page", ["kdump", "ups", "hooks", "cluster"])
def test_pages_name_what_exists(page: str) -> None:
    text = (SHARE / page / "README.md").read_text()
    for scenario in re.findall(r"`(tests/scenarios/[a-z_]+\.txt)`", text):
        assert (ROOT / scenario).exists()
    named = re.findall(r"`([a-z-]+\.(?:toml|xml|service|conf|yaml|json))`", text)
    elsewhere = {"agent.toml", "start.conf", "heartwire-planned-off.service"}
    assert {name for name in named if not (SHARE / page / name).exists()} <= elsewhere
