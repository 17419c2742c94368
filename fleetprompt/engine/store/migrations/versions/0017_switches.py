"""The switch by which a whole fleet is paused, drained or stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "switches",
        *_texts("tenant", "position", "by", "reason"),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
