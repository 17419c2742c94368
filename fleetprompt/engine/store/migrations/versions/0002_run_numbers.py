"""Runs are numbered by the position of their first fact, and the number is their key.

SQLite cannot change the key of a table: the table is made anew and the rows move.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_LETTERS = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz'"
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table anew, move the rows into it, then index it."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if not on_sqlite:
        op.drop_constraint("runs_pkey", "runs", type_="primary")
    op.rename_table("runs", "runs_before")
    columns = _columns()
    op.create_table("runs", *columns, sa.PrimaryKeyConstraint("seq"))
    _move([column.name for column in columns if column.name != "seq"])
    op.drop_table("runs_before")
    _index("id", "id tenant", unique=True)
    _index("created", "tenant created_at seq")
    _index("status", "tenant status created_at seq")
    live = "status IN ('pending', 'running') OR status IN ('waiting') AND waiting_on IN ('slot')"
    _index("live", "created_at seq", live)
    _index("wake", "wake_at", "wake_at IS NOT NULL")
    _index("ended", "tenant finished_at", "finished_at IS NOT NULL")
    _index("completed", "tenant workflow finished_at id", "status IN ('completed')")
    for column in ("workflow", "parent"):
        name = f"runs_{column}" if on_sqlite else f"runs_{column}_folded"
        folded = f'{column} COLLATE "NOCASE"' if on_sqlite else f"translate({column}, {_LETTERS})"
        op.create_index(name, "runs", ["tenant", sa.text(folded), "created_at", "seq"])


def _move(names: list[str]) -> None:
    """The rows in the order of their numbers. A run whose first fact is lost gets one that is no position."""
    listed = ", ".join(f'"{name}"' for name in names)
    before = ", ".join(f'runs_before."{name}"' for name in names)
    first = "journal.run = runs_before.id AND journal.tenant = runs_before.tenant AND journal.n = 1"
    into = f"INSERT INTO runs ({listed}, seq) SELECT {before}, "
    op.execute(f"{into} journal.seq FROM runs_before JOIN journal ON {first} ORDER BY journal.seq")
    number = "-row_number() OVER (ORDER BY runs_before.id, runs_before.tenant)"
    op.execute(f"{into} {number} FROM runs_before WHERE NOT EXISTS (SELECT 1 FROM journal WHERE {first})")


def _columns() -> list[sa.Column[Any]]:
    return [
        *_texts("id tenant workflow plan status"),
        _big("n"),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("created_at", "updated_at")),
        sa.Column("waiting_on", _TEXT),
        *(sa.Column(name, sa.Double()) for name in ("started_at", "finished_at", "wake_at")),
        *_texts("step"),
        _big("steps_done"),
        _big("attempt"),
        *_texts("error_code error_message error_step"),
        _big("cost_nano"),
        _big("tokens"),
        *_texts("root parent parent_path retry_of correlation owner project session trigger host"),
        _big("priority"),
        *_texts("labels tools models"),
        _big("seq"),
    ]


def _texts(names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def _big(name: str) -> sa.Column[Any]:
    return sa.Column(name, _BIG, nullable=False, autoincrement=False)


def _index(name: str, columns: str, where: str = "", *, unique: bool = False) -> None:
    options: dict[str, Any] = {f"{dialect}_where": sa.text(where) for dialect in ("sqlite", "postgresql") if where}
    op.create_index(f"runs_{name}", "runs", columns.split(), unique=unique, **options)
