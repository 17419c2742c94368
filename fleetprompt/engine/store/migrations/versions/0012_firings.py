"""Schedules and their firings: until now nothing came of the times in workflow files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and say of workflows since when they are active."""
    op.create_table(
        "schedules",
        *_texts("workflow trigger tenant"),
        sa.Column("n", _BIG, nullable=False),
        *_texts("rhythm"),
        *_times("since upto"),
        sa.Column("paused", sa.Boolean, nullable=False),
        *_times("changed_at"),
        *_texts("by reason"),
        sa.PrimaryKeyConstraint("workflow", "trigger", "tenant"),
    )
    op.create_table(
        "firings",
        sa.Column("seq", _BIG, primary_key=True),
        *_texts("workflow trigger tenant kind scheduled"),
        *_times("due at"),
        *_texts("outcome reason signal run by"),
        sqlite_autoincrement=True,
    )
    op.create_index("firings_once", "firings", ["workflow", "trigger", "scheduled", "tenant"], unique=True)
    op.create_index("firings_tenant", "firings", ["tenant", "seq"])
    op.create_index("firings_trigger", "firings", ["tenant", "workflow", "trigger", "outcome", "seq"])
    op.add_column("workflows", sa.Column("active_since", sa.Double, nullable=False, server_default="0"))


def _texts(names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def _times(names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names.split()]
