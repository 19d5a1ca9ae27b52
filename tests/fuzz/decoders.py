"""Everything that reads bytes, text or a file without a socket: what it reads, its seeds, and what it may raise.

`seeds/NAME/` keeps what was found once, and what no shipped file or golden frame shows; each is read in every run. The
sockets, HTTP and JSON that others send are targets.py's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heartwire import bounded, config, journal, keys
from heartwire.agent import settings as agent_settings
from heartwire.agent import state
from heartwire.agent.beat import Incarnation
from heartwire.agent.grants import GrantReader
from heartwire.errors import HeartwireError
from heartwire.monitor import settings as monitor_settings
from heartwire_firmware.idle import IdleStamp
from heartwire_firmware.intake import Intake
from heartwire_protocol import framing, messages, records, settings
from heartwire_protocol.auth import Signer

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = Path(__file__).resolve().parent / "seeds"
SHARE = ROOT / "host" / "heartwire" / "share"
KEY = bytes(range(32))
JSON_MAX = 512


@dataclass(frozen=True)
class Decoder:
    """One reader: `read(data, folder)` may raise `allowed` and nothing else."""

    name: str
    read: Callable[[bytes, Path], object]
    shipped: Callable[[], list[bytes]]  # right inputs, from golden frames and shipped files
    allowed: tuple[type[Exception], ...] = ()

    def seeds(self) -> list[bytes]:
        """Return all seeds: what is shipped, and what is kept."""
        kept = sorted((SEEDS / self.name).glob("*")) if (SEEDS / self.name).is_dir() else []
        return [*self.shipped(), *[path.read_bytes() for path in kept]]


def _vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "contract.json").read_text(encoding="utf-8"))
    return found


def _frames(kind: int | None = None) -> list[bytes]:
    wires = [bytes.fromhex(wire) for wire in _vectors()["frames"].values()]
    found = [wire for wire in wires if kind is None or _opened(wire)[0] == kind]
    assert found, "no golden frame of this kind"
    return found


def _opened(wire: bytes) -> tuple[int, bytes]:
    decoder = framing.Decoder(1024)
    decoder.feed(wire, 0, len(wire))
    return decoder.message_type, bytes(decoder.payload[: decoder.length])


def _frame(data: bytes, _folder: Path) -> None:
    decoder = framing.Decoder(messages.JSON_MAX)
    at = turns = 0
    while at < len(data):
        at = decoder.feed(data, at, len(data))
        turns += 1
        assert turns <= len(data), "a decoder that takes nothing"
        assert not decoder.ready or decoder.length <= messages.JSON_MAX


class _Wire:
    """A node line on which `data` comes in."""

    def __init__(self, data: bytes) -> None:
        self._rest = data
        self.idle = IdleStamp()

    def read_into(self, buffer: bytearray, limit: int) -> int:
        part, self._rest = self._rest[:limit], self._rest[limit:]
        buffer[: len(part)] = part
        return len(part)


def _heartbeat(data: bytes, _folder: Path) -> None:
    """Let a board's line take it, signed and not: nothing that nobody signed is a heartbeat."""
    found, problems = settings.parse(f"node.a.key={KEY.hex()}\n")
    assert not problems
    intake = Intake(0, _Wire(data), lambda buffer: buffer.__setitem__(slice(None), b"\x01\x02\x03\x04"), lambda: 0)
    intake.configure(found.board, found.nodes[0])
    for _turn in range(len(data) + 2):  # each takes a whole reading, or a frame, of which each has a byte at least
        if intake.gather():
            intake.pump(True)
    assert not intake.waiting, "it takes no more, and has more"
    assert intake.beats == 0, "nobody could answer this challenge"


def _grant(data: bytes, _folder: Path) -> None:
    incarnation = Incarnation(77)
    incarnation.next_sequence(1)
    reader = GrantReader(0, Signer(KEY))
    kind, payload = _opened(data)
    found = reader.read(kind, payload, incarnation)
    assert not isinstance(found, tuple), "nobody has signed this"


def _record(data: bytes, _folder: Path) -> None:
    """Read it as it is, and with a right CRC, as a board with other tables would write it."""
    body = data[: records.LENGTH - 2].ljust(records.LENGTH - 2, b"\xff")
    whole = body + framing.crc16(body, len(body)).to_bytes(2, "big")
    assert records.is_whole(whole)
    str(journal.decode(whole))
    if not records.is_whole(data):
        with contextlib.suppress(ValueError):
            journal.decode(data)
            raise AssertionError("a damaged record was read")


def _file(read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def run(data: bytes, folder: Path) -> object:
        path = folder / "read"
        path.write_bytes(data)
        path.chmod(0o600)
        return read(path)

    return run


def _agent(path: Path) -> None:
    agent_settings.settings_from(agent_settings.load(path))


def _status(data: bytes, folder: Path) -> None:
    (folder / state.STATUS_FILE).write_bytes(data)
    state.read_resumption(folder, "a", "boot")


def _example(name: str) -> list[bytes]:
    return [(SHARE / name).read_bytes()]


STATUS = (
    b'{"boot_id":"boot","node":"a","time_ns":5,"lease_until_ns":9,"lease_epoch":3,"epoch":3,"suspect":true,'
    b'"wish":"run","busy_until_ns":0,"crash_dump_until_ns":0,"planned_off":false,"running":true}'
)
SETTINGS = b"board.late_ms=900\nnode.a.senses=2\n"
KEYS = f"host={KEY.hex()}\n".encode()
REFUSED = (HeartwireError,)
DECODERS = (
    Decoder("frames", _frame, _frames),
    Decoder("heartbeats", _heartbeat, lambda: _frames(messages.HEARTBEAT)),
    Decoder("grants", _grant, lambda: _frames(messages.GRANT)),
    Decoder("records", _record, lambda: [bytes.fromhex(_vectors()["record"])]),
    Decoder("json", lambda data, _folder: bounded.load(data, JSON_MAX), lambda: [STATUS], (ValueError,)),
    Decoder("status", _status, lambda: [STATUS]),
    Decoder("settings", lambda data, _folder: settings.parse(data.decode("latin-1")), lambda: [SETTINGS]),
    Decoder("config", _file(config.load), lambda: _example("heartwire.example.toml"), REFUSED),
    Decoder("agent", _file(_agent), lambda: _example("agent.example.toml"), REFUSED),
    Decoder("monitor", _file(monitor_settings.load), lambda: _example("monitor.example.toml"), REFUSED),
    Decoder("keys", _file(keys.read_file), lambda: [KEYS], REFUSED),
)
