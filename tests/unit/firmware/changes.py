"""Settings changed on a running bench: uploaded, applied and confirmed as a host does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heartwire_protocol import auth, events, framing
from tests.fakes.bench import KEYS, Bench
from tests.fakes.node import FakeNode

NEW_KEY = bytes([0x99]) * 32


def upload(bench: Bench, text: str, **signed: Any) -> None:
    """Send `text` for the next settings_apply."""
    data = text.encode()
    assert bench.ask(op="settings_begin", length=len(data), crc=framing.crc16(data, len(data)), **signed) == {"ok": 1}
    for at in range(0, len(text), 300):
        assert bench.ask(op="settings_put", offset=at, text=text[at : at + 300], **signed) == {"ok": 1}


def changed(bench: Bench, lines: str = "", swap: tuple[str, str] | None = None) -> str:
    """Return the running settings with `lines` laid over them and, in what stood there, `swap` replaced."""
    text = bench.board.config.current.text()
    if swap:
        assert swap[0] in text
        text = text.replace(*swap)
    paths = {line.partition("=")[0] for line in lines.splitlines()}
    return "".join(line for line in text.splitlines(True) if line.partition("=")[0] not in paths) + lines


def apply(bench: Bench, text: str) -> dict[str, Any]:
    """Upload `text` and run it on trial; return the answer."""
    upload(bench, text)
    return bench.ask(op="settings_apply")


def confirm(bench: Bench) -> dict[str, Any]:
    """Ask to keep what is on trial."""
    return bench.ask(op="settings_confirm", generation=bench.board.config.generation)


def give_key(node: FakeNode, key: bytes) -> None:
    """Let the node sign with `key` from its next heartbeat on."""
    node.signer = auth.Signer(key)


def drop_foreign_grants(bench: Bench) -> None:
    """Let the nodes drop what another key signed, as the agent does; the fake one calls it a fault of the board."""

    def careful(take: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def taken(grant: dict[str, Any]) -> None:
            try:
                take(grant)
            except AssertionError as error:
                assert "signed another answer" in str(error)

        return taken

    for node in bench.nodes:
        node._take = careful(node._take)  # type: ignore[method-assign,assignment]


def rig(text: str = "", nodes: int = 2) -> Bench:
    """Return a bench whose node a is active and has run for a while."""
    bench = Bench(text, nodes=nodes)
    drop_foreign_grants(bench)
    bench.settle()
    bench.run(5000)
    assert bench.board.state.active == 0
    return bench


def counted(bench: Bench, since_ms: int, *kinds: int) -> list[tuple[int, int, int]]:
    """Return (event, node, reason) of what happened of `kinds` since then."""
    return [(row[1], row[2], row[3]) for row in bench.happened if row[0] >= since_ms and row[1] in kinds]


FENCES = (events.FENCE_FIRED, events.RECOVERY_STEP)
OLD_KEY = KEYS[0].hex()
