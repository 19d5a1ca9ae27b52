"""The settings of [mqtt]: what is refused before anything is sent, and that a whole monitor tells the server."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest

from heartwire.errors import BadConfig
from heartwire.monitor import needs, run, settings
from heartwire.monitor.settings import BoardSettings
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import FakeSource
from tests.unit.mqtt.conftest import Listener, Server, until

BOARD = {"name": "rack-1", "port": "/dev/ttyACM0"}


def checked(**mqtt: Any) -> settings.MonitorSettings:
    return settings.settings_from({"board": [BOARD], "mqtt": mqtt}, Path("/etc/heartwire"))


def test_without_its_table_nothing_is_told() -> None:
    assert settings.settings_from({"board": [BOARD]}).mqtt is None
    found = checked(server="broker.example.org:8883", tls=True, user="rack", password_file="mqtt.password").mqtt
    assert found is not None
    assert found.password_file == Path("/etc/heartwire/mqtt.password")
    assert (found.topic, found.discovery, found.tls) == ("heartwire", "homeassistant", True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "mqtt.server: is missing"),
        ({"server": "broker"}, "mqtt.server: must be HOST:PORT"),
        ({"server": "mqtt://broker:1883"}, "mqtt.server: must be HOST:PORT"),
        ({"server": "b:1883", "topic": "a/#"}, "mqtt.topic: must be words"),
        ({"server": "b:1883", "topic": ""}, "mqtt.topic: must be words"),
        ({"server": "b:1883", "discovery": "+"}, "mqtt.discovery: must be words"),
        ({"server": "b:1883", "client": "a b"}, "mqtt.client: must be letters"),
        ({"server": "b:1883", "password_file": "p"}, "mqtt.user: is missing"),
        ({"server": "b:1883", "password_file": "p", "user": "u"}, "mqtt.tls: must be true: the password would cross"),
        ({"server": "b:1883", "ca_file": "ca.pem"}, "mqtt.tls: must be true for certificates"),
        ({"server": "b:1883", "tls": True, "certificate_file": "c"}, "mqtt: certificate_file and certificate_key_file"),
        ({"server": "b:1883", "tls": "yes"}, "mqtt.tls: must be true or false"),
        ({"server": "b:1883", "retain": True}, "mqtt.retain: unknown setting"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfig) as refused:
        checked(**values)
    assert any(problem.startswith(words) for problem in refused.value.problems), refused.value.problems


def test_a_password_may_stay_on_this_machine_in_clear() -> None:
    assert checked(server="127.0.0.1:1883", user="u", password_file="p").mqtt is not None


def test_check_looks_at_the_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o644)
    values = {"server": "b:8883", "tls": True, "user": "u", "password_file": "password", "ca_file": "ca.pem"}
    found = settings.settings_from({"board": [BOARD], "mqtt": values}, tmp_path)
    problems = "\n".join(needs.check_secrets(found))
    assert "others may read" in problems and f"{tmp_path}/ca.pem: No such file" in problems
    assert "s3cret" not in problems


def test_a_monitor_without_the_package_says_which_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    from heartwire.errors import UsageProblem

    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "paho" else there(name, *more))
    values = {"board": [BOARD], "store": "m.db", "metrics": "", "mqtt": {"server": "b:1883"}}
    with pytest.raises(UsageProblem) as refused:
        run.Monitor(settings.settings_from(values, tmp_path))
    assert "paho" in refused.value.words and "[mqtt]" in refused.value.next_step


def test_a_whole_monitor_tells_and_says_goodbye(server: Server, tmp_path: Path) -> None:
    board = FakeBoard()
    values = {
        "board": [BOARD], "store": str(tmp_path / "m.db"), "metrics": "", "poll_ms": 50, "status_ms": 200,
        "mqtt": {"server": server.address, "client": "whole", "topic": "site/racks", "discovery": ""},
    }  # fmt: skip

    def source(_board: BoardSettings) -> FakeSource:
        return FakeSource(board)

    monitor = run.Monitor(settings.settings_from(values), stream=io.StringIO(), make_source=source)
    running = threading.Thread(target=monitor.run)
    running.start()
    try:
        with Listener(server) as listener:
            until(lambda: '"mode":"auto"' in listener.newest.get("site/racks/rack/rack-1/state", ""), "its state")
            board.status["mode"] = "observe"
            until(lambda: '"mode":"observe"' in listener.newest["site/racks/rack/rack-1/state"], "the change")
            assert listener.newest["site/racks/monitor/whole"] == "online"
            assert not [topic for topic in listener.newest if not topic.startswith("site/racks/")]
            assert monitor._facts()["mqtt_connected"] == 1
            monitor.stop()
            running.join(30)
            until(lambda: listener.newest["site/racks/monitor/whole"] == "offline", "the goodbye")
    finally:
        monitor.stop()
        running.join(30)
