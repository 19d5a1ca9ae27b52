"""Many monitors on one store: who they are, and whose attempt a message is in.

A heartwire from before there were steps refuses the store from here on: it reads `version` in `about`.
"""

from __future__ import annotations

import sqlalchemy
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of monitors and the claim of a message."""
    op.create_table(
        "monitor",
        sqlalchemy.Column("id", sqlalchemy.String(32), primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(64), nullable=False),
        sqlalchemy.Column("channels", sqlalchemy.Text, nullable=False),
        sqlalchemy.Column("seen_ms", sqlalchemy.BigInteger, nullable=False),
        sqlalchemy.Column("ended", sqlalchemy.Boolean, nullable=False),
        sqlalchemy.Column("told", sqlalchemy.Boolean, nullable=False),
    )
    op.add_column("message", sqlalchemy.Column("claimed_by", sqlalchemy.String(32)))
    op.execute("UPDATE about SET value = '2' WHERE name = 'version'")
