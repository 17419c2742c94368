"""Deliveries: until now no signal left the engine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PENDING = sa.text("status = 'pending'")


def _texts(names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def _times(names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in names.split()]


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "deliveries",
        sa.Column("seq", _BIG, primary_key=True),
        *_texts("id tenant subscription signal type source status"),
        sa.Column("attempts", _BIG, nullable=False),
        *_times("due created_at at"),
        sa.Column("http", _BIG, nullable=False),
        *_texts("code reason lease"),
        *_times("leased_until"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_id", "deliveries", ["id", "tenant"], unique=True)
    op.create_index("deliveries_list", "deliveries", ["tenant", "seq"])
    op.create_index("deliveries_signal", "deliveries", ["signal", "tenant"])
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["tenant", "subscription", "due"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
