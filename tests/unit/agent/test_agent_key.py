"""The agent takes another key while it runs, and neither it nor the board misses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.agent.grants import Refusal
from heartwire.agent.lease import Loss
from heartwire.agent.run import take_key
from heartwire_protocol import codes, events
from tests.fakes.bench import KEYS
from tests.unit.agent.agent_bench import AgentBench, B
from tests.unit.firmware.changes import FENCES, NEW_KEY, apply, changed, confirm, counted


@pytest.mark.parametrize("loss", list(Loss))
def test_a_key_is_rolled_under_running_services(tmp_path: Path, loss: Loss) -> None:
    text = f"board.preferred=b\nnode.b.on_board_loss={loss.value}\n"
    rig = AgentBench(tmp_path, text=text, mode=codes.MODE_AUTO, obedient=True, on_board_loss=loss)
    bench = rig.bench
    bench.run(10000)
    assert bench.board.state.active == B and rig.agent.services.running
    since, commands = bench.ms, len(rig.commands.started)
    apply(bench, changed(bench, f"node.b.key_next={NEW_KEY.hex()}\n"))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1
    before = bench.board.intakes[B].beats
    for after_ms in (0, 7, 250, 500, 990):
        # At any moment between two heartbeats.
        bench.run(5000 + after_ms)
        rig.agent.use_key(NEW_KEY if after_ms != 250 else KEYS[B])
    bench.run(5000)
    assert bench.ask(op="node", node="b")["key"] == 2
    assert bench.board.intakes[B].beats - before >= 30
    apply(bench, changed(bench, f"node.b.key={NEW_KEY.hex()}\nnode.b.key_next=\n"))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1
    assert len(rig.commands.started) == commands and rig.agent.services.running
    assert rig.agent.grants.refused[Refusal.WRONG_MAC] == 0
    assert counted(bench, since, *FENCES, events.LATE, events.ALTERED, events.HALF_LINE) == []


def test_the_key_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "b.key"
    file.touch(0o600)
    file.write_text(NEW_KEY.hex())
    rig = AgentBench(tmp_path, key_file=file)
    apply(rig.bench, changed(rig.bench, f"node.b.key_next={NEW_KEY.hex()}\n"))
    take_key(rig.agent)
    rig.bench.run(3000)
    assert rig.bench.ask(op="node", node="b")["key"] == 2
    for damage in ("", "nonsense", "operate=" + NEW_KEY.hex()):
        file.write_text(damage)
        take_key(rig.agent)
    file.unlink()
    take_key(rig.agent)
    rig.bench.run(3000)
    assert rig.bench.ask(op="node", node="b")["key"] == 2
    assert rig.text.getvalue().count("key_not_read") == 4 and NEW_KEY.hex() not in rig.text.getvalue()
