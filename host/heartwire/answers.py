"""Answers of the board as typed values: its status, one node, one page of the journal.

Read tolerantly: a key that an older board does not send keeps its default, one that a newer board adds is kept in
`extra`. The field docs are what `heartwire help json` prints. No I/O; made by board, shown by the CLI.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from heartwire.errors import ProtocolMismatch
from heartwire_protocol import alarms, messages

EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC)


def doc(sentence: str, default: Any = MISSING) -> Any:
    """Return a dataclass field with its sentence for `heartwire help json`."""
    metadata = {"doc": sentence}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def wall_time(day: int, ms: int) -> datetime | None:
    """Return the UTC time of a (day since 1970, ms of day) pair; None for day 0, which means "not set"."""
    return EPOCH_DAY + timedelta(days=day, milliseconds=ms) if day else None


def iso(moment: datetime | None) -> str | None:
    """Return an UTC time as ISO 8601 with milliseconds and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if moment else None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A dataclass that is filled from a JSON object."""

    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Return the answer that `body` holds. Raises ProtocolMismatch if a value has the wrong type."""
        known = {entry.name: entry for entry in fields(cls) if entry.name != "extra"}
        values: dict[str, Any] = {}
        for name, entry in known.items():
            if name not in body:
                continue
            value = body[name]
            kind = str(entry.type)
            if kind == "bool":
                values[name] = bool(value)
            elif (
                (kind == "int" and (isinstance(value, bool) or not isinstance(value, int)))
                or (kind == "str" and not isinstance(value, str))
                or (
                    kind.startswith("dict")
                    and not isinstance(value, dict)
                    and (value is not None or "None" not in kind)
                )
            ):
                raise ProtocolMismatch(f"the board's answer has {name} = {value!r} where {kind} is due")
            else:
                values[name] = value
        return cls(**values, extra={name: value for name, value in body.items() if name not in known})

    def as_json(self) -> dict[str, Any]:
        """Return the documented keys and values, ready for JSON."""
        values = asdict(self)
        values.pop("extra", None)
        return dict(values)


@dataclass(frozen=True, kw_only=True)
class Status(Answer):
    """The board: who may be active, what it is doing and why not."""

    name: str = doc("name of the board", "")
    version: str = doc("version of its firmware", "")
    board_id: str = doc("the chip's unique id, which is its USB serial number", "")
    signed: bool = doc(
        "a key of this host signs every answer of the board; without one it is as good as the cable", False
    )
    boot: int = doc("boots so far", 0)
    uptime_s: int = doc("seconds since this boot", 0)
    mode: str = doc("observe, fencer, approve or auto", "observe")
    safe: bool = doc("safe mode: no automatic action", False)
    epoch: int = doc("fencing token of the newest activation", 0)
    holder: str | None = doc("node that the durable record names as active", None)
    active: str | None = doc("node that is entitled now", None)
    phase: str = doc("watching, draining, fencing, promoting, approval or failed", "watching")
    target: str | None = doc("node that is to be fenced or drained", None)
    successor: str | None = doc("node that is to be active after that", None)
    held: str | None = doc("reason why nothing is done, by name", None)
    advisory: bool = doc("grants are advisory: agents stop nothing", False)
    bench: bool = doc("timings too short for real servers are allowed", False)
    generation: int = doc("generation of the running settings", 0)
    crc: int = doc("CRC-16 of the running settings", 0)
    trial_s: int = doc("seconds until unconfirmed settings revert; 0 without a trial", 0)
    lost_settings: bool = doc("its settings are lost: it takes orders only while its key switch is on", False)
    newest: int = doc("sequence of the newest journal record", 0)
    lost: int = doc("journal records that could not be written", 0)
    maintenance_s: int = doc("seconds of maintenance left for the whole board", 0)
    approval: dict[str, Any] | None = doc("{request, left_s} of the approval that is asked", None)  # noqa: RUF009
    free: int = doc("free heap in bytes", 0)
    loop_ms: int = doc("worst pass of the board's loop in ms", 0)
    key: bool = doc("the key switch on the board is on", False)
    wall: list[int] | None = doc("the board's time, UTC, ISO 8601; null until a host sets it", None)  # noqa: RUF009
    alarm: bool = doc("the alarm contact is in alarm", False)
    alarms: int = doc("names of what is wrong, from the table of alarms", 0)
    schedule: str | None = doc("node of a scheduled switchover", None)
    schedule_s: int | None = doc("seconds until then; null while the board does not know the wall time", None)
    long_lease_s: int = doc("seconds of a long lease for an update of the board; nobody else is granted meanwhile", 0)
    micropython: str = doc("version of its MicroPython", "")
    machine: str = doc("what its MicroPython says that it runs on", "")
    crash: str = doc("how its firmware last failed, since it was installed; empty if it never did", "")
    storage_bad: bool = doc("the board's flash does not take what is written: no fence, no failover", False)

    def as_json(self) -> dict[str, Any]:
        """Return the documented keys; `wall` as ISO 8601 text, `alarms` as a list of names."""
        return {**super().as_json(), "wall": iso(self.wall_clock), "alarms": alarms.names_of(self.alarms)}

    @property
    def wall_clock(self) -> datetime | None:
        """The board's wall time in UTC, or None if no host has set it since boot."""
        if not self.wall or len(self.wall) != 2:
            return None
        return wall_time(int(self.wall[0]), int(self.wall[1]))


