"""Somebody's own rack on the virtual board: their settings, their agents, their hooks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from heartwire.cli.main import main
from heartwire.errors import BadConfig
from heartwire.virtual.own import OwnRack
from tests.virtual.conftest import Watcher

pytestmark = pytest.mark.virtual
# Faster than a rack's, or this would take a minute.
BENCH = (
    'bench = true\nname = "mine"\ninterval_ms = 200\nearly_ms = 50\nlate_ms = 700\ndead_ms = 2000\n'
    "common_cause_ms = 300\nlease_ms = 1500\ncold_start_ms = 6000\ndrain_ms = 3000\n"
)


def agent(folder: Path, node: str, start: str, key_file: str = "/etc/heartwire/not-here.key") -> Path:
    """Write the settings of somebody's agent, as they would stand on the server."""
    mark = folder / f"{node}.runs"
    file = folder / f"agent-{node}.toml"
    hooks = {
        "on_active": ["sh", "-c", start.format(mark)],
        "on_standby": ["rm", "-f", str(mark)],
        "check": ["test", "-e", str(mark)],
    }
    lines = [f'node = "{node}"', 'port = "/dev/heartwire-node"', "interval_ms = 200"]
    lines += [f'key_file = "{key_file}"', 'watchdog = "/dev/watchdog"', "[hooks]"]
    file.write_text("\n".join([*lines, *(f"{name} = {json.dumps(words)}" for name, words in hooks.items())]) + "\n")
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "rack.toml"
    assert main(["config", "new", str(file), "--keys"]) == 0
    text = file.read_text()
    head, rest = text.split("[board]\n", 1)
    names = [line.split(" = ")[0] for line in BENCH.splitlines()]
    kept = [line for line in rest.splitlines() if line.split(" = ")[0] not in names]
    file.write_text(head + "[board]\n" + BENCH + "\n".join(kept) + "\n")
    return file


def test_ones_own_hooks_run_and_one_that_fails_is_told(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A key file is named as `config new --keys` makes it, or as it is called on the server.
    agents = {"a": agent(tmp_path, "a", "touch {}", "keys/a.key"), "b": agent(tmp_path, "b", "exit 1")}
    with OwnRack(tmp_path / "rack", config, agents=agents) as rack:
        rack.start()
        rack.arm()
        Watcher(rack).wait(lambda board: board.status().active == "a" and (tmp_path / "a.runs").exists())
        assert rack.board.output("POWER_A") is False
        done = subprocess.run(
            [sys.executable, "-m", "heartwire", "-p", str(rack.board.usb_path), "--key-file", str(rack.host_keys),
             "switchover", "b", "--yes", "--wait"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 18, done
        assert "its services do not run" in done.stderr
        assert not (tmp_path / "a.runs").exists()


def test_an_agent_that_ends_by_itself_says_why(config: Path, tmp_path: Path) -> None:
    file = agent(tmp_path, "a", "true")
    file.write_text(file.read_text().replace("interval_ms = 200", "intervall_ms = 200"))
    said: list[str] = []
    with OwnRack(tmp_path / "rack", config, agents={"a": file}) as rack:
        rack.rack.on_event(lambda event: said.append(event.text))
        rack.start()
        Watcher(rack).wait(lambda board: any("ended" in text for text in said))
    assert any("program ended with" in text and "intervall_ms" in text for text in said), said


def test_a_second_start_in_the_same_folder_goes_on(config: Path, tmp_path: Path) -> None:
    for boots in (1, 2):
        with OwnRack(tmp_path / "rack", config, agents={}, programs=False) as rack:
            rack.start()
            with rack.open() as board:
                status = board.status()
            assert (status.name, status.boot, status.generation) == ("mine", boots, 1)


def test_an_agent_of_another_node_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="agent of node a, not of b"):
        OwnRack(tmp_path / "rack", config, agents={"b": agent(tmp_path, "a", "true")})
    with pytest.raises(BadConfig, match="no such node"):
        OwnRack(tmp_path / "rack", config, agents={"spare": agent(tmp_path, "spare", "true")})
