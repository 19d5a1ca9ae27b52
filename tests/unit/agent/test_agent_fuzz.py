"""Whatever comes over the line, in good frames or not, the agent goes on."""

import random
from pathlib import Path

import pytest

from heartwire.agent.agent import PAYLOAD_MAX
from heartwire_protocol import framing, messages
from tests.unit.agent.agent_fakes import KEY, World
from tests.unit.agent.test_agent_world import active, flags

TYPES = (messages.GRANT, messages.FENCE_REPLY, messages.EVENT, messages.HEARTBEAT, 0, 0x7F, 0xFF)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("key", [KEY, None], ids=["signed", "unsigned"])
def test_frames_of_any_content_end_nothing(tmp_path: Path, seed: int, key: bytes | None) -> None:
    chance = random.Random(seed)
    world = active(World(tmp_path, key=key))
    for _ in range(300):
        kind = chance.choice(TYPES)
        layout = messages.layout_of(kind) if kind in (messages.GRANT, messages.FENCE_REPLY) else None
        length = layout.length if layout and chance.random() < 0.7 else chance.randrange(PAYLOAD_MAX + 1)
        if chance.random() < 0.2:
            world.agent.handle({"do": "fence", "target": "b", "seconds": 1}, lambda answer: None)
            world.agent.read_events({"after": chance.randrange(99), "count": 16}, lambda answer: None)
        world.ports[-1].inbox += framing.encode(kind, chance.randbytes(length))
        world.go(chance.choice((50, 200, 1000)))
    if key:
        assert world.commands.names() == []
        assert flags(world) & messages.FLAG_RUNNING
