"""The tables of the store, in SQLAlchemy Core: what any SQL database can do, and nothing more.

This is how they are now; how a store of before comes here stands in migrations, and a test holds that both agree.

Times are whole milliseconds since 1970 UTC in 64-bit integers, because databases disagree about time types. Every rule
that must hold however often a page is read or a process is killed is a UNIQUE constraint here, not a habit of the
code. Imported by store, archive, outbox and query; has no effect of its own.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The steps of migrations, the newest last; a store says in `alembic_version` how far it is.
REVISIONS = ("0001", "0002")
# What a store says in `about` that was made before there were steps: it is as 0001 leaves it.
VERSION_BEFORE = "1"
metadata = MetaData()
# SQLite counts only INTEGER keys up by itself.
_KEY = BigInteger().with_variant(Integer, "sqlite")

about = Table(
    "about",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# One row for each board ever met; `cursor` moves in the same transaction as the events it stands for.
board = Table(
    "board",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("labels", Text, nullable=False, default="{}"),  # JSON: node to what people call it
    Column("boot", Integer, nullable=False, default=0),
    Column("journal", Integer, nullable=False, default=1),  # rises when the journal was started anew
    Column("cursor", BigInteger, nullable=False, default=0),
    # What stood in the journal when the board was first met is history: kept, but nobody is told.
    Column("history", BigInteger, nullable=False, default=0),
    Column("reached_ms", BigInteger, nullable=False, default=0),
)

event = Table(
    "event",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("board_id", String(16), ForeignKey("board.board_id"), nullable=False),
    Column("journal", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("severity", Integer, nullable=False),  # 0 info to 3 alarm, so that "this and worse" is a comparison
    Column("event", Integer, nullable=False),
    Column("node", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),  # wall time of the record, else the best estimate
    Column("raw", LargeBinary(64), nullable=False),
    UniqueConstraint("board_id", "journal", "sequence", name="event_once"),
    Index("event_board", "board_id", "id"),
    Index("event_at", "at_ms", "id"),
    Index("event_severity", "severity", "id"),
    Index("event_node", "node", "id"),
    Index("event_kind", "event", "id"),
    Index("event_last", "board_id", "journal", "event", "node", "sequence"),  # what was last said of a node
)

# How many relay events retention has removed, so that their count never falls.
RELAY_EVENTS = ("fence_fired", "off_proven", "off_assumed", "off_failed", "relay_released")
relay_total = Table(
    "relay_total",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("event", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# Looks at the age of heartbeats and at their jitter, counted up by day: what the journal does not write, because nobody
# was late. `bound_ms` is the least bound that it was not above, 0 for above all.
look = Table(
    "look",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("day", Integer, primary_key=True),  # since 1970, UTC
    Column("kind", String(8), primary_key=True),  # age, jitter, or watched: then the count is ms between looks
    Column("bound_ms", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("look_day", "day"),
)

# What the monitor itself noticed: gaps, damaged records, resets, silent boards.
observation = Table(
    "observation",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("board_id", String(16), nullable=False),
    Column("journal", Integer, nullable=False, default=0),
    Column("kind", String(16), nullable=False),
    Column("severity", Integer, nullable=False),
    Column("first", BigInteger, nullable=False, default=0),
    Column("last", BigInteger, nullable=False, default=0),
    Column("at_ms", BigInteger, nullable=False),
    Column("words", Text, nullable=False),
    Index("observation_board", "board_id", "id"),
)

# What is wrong until something clears it; at most one open row for each (board, kind, node).
problem = Table(
    "problem",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("board_id", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("node", Integer, nullable=False),
    Column("opened_by", String(24), nullable=False),  # subject of the mention that told it
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_by", String(24)),
    Column("closed_ms", BigInteger),
    Index("problem_open", "board_id", "kind", "closed_ms"),
)

# One row for each subject (event or observation) and channel, ever: this is "once per event and channel".
mention = Table(
    "mention",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("subject", String(24), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("board_id", String(16), nullable=False, default=""),
    Column("event_id", _KEY),
    Column("observation_id", _KEY),
    Column("clears", Boolean, nullable=False, default=False),
    Column("state", String(8), nullable=False),  # waiting, bundled, covered (the other told it), ceded (it will)
    Column("message_id", _KEY),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("subject", "channel", name="mention_once"),
    Index("mention_state", "state", "channel"),
    Index("mention_message", "message_id"),
    Index("mention_event", "event_id"),
)

# The outbox: one row for each message and channel.
message = Table(
    "message",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("channel", String(64), nullable=False),
    Column("severity", String(8), nullable=False),  # info, notice, warning, alarm or cleared
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(8), nullable=False),  # pending, sending, sent
    Column("attempts", Integer, nullable=False, default=0),
    Column("unsure", Boolean, nullable=False, default=False),  # an attempt died half-way: a copy may have gone out
    Column("trouble", Text, nullable=False, default=""),
    Column("made_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Column("claimed_by", String(32)),  # the monitor whose attempt is under way; None where none is
    Index("message_state", "state", "channel"),
)

# One row for each monitor that ever worked on the store.
monitor = Table(
    "monitor",
    metadata,
    Column("id", String(32), primary_key=True),  # of its folder of receipts
    Column("name", String(64), nullable=False),
    Column("channels", Text, nullable=False),  # JSON: names of those that it serves
    Column("seen_ms", BigInteger, nullable=False),  # by the database's clock
    Column("ended", Boolean, nullable=False, default=False),  # in good order
    Column("told", Boolean, nullable=False, default=False),  # people know that it is gone
)
