"""What is missing is installed by the command that fits how this heartwire was installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from heartwire import extras
from tests.packages.conftest import ROOT

FOLDER = {"url": "file:///opt/heart%20wire", "dir_info": {"editable": True}}
WHEEL = {"url": "file:///srv/heartwire-0.1.0.whl", "archive_info": {}}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that says what installers noted: files of the distribution, marks of the environment."""

    def note(files: dict[str, str], *marks: str) -> None:
        class Distribution:
            def read_text(self, name: str) -> str | None:
                return files.get(name)

        for mark in marks:
            (tmp_path / mark).write_text("")
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution())
        monkeypatch.setattr("sys.prefix", str(tmp_path))
        monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    return note


@pytest.mark.parametrize(
    ("origin", "marks", "hint"),
    [
        (FOLDER, [], "{python} -m pip install -e '/opt/heart wire[x]'"),
        (WHEEL, [], "{python} -m pip install '/srv/heartwire-0.1.0.whl[x]'"),
        (WHEEL, [extras.PIPX_MARK], "pipx install --force --python {python} '/srv/heartwire-0.1.0.whl[x]'"),
        (WHEEL, [extras.UV_MARK], "uv tool install --force '/srv/heartwire-0.1.0.whl[x]'"),
        ({"url": "git+ssh://there/heartwire"}, [], "{python} -m pip install 'WHERE[x]', " + extras.WHERE),
        (None, [], "{python} -m pip install 'WHERE[x]', " + extras.WHERE),
    ],
)
def test_a_missing_extra_is_installed_from_where_heartwire_came_from(
    installed: Any, tmp_path: Path, origin: dict[str, Any] | None, marks: list[str], hint: str
) -> None:
    installed({"INSTALLER": "pip\n", **({"direct_url.json": json.dumps(origin)} if origin else {})}, *marks)
    assert extras.install_hint("x") == hint.format(python=(tmp_path / "python").resolve())


def test_what_a_debian_package_holds_is_named_and_what_none_holds_goes_elsewhere(installed: Any) -> None:
    installed({"INSTALLER": "dpkg\n"})
    assert "heartwire-monitor" in extras.install_hint("web")
    virtual = extras.install_hint("virtual")
    assert "no Debian package holds it" in virtual and "python3 -m venv" in virtual and "WHERE[virtual]" in virtual
    assert sys.executable not in virtual
    assert "'slack-sdk'" in extras.package_hint("slack-sdk") and sys.executable not in extras.package_hint("slack-sdk")


def test_somebody_elses_package_goes_into_the_same_environment(installed: Any) -> None:
    installed({})
    assert extras.package_hint("slack-sdk") == f"{sys.executable} -m pip install 'slack-sdk'"
    installed({}, extras.PIPX_MARK)
    assert extras.package_hint("slack-sdk") == "pipx inject heartwire 'slack-sdk'"


def test_every_extra_that_a_debian_package_is_said_to_hold_is_in_its_lock() -> None:
    from tools.lock import WANTED

    named = WANTED["deb"][1].removeprefix(".[").removesuffix("]").split(",")
    assert sorted(named) == sorted(extras.DEBIAN_PACKAGES)


def test_no_hint_installs_the_project_from_an_index() -> None:
    named = "install 'heart" + "wire["
    sources = [path for top in ("host", "firmware", "tools", "tests") for path in (ROOT / top).rglob("*.py")]
    assert [str(path) for path in sources if named in path.read_text(encoding="utf-8")] == []