@dataclass(frozen=True, kw_only=True)
class NodeStatus(Answer):
    """One node as the board sees it."""

    node: str = doc("a, b or spare", "")
    name: str = doc("the server's name", "")
    enabled: bool = doc("the settings say that it exists", True)
    role: str = doc("offline, standby, active or quarantined", "offline")
    verdict: str = doc("unheard, good, late or dead", "unheard")
    age_ms: int | None = doc("ms since its last good heartbeat; null if there was none", None)
    state: str = doc("what it says of itself: starting, healthy, degraded, busy, draining, planned_off, crash_dump", "")
    flags: int = doc("names of the flags in its last heartbeat, from the table of flags", 0)
    epoch: int = doc("highest epoch the node knows", 0)
    lease_ms: int = doc("ms left of its permission to be active; 0 for none", 0)
    incarnation: int = doc("random number of its agent's start", 0)
    sequence: int = doc("number of its last heartbeat", 0)
    power: str = doc("what the sense inputs say: on, off or unknown", "unknown")
    relay: bool = doc("the relay is told to cut its power", False)
    fence: str = doc("idle, firing, proven, assumed or failed", "idle")
    half_line: bool = doc("it is heard but does not hear the board", False)
    altered: bool = doc("its heartbeats are altered", False)
    beats: int = doc("good heartbeats since the board started", 0)
    key: int = doc("what signed its last heartbeat: 0 no key, 1 its key, 2 its key_next", 0)
    drops: dict[str, int] = field(
        default_factory=dict, metadata={"doc": "what did not count, by kind; only those that happened"}
    )
    grace_s: int = doc("seconds of boot grace left", 0)
    actions: int = doc("automatic actions on it within the window", 0)
    locked: bool = doc("locked out after too many actions", False)
    suspect: bool = doc("its contact did not cut its power when it was told to", False)
    feeds: int = doc("sensed feeds that have power, as bits: 1 the first, 2 the second", 0)
    slowest_boot_s: int = doc("slowest start seen, from power to its first good heartbeat; 0 for none", 0)
    maintenance_s: int = doc("seconds of its maintenance left", 0)

    def as_json(self) -> dict[str, Any]:
        """Return the documented keys; `flags` as a list of names."""
        return {**super().as_json(), "flags": [name for bit, name, _ in messages.FLAGS if self.flags & bit]}

    @property
    def was_heard(self) -> bool:
        """Whether it has given a good heartbeat since the board started, so that `age_ms` means something."""
        return self.age_ms is not None and self.verdict != "unheard"

    @property
    def label(self) -> str:
        """The node with its server's name: "a (alpha)"."""
        return f"{self.node} ({self.name})" if self.name and self.name != self.node else self.node


@dataclass(frozen=True, kw_only=True)
class Levels(Answer):
    """Every input and output of the board by signal; 1 is asserted."""

    inputs: dict[str, int] = field(default_factory=dict, metadata={"doc": "level of each input"})
    outputs: dict[str, int] = field(default_factory=dict, metadata={"doc": "level of each output"})


@dataclass(frozen=True, kw_only=True)
class RelayTest(Answer):
    """The relay test under way, or what the last one found."""

    phase: str = doc("rest, waiting, cut, back or settling", "rest")
    node: str | None = doc("node whose relay was tested last", None)
    number: int = doc("number of that test since the board started", 0)
    cut_ms: int = doc("how long its power was to be cut", 0)
    left_ms: int = doc("ms until the relay is released", 0)
    result: str = doc("name from the table of results of a relay test; none while it is under way", "none")
    off_ms: int | None = doc("ms from the command to its sense going off", None)
    on_ms: int | None = doc("ms from the release to its sense coming back", None)

    @property
    def is_over(self) -> bool:
        """Whether no test is under way."""
        return self.phase == "rest"


@dataclass(frozen=True, kw_only=True)
class LogPage(Answer):
    """The end of one answer to `log`: how far the journal reaches."""

    sent: int = doc("records sent", 0)
    newest: int = doc("sequence of the newest record", 0)
    oldest_decision: int = doc("sequence of the oldest decision record kept", 0)
    oldest_routine: int = doc("sequence of the oldest routine record kept", 0)
