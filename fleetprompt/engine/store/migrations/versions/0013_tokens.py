"""Tokens, by which those are known who are not at the keyboard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "tokens",
        *_texts("id", "tenant", "name", "role", "digest"),
        sa.Column("created_at", sa.Double, nullable=False),
        *_texts("created_by"),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        *_texts("revoked_by"),
        sa.Column("last_used_at", sa.Double),
        sa.PrimaryKeyConstraint("id", "tenant"),
    )
    op.create_index("tokens_tenant", "tokens", ["tenant", "created_at", "id"])
