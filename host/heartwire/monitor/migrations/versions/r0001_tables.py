"""The tables that every store had before there were steps: made where they are missing, one by one.

A store of that time may lack what came to it later, a table or an index. What stands here never changes.
"""

from __future__ import annotations

from alembic import op
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
    insert,
    select,
)

revision = "0001"
down_revision = None
metadata = MetaData()
_KEY = BigInteger().with_variant(Integer, "sqlite")

about = Table(
    "about",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

Table(
    "board",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("labels", Text, nullable=False, default="{}"),
    Column("boot", Integer, nullable=False, default=0),
    Column("journal", Integer, nullable=False, default=1),
    Column("cursor", BigInteger, nullable=False, default=0),
    Column("history", BigInteger, nullable=False, default=0),
    Column("reached_ms", BigInteger, nullable=False, default=0),
)

Table(
    "event",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("board_id", String(16), ForeignKey("board.board_id"), nullable=False),
    Column("journal", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("event", Integer, nullable=False),
    Column("node", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("raw", LargeBinary(64), nullable=False),
    UniqueConstraint("board_id", "journal", "sequence", name="event_once"),
    Index("event_board", "board_id", "id"),
    Index("event_at", "at_ms", "id"),
    Index("event_severity", "severity", "id"),
    Index("event_node", "node", "id"),
    Index("event_kind", "event", "id"),
    Index("event_last", "board_id", "journal", "event", "node", "sequence"),
)

Table(
    "relay_total",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("event", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

Table(
    "look",
    metadata,
    Column("board_id", String(16), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("bound_ms", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("look_day", "day"),
)

Table(
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

Table(
    "problem",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("board_id", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("node", Integer, nullable=False),
    Column("opened_by", String(24), nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_by", String(24)),
    Column("closed_ms", BigInteger),
    Index("problem_open", "board_id", "kind", "closed_ms"),
)

Table(
    "mention",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("subject", String(24), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("board_id", String(16), nullable=False, default=""),
    Column("event_id", _KEY),
    Column("observation_id", _KEY),
    Column("clears", Boolean, nullable=False, default=False),
    Column("state", String(8), nullable=False),
    Column("message_id", _KEY),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("subject", "channel", name="mention_once"),
    Index("mention_state", "state", "channel"),
    Index("mention_message", "message_id"),
    Index("mention_event", "event_id"),
)

Table(
    "message",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("channel", String(64), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("unsure", Boolean, nullable=False, default=False),
    Column("trouble", Text, nullable=False, default=""),
    Column("made_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Index("message_state", "state", "channel"),
)


def upgrade() -> None:
    """Make what is missing."""
    connection = op.get_bind()
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            index.create(connection, checkfirst=True)
    if connection.scalar(select(about.c.value).where(about.c.name == "version")) is None:
        connection.execute(insert(about), {"name": "version", "value": "1"})
