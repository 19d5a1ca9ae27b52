"""Settings: precise about what is wrong, silent about secrets."""

import dataclasses
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from heartwire.errors import BadConfig
from heartwire.monitor import settings

BOARD = {"name": "rack-1", "port": "/dev/ttyACM0"}
MAIL = {"name": "mail", "kind": "apprise", "url_file": "mail.url"}


def problems(**values: Any) -> tuple[str, ...]:
    with pytest.raises(BadConfig) as caught:
        settings.settings_from({"board": [BOARD], **values})
    return caught.value.problems


def test_the_shipped_example_is_right_and_shows_every_setting_with_its_default() -> None:
    text = resources.files("heartwire").joinpath("share", "monitor.example.toml").read_text()
    found = settings.settings_from(tomllib.loads(text))
    assert dataclasses.replace(found, board=(), channel=()) == settings.MonitorSettings()
    kinds: list[type] = [
        settings.MonitorSettings, settings.BoardSettings, settings.ChannelSettings, settings.RetentionSettings,
        settings.DeadmanSettings, settings.PeerSettings, settings.WebSettings,
        settings.OperatorSettings,
    ]  # fmt: skip
    for kind in kinds:
        for field in dataclasses.fields(kind):
            shown = (f"{field.name} =", f"[{field.name}]", f".{field.name}]")
            assert any(words in text for words in shown), f"{kind.__name__}.{field.name}"
            assert field.metadata["doc"] or dataclasses.is_dataclass(field.default)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pol_ms": 5}, "pol_ms: unknown setting; known here: board, channel,"),
        ({"poll_ms": 5}, "poll_ms: must be a whole number from 50 to 60000, not 5"),
        ({"poll_ms": 500.5}, "poll_ms: must be a whole number"),
        ({"poll_ms": True}, "poll_ms: must be a whole number"),
        ({"retention": 5}, "retention: must be a table"),
        ({"retention": {"days": 0}}, "retention.days: must be a whole number from 1 up, not 0"),
        ({"board": []}, "board: at least one [[board]] is needed"),
        ({"board": {"name": "x"}}, "board: must be a list of tables, written [[board]]"),
        ({"board": [{"name": "x"}]}, "board[1].port: is missing: device file"),
        ({"board": [BOARD, BOARD]}, "board[2].name: a second board 'rack-1'"),
        ({"board": [{**BOARD, "name": "a b"}]}, "board[1].name: must be letters"),
        (
            {"board": [{**BOARD, "port": "telnet://x:1"}]},
            "board[1].port: must be device file, id:SERIAL, socket://HOST",
        ),
        ({"channel": [{"name": "m", "kind": "mail"}]}, "channel[1].kind: must be one of apprise, command, syslog"),
        ({"channel": [{"name": "m", "kind": "apprise"}]}, "channel[1].url_file: an apprise channel needs"),
        ({"channel": [{"name": "m", "kind": "command"}]}, "channel[1].command: a command channel needs"),
        (
            {"channel": [{"name": "m", "kind": "command", "command": "x"}]},
            "channel[1].command: must be a list of words",
        ),
        ({"channel": [{**MAIL, "boards": ["rack-2"]}]}, "channel[1].boards: no board is called 'rack-2'"),
        ({"channel": [{**MAIL, "severity": "bad"}]}, "channel[1].severity: must be one of info, notice"),
        ({"metrics": "9732"}, "metrics: must be ADDRESS:PORT"),
        ({"metrics": "127.0.0.1:²"}, "metrics: must be ADDRESS:PORT"),
        ({"set_time": 1}, "set_time: must be true or false"),
        ({"peer": {"url": "http://x:1"}}, "peer: url, listen and key_file belong together"),
        ({"store": "postgresql://me:secret@x/y"}, "store: a password belongs into a file"),
    ],
)
def test_a_mistake_is_named_with_its_path_and_rule(values: dict[str, Any], words: str) -> None:
    found = problems(**values)
    assert any(problem.startswith(words) for problem in found), found


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems(poll_ms=1, status_ms=1, x=1)) == 3


def test_a_password_in_the_store_url_is_not_quoted() -> None:
    assert "secret" not in str(problems(store="postgresql://me:secret@x/y"))


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "monitor.toml"
    path.write_text('[[board]]\nname="x"\nport="y"\n[[channel]]\nname="m"\nkind="apprise"\nurl_file="mail.url"\n')
    assert settings.load(path).channel[0].url_file == tmp_path / "mail.url"


def test_no_file_and_no_toml_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        settings.load(tmp_path / "none.toml")
    path = tmp_path / "bad.toml"
    path.write_text("a = \n")
    with pytest.raises(BadConfig, match=r"not valid TOML.*line 1"):
        settings.load(path)


def test_a_secret_that_others_may_read_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "mail.url"
    path.write_text("mailto://me:hunter2@example.org\n# note\n")
    path.chmod(0o644)
    with pytest.raises(BadConfig) as caught:
        settings.read_secret(path)
    assert "0644" in caught.value.words
    assert "chmod 600" in caught.value.next_step
    assert "hunter2" not in caught.value.words
    path.chmod(0o600)
    assert settings.secret_lines(path) == ["mailto://me:hunter2@example.org"]


def test_install_writes_units_user_and_settings_and_never_over_a_persons(tmp_path: Path) -> None:
    from heartwire.cli.main import main

    command = ["monitor", "install", "--root", str(tmp_path), "--program", "/opt/heartwire/bin/heartwire"]
    assert main(command) == 0
    unit = tmp_path / "etc/systemd/system/heartwire-monitor.service"
    assert "ExecStart=/opt/heartwire/bin/heartwire monitor run" in unit.read_text()
    assert "u heartwire" in (tmp_path / "usr/lib/sysusers.d/heartwire.conf").read_text()
    for name in ("heartwire-selftest@.service", "heartwire-selftest@.timer"):
        assert (tmp_path / "etc/systemd/system" / name).exists()
    config = tmp_path / "etc/heartwire/monitor.toml"
    config.write_text("# mine\n")
    assert main([*command, "--force"]) == 0
    assert config.read_text() == "# mine\n"
