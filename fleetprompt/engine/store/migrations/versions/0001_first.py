"""The first schema."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LETTERS = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz'"


def _big(name: str, *, nullable: bool = False, autoincrement: bool | Literal["auto"] = "auto") -> sa.Column[Any]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, big, nullable=nullable, autoincrement=autoincrement)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _bytes(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _texts(names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def _key(names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*names.split())


def _index(table: str, name: str, columns: str, where: str = "", *, unique: bool = False) -> None:
    options: dict[str, Any] = {f"{dialect}_where": sa.text(where) for dialect in ("sqlite", "postgresql") if where}
    op.create_index(f"{table}_{name}", table, columns.split(), unique=unique, **options)


def upgrade() -> None:
    """Make every table."""
    _runs()
    _journal()
    _signals()
    _approvals()
    _rest()


def _runs() -> None:
    op.create_table(
        "runs",
        *_texts("id tenant workflow plan status"),
        _big("n"),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("waiting_on", _TEXT),
        *(_time(name, nullable=True) for name in ("started_at", "finished_at", "wake_at")),
        *_texts("step"),
        _big("steps_done"),
        _big("attempt"),
        *_texts("error_code error_message error_step"),
        _big("cost_nano"),
        _big("tokens"),
        *_texts("root parent parent_path retry_of correlation owner project session trigger host"),
        _big("priority"),
        *_texts("labels tools models"),
        _key("id tenant"),
    )
    _index("runs", "created", "tenant created_at id")
    _index("runs", "status", "tenant status created_at id")
    live = "status IN ('pending', 'running') OR status IN ('waiting') AND waiting_on IN ('slot')"
    _index("runs", "live", "created_at id", live)
    _index("runs", "wake", "wake_at", "wake_at IS NOT NULL")
    _index("runs", "ended", "tenant finished_at", "finished_at IS NOT NULL")
    _index("runs", "completed", "tenant workflow finished_at id", "status IN ('completed')")
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for column in ("workflow", "parent"):
        name = f"runs_{column}" if on_sqlite else f"runs_{column}_folded"
        folded = f'{column} COLLATE "NOCASE"' if on_sqlite else f"translate({column}, {_LETTERS})"
        op.create_index(name, "runs", ["tenant", sa.text(folded), "created_at", "id"])
    op.create_table(
        "waits",
        *_texts("tenant run path on ref key"),
        sa.Column("wild", sa.Boolean(), nullable=False),
        _key("run path tenant"),
    )
    _index("waits", "on", "on tenant wild ref key")
    op.create_table(
        "claims",
        *_texts("tenant scope run path"),
        _big("amount"),
        _time("at"),
        _key("tenant scope run path"),
    )
    _index("claims", "run", "run path")


def _journal() -> None:
    op.create_table(
        "journal",
        _big("seq", autoincrement=False),
        *_texts("tenant run"),
        _big("n"),
        *_texts("type"),
        _time("at"),
        _bytes("data"),
        _key("seq"),
    )
    _index("journal", "run", "run n tenant", unique=True)
    op.create_table("counters", *_texts("tenant name"), _big("value"), _key("tenant name"))


def _signals() -> None:
    op.create_table(
        "signals",
        _big("seq"),
        *_texts("id tenant type source"),
        _time("at"),
        *_texts("key correlation"),
        _bytes("data"),
        sa.Column("routed", sa.Boolean(), nullable=False),
        _key("seq"),
        sqlite_autoincrement=True,
    )
    _index("signals", "id", "id tenant", unique=True)
    _index("signals", "tenant", "tenant seq")
    _index("signals", "key", "tenant key", "\"key\" != ''", unique=True)
    unrouted = "routed = 0" if op.get_bind().dialect.name == "sqlite" else "NOT routed"
    _index("signals", "unrouted", "seq", unrouted)
    op.create_table("results", *_texts("tenant signal run status reason"), _bytes("data"), _key("signal run tenant"))
    _index("results", "run", "run")


def _approvals() -> None:
    op.create_table(
        "approvals",
        *_texts("id tenant run workflow path status message approvers"),
        _big("level"),
        _time("requested_at"),
        _time("until", nullable=True),
        _time("decided_at", nullable=True),
        *_texts("reason"),
        _bytes("data"),
        _key("id tenant"),
    )
    _index("approvals", "run", "run")
    _index("approvals", "status", "tenant status requested_at id")
    _index("approvals", "requested", "tenant requested_at id")
    op.create_table(
        "votes",
        *_texts("tenant approval"),
        _big("level"),
        *_texts("by"),
        _time("at"),
        *_texts("signal"),
        _bytes("data"),
        _key("approval level by tenant"),
    )
    _index("votes", "signal", "signal", "signal != ''")


def _rest() -> None:
    op.create_table(
        "plans",
        *_texts("tenant digest name"),
        _bytes("body"),
        *_texts("source"),
        _time("created_at"),
        _key("digest tenant"),
    )
    op.create_table(
        "workflows",
        *_texts("name tenant status plan file"),
        _time("updated_at"),
        _big("max_runs", nullable=True),
        _key("tenant name"),
    )
    op.create_table("blobs", *_texts("tenant digest"), _big("size"), _bytes("data"), _key("digest tenant"))
    op.create_table("blob_refs", *_texts("tenant digest run"), _key("digest run tenant"))
    _index("blob_refs", "run", "run")
    op.create_table(
        "logs",
        _big("id"),
        *_texts("tenant run path"),
        *(_big(name) for name in ("attempt", "first", "last", "until")),
        _time("at"),
        _big("bytes"),
        _big("dropped"),
        _bytes("data"),
        _key("id"),
    )
    _index("logs", "run", "run until tenant", unique=True)
    _index("logs", "step", "run path until")
