"""Dead letters: until now a signal that could not start a workflow left nothing but a reason in its results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "dead_letters",
        sa.Column("seq", _BIG, primary_key=True),
        *_texts("id tenant kind target trigger signal type source code reason"),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("attempts", _BIG, nullable=False),
        *_texts("status"),
        sa.Column("settled_at", sa.Double),
        *_texts("by"),
        sqlite_autoincrement=True,
    )
    op.create_index("dead_letters_id", "dead_letters", ["id", "tenant"], unique=True)
    op.create_index("dead_letters_list", "dead_letters", ["tenant", "status", "seq"])
    op.create_index("dead_letters_signal", "dead_letters", ["tenant", "signal"])
