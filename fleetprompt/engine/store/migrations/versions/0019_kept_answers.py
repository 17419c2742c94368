"""Answers to requests that may be sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "kept_answers",
        *_texts("tenant", "key", "request"),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("status", _BIG, nullable=False),
        *_texts("headers"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", "tenant"),
    )
    op.create_index("kept_answers_at", "kept_answers", ["at"])
