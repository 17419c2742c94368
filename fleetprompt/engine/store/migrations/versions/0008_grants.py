"""Calls that people allow in every run of a workflow: until now only in one run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TEXTS = ("id", "tenant", "workflow", "tool", "subject", "agent", "run", "by")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "grants",
        *(
            sa.Column(name, _TEXT, nullable=False)
            for name in ["id", "tenant", "workflow", "tool", "subject", "agent", "run", "by"]
        ),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.Column("revoked_by", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", "tenant"),
    )
    op.create_index("grants_workflow", "grants", ["tenant", "workflow", "at"])
