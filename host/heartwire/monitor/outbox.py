"""The outbox: mentions that wait, messages that are pending, being sent or sent. Every step is one transaction.

`begin` is stored before an attempt and `finish` after it, with the attempt's number between them in the receipts, so a
kill at any point leaves a state from which the next monitor knows what to do (see receipts). The other monitor's claims
go through `cede`, which never takes what is being sent. Where many monitors share the store each row is locked before
it is taken, and one that another one is just taking is passed over (FOR UPDATE SKIP LOCKED; SQLite lets one writer in
at a time). An attempt is claimed by its monitor; `expire` takes it from one that is gone. Called by dispatch and peer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from heartwire.monitor import schema
from heartwire.monitor.store import Store, now_ms

mentions, messages = schema.mention.c, schema.message.c
# Numbers in one statement: SQLite takes a thousand at least.
PORTION = 500


@dataclass(frozen=True)
class Mention:
    """One subject that one channel is to be told; `state` is waiting or ceded."""

    id: int
    subject: str
    board_id: str
    event_id: int | None
    observation_id: int | None
    clears: bool
    state: str
    at_ms: int


@dataclass(frozen=True)
class Message:
    """One message of the outbox."""

    id: int
    uid: str
    channel: str
    severity: str
    title: str
    body: str
    state: str
    attempts: int
    trouble: str
    unsure: bool
    made_ms: int
    claimed_by: str | None


class Outbox:
    """Reads and writes mentions and messages, for the monitor `claimant`: its id, see courier.ProcessCourier."""

    def __init__(self, store: Store, claimant: str = "") -> None:
        self.store = store
        self.claimant = claimant

    def waiting(self, channel: str, limit: int = 2000) -> list[Mention]:
        """Return what `channel` is still to be told, oldest first."""
        wanted = (
            select(schema.mention)
            .where(mentions.channel == channel, mentions.state.in_(("waiting", "ceded")))
            .order_by(mentions.id)
            .limit(limit)
        )
        with self.store.read() as connection:
            return [
                _mention(row)
                for row in connection.execute(wanted)
                if row.event_id is not None or row.observation_id is not None
            ]

    def unsent(self, channel: str) -> list[Message]:
        """Return the messages of `channel` that are pending or being sent, oldest first."""
        wanted = (
            select(schema.message)
            .where(messages.channel == channel, messages.state.in_(("pending", "sending")))
            .order_by(messages.id)
        )
        with self.store.read() as connection:
            return [_message(row) for row in connection.execute(wanted)]

    def bundled(self, numbers: Sequence[int]) -> list[Mention]:
        """Return the mentions of the messages `numbers`."""
        wanted = select(schema.mention).where(mentions.message_id.in_(numbers)).order_by(mentions.id)
        with self.store.read() as connection:
            return [_mention(row) for row in connection.execute(wanted)] if numbers else []

    def bundle(
        self, channel: str, chosen: Sequence[int], absorbed: Sequence[int], severity: str, title: str, body: str
    ) -> int | None:
        """Make one message of the mentions `chosen`, which wait or are in the pending messages `absorbed`.

        The absorbed messages are gone afterwards. Returns None, with nothing done, if something is no longer ours.
        """
        row = {
            "uid": uuid.uuid4().hex,
            "channel": channel,
            "severity": severity,
            "title": title,
            "body": body,
            "state": "pending",
            "made_ms": now_ms(),
        }
        with self.store.write() as connection:
            if absorbed:
                if _take(connection, messages.id, absorbed, messages.state == "pending") != len(absorbed):
                    return None
                connection.execute(
                    update(schema.mention)
                    .where(mentions.message_id.in_(absorbed), mentions.state == "bundled")
                    .values(state="waiting", message_id=None)
                )
                connection.execute(delete(schema.message).where(messages.id.in_(absorbed)))
            if _take(connection, mentions.id, chosen, mentions.state == "waiting") != len(chosen):
                connection.rollback()
                return None
            made = connection.execute(insert(schema.message).values(row))
            number = int(made.inserted_primary_key[0]) if made.inserted_primary_key else 0
            for at in range(0, len(chosen), PORTION):
                connection.execute(
                    update(schema.mention)
                    .where(mentions.id.in_(chosen[at : at + PORTION]))
                    .values(state="bundled", message_id=number)
                )
        return number

    def begin(self, number: int) -> int | None:
        """Note that the next attempt of message `number` begins; return its number, None if it is not pending."""
        with self.store.write() as connection:
            if not _take(connection, messages.id, [number], messages.state == "pending"):
                return None
            connection.execute(
                update(schema.message)
                .where(messages.id == number)
                .values(state="sending", attempts=messages.attempts + 1, claimed_by=self.claimant)
            )
            return connection.scalar(select(messages.attempts).where(messages.id == number))

    def is_ours(self, message: Message) -> bool:
        """Tell whether the attempt under way is this monitor's, or was begun before attempts were claimed."""
        return message.claimed_by in (None, self.claimant)

    def finish(self, number: int, attempt: int, *, sent: bool, trouble: str = "", unsure: bool = False) -> None:
        """Note what became of an attempt: sent, or pending again; nothing where another one has begun since."""
        values = {"state": "sent" if sent else "pending", "trouble": "" if sent else trouble, "claimed_by": None}
        more = {"sent_ms": now_ms()} if sent else {}
        doubt = {"unsure": True} if unsure else {}
        # One that was given up for gone, and did send: what nobody has repeated yet need not be.
        still = ("sending", "pending") if sent else ("sending",)
        with self.store.write() as connection:
            connection.execute(
                update(schema.message)
                .where(messages.id == number, messages.attempts == attempt, messages.state.in_(still))
                .values(**values, **more, **doubt)
            )

    def expire(self, message: Message) -> bool:
        """Take an attempt from the monitor that began it and is gone; whether it was sent nobody knows.

        Tells whether it was still under way.
        """
        trouble = "the monitor that was sending it is gone: a copy may have gone out"
        with self.store.write() as connection:
            return bool(
                connection.execute(
                    update(schema.message)
                    .where(
                        messages.id == message.id, messages.attempts == message.attempts, messages.state == "sending"
                    )
                    .values(state="pending", trouble=trouble, unsure=True, claimed_by=None)
                ).rowcount
            )

    def settle(self, channel: str, subjects: Sequence[str], state: str) -> None:
        """Note that mentions that wait are now `covered` (the other told it), or `waiting` again."""
        with self.store.write() as connection:
            connection.execute(
                update(schema.mention)
                .where(
                    mentions.channel == channel,
                    mentions.subject.in_(subjects),
                    mentions.state.in_(("waiting", "ceded")),
                )
                .values(state=state)
            )

    def states(self, channel: str, subjects: Sequence[str]) -> dict[str, str]:
        """Return for each subject: sent, sending, failing, pending, waiting, ceded or none; for the other monitor."""
        with self.store.read() as connection:
            return _states(connection, channel, subjects)

    def cede(self, channel: str, subjects: Sequence[str]) -> dict[str, str]:
        """Leave `subjects` to the other monitor as far as they are not being sent; return their states after that."""
        with self.store.write() as connection:
            before = _states(connection, channel, subjects)
            free = [subject for subject in subjects if before[subject] in ("waiting", "pending", "failing", "none")]
            _unbundle(connection, channel, free)
            unknown = [subject for subject in free if before[subject] == "none"]
            if unknown:
                common = {"channel": channel, "state": "ceded", "at_ms": now_ms()}
                connection.execute(insert(schema.mention), [{"subject": subject, **common} for subject in unknown])
            connection.execute(
                update(schema.mention)
                .where(mentions.channel == channel, mentions.subject.in_(free), mentions.state == "waiting")
                .values(state="ceded")
            )
            return {**before, **dict.fromkeys(free, "ceded")}

    def in_hand(self) -> set[str]:
        """Return the uids of all messages that are not sent."""
        with self.store.read() as connection:
            return set(connection.scalars(select(messages.uid).where(messages.state != "sent")))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of messages by channel and state, and of waiting mentions as state `waiting`."""
        found: dict[str, dict[str, int]] = {}
        with self.store.read() as connection:
            rows = connection.execute(
                select(messages.channel, messages.state, func.count()).group_by(messages.channel, messages.state)
            )
            for channel, state, count in rows:
                found.setdefault(channel, {})[state] = count
            rows = connection.execute(
                select(mentions.channel, func.count()).where(mentions.state == "waiting").group_by(mentions.channel)
            )
            for channel, count in rows:
                found.setdefault(channel, {})["waiting"] = count
        return found

    def latest(self, limit: int = 20, *, unsent: bool = False) -> list[Mapping[str, object]]:
        """Return the newest messages, or all that are not sent; newest first."""
        wanted = select(schema.message).order_by(messages.id.desc()).limit(limit)
        if unsent:
            wanted = wanted.where(messages.state != "sent")
        with self.store.read() as connection:
            return [dict(row._mapping) for row in connection.execute(wanted)]


def _take(connection: Connection, key: ColumnElement[int], numbers: Sequence[int], free: ColumnElement[bool]) -> int:
    """Lock the rows `numbers` that are `free` and that nobody else is just taking; return how many."""
    taken = 0
    for at in range(0, len(numbers), PORTION):
        wanted = select(key).where(key.in_(numbers[at : at + PORTION]), free).with_for_update(skip_locked=True)
        taken += len(connection.scalars(wanted).all())
    return taken


def _mention(row: object) -> Mention:
    return Mention(**{name: getattr(row, name) for name in Mention.__dataclass_fields__})


def _message(row: object) -> Message:
    return Message(**{name: getattr(row, name) for name in Message.__dataclass_fields__})


def _states(connection: Connection, channel: str, subjects: Sequence[str]) -> dict[str, str]:
    found = dict.fromkeys(subjects, "none")
    rows = connection.execute(
        select(mentions.subject, mentions.state, messages.state.label("message"), messages.trouble)
        .join_from(schema.mention, schema.message, mentions.message_id == messages.id, isouter=True)
        .where(mentions.channel == channel, mentions.subject.in_(subjects))
    )
    for row in rows:
        state = row.state
        if state == "bundled":
            state = "failing" if row.message == "pending" and row.trouble else row.message
        found[row.subject] = "sent" if state == "covered" else state
    return found


def _unbundle(connection: Connection, channel: str, subjects: Sequence[str]) -> None:
    """Take pending messages that hold one of `subjects` apart again: the rest of their mentions waits anew."""
    numbers = list(
        connection.scalars(
            select(mentions.message_id)
            .where(mentions.channel == channel, mentions.subject.in_(subjects), mentions.state == "bundled")
            .distinct()
        )
    )
    if numbers:
        connection.execute(
            update(schema.mention).where(mentions.message_id.in_(numbers)).values(state="waiting", message_id=None)
        )
        connection.execute(delete(schema.message).where(messages.id.in_(numbers)))
