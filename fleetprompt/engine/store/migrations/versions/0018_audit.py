"""The audit log: a chain of entries for each tenant, and the head of each chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _BIG, nullable=False) for name in names]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "audit",
        *_texts("tenant"),
        *_numbers("seq"),
        sa.Column("at", sa.Double, nullable=False),
        *_texts("by", "role", "via", "credential", "action", "kind", "object", "outcome", "code", "detail"),
        *_numbers("count"),
        *_texts("prev", "hash"),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "audit_heads",
        *_texts("tenant"),
        *_numbers("seq"),
        *_texts("hash"),
        *_numbers("base_seq"),
        *_texts("base_hash"),
        sa.PrimaryKeyConstraint("tenant"),
    )
