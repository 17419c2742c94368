"""What agents remember from one run to the next: until now nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FULL_TEXT = {
    "sqlite": (
        "CREATE VIRTUAL TABLE memories_words USING fts5(words, content='memories', content_rowid='seq')",
        "CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN "
        "INSERT INTO memories_words(rowid, words) VALUES (new.seq, new.words); END",
        "CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN "
        "INSERT INTO memories_words(memories_words, rowid, words) VALUES ('delete', old.seq, old.words); END",
    ),
    "postgresql": ("CREATE INDEX memories_words ON memories USING gin (to_tsvector('simple'::regconfig, words))",),
}


def upgrade() -> None:
    """Make the table, and what its words are found by."""
    op.create_table(
        "memories",
        sa.Column("seq", _BIG, primary_key=True),
        *_texts("id tenant scope type text words digest tags run path agent workflow tool by"),
        sa.Column("untrusted", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("accessed_at", sa.Double, nullable=False),
        sa.Column("accesses", _BIG, nullable=False),
        sa.Column("expires_at", sa.Double),
        *_texts("model"),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.create_index("memories_id", "memories", ["id", "tenant"], unique=True)
    op.create_index("memories_same", "memories", ["scope", "digest", "tenant"], unique=True)
    op.create_index("memories_scope", "memories", ["tenant", "scope", "seq"])
    op.create_index("memories_expires", "memories", ["tenant", "expires_at"])
    for statement in _FULL_TEXT[op.get_bind().dialect.name]:
        op.execute(statement)


def _texts(names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]
