"""`heartwire config apply` on the firmware's own board: what a healthy server does not follow is not kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire import config_template, settings_transfer, transport
from heartwire_protocol import events
from tests.fakes.bench import Bench, BenchChannel
from tests.fakes.board import MemoryChannel
from tests.unit.firmware.changes import NEW_KEY, counted, drop_foreign_grants
from tests.unit.host.conftest import Run


@pytest.fixture
def rack(channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A rack whose node a serves; commands find its board, not the fake one of `channel`."""
    bench = Bench()
    drop_foreign_grants(bench)
    bench.settle()
    bench.run(5000)
    monkeypatch.setattr(transport, "open_channel", lambda address: BenchChannel(bench))
    since = bench.ms
    yield bench
    assert counted(bench, since, events.FENCE_FIRED) == []
    assert bench.board.state.active == 0 and bench.nodes[0].serving


def written(bench: Bench, folder: Path, **changes: str) -> str:
    """Write the running settings as a config file, with `changes` (node__a__key: TOML value) over them."""
    values = settings_transfer.values_of(bench.board.config.current.text(show_keys=False))
    values |= {path.replace("__", "."): value for path, value in changes.items()}
    file = folder / "rack.toml"
    file.write_text(config_template.running_toml(values))
    return str(file)


def test_a_key_that_the_active_server_does_not_have(rack: Bench, run: Run, tmp_path: Path) -> None:
    key = tmp_path / "new.key"
    key.touch(0o600)
    key.write_text(NEW_KEY.hex())
    text = Path(written(rack, tmp_path)).read_text()
    old = next(line for line in text.partition("[node.a]")[2].splitlines() if line.startswith("key"))
    file = tmp_path / "rack.toml"
    file.write_text(text.replace(old, 'key_file = "new.key"', 1))
    before = rack.board.config.current.text()
    result = run("config", "apply", str(file), "--yes")
    assert result.code == 9
    assert "heartwire key roll a FILE" in result.err and "waiting for a" in result.err
    assert "a was good before and is not good under the new settings" in result.err
    assert NEW_KEY.hex() not in result.out + result.err
    rack.run(10000)
    assert rack.board.config.current.text() == before


def test_what_is_active_keeps_its_place(rack: Bench, run: Run, tmp_path: Path) -> None:
    result = run("config", "apply", written(rack, tmp_path, node__a__enabled="0"), "--yes")
    assert result.code == 9
    assert "node.a.enabled stays as it is while a is active" in result.err
    assert "heartwire switchover" in result.err


def test_what_every_server_follows_is_kept(rack: Bench, run: Run, tmp_path: Path) -> None:
    result = run("config", "apply", written(rack, tmp_path, node__b__baud="57600"), "--yes")
    assert result.code == 0, result.err
    assert "servers must follow within a minute" in result.err
    assert "applied and confirmed: generation 2" in result.out
