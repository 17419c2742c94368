"""Budgets and what is reserved of them; what may have been spent is told apart."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIMITS = ("requests", "tokens", "tool_calls", "cost_nano")


def upgrade() -> None:
    """Make the tables and add the columns: no store has spent anything yet that is uncertain."""
    op.create_table(
        "budgets",
        *_texts("scope tenant run"),
        *(column for part in ("spent", "reserved", "uncertain", "raised") for column in _amounts(f"{part}_")),
        sa.PrimaryKeyConstraint("scope", "tenant"),
    )
    where: dict[str, Any] = {f"{dialect}_where": sa.text("run != ''") for dialect in ("sqlite", "postgresql")}
    op.create_index("budgets_run", "budgets", ["run"], **where)
    op.create_table(
        "reservations",
        *_texts("id tenant run state scopes"),
        *_amounts(""),
        sa.PrimaryKeyConstraint("id", "tenant"),
    )
    op.create_index("reservations_run", "reservations", ["run"])
    for table in ("runs", "costs"):
        op.add_column(table, sa.Column("uncertain_nano", _BIG, nullable=False, server_default="0"))
    op.drop_index("costs_at", "costs")
    op.create_index("costs_at", "costs", ["tenant", "at", "cost_nano", "tokens", "uncertain_nano"])


def _texts(names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names.split()]


def _amounts(prefix: str) -> list[sa.Column[Any]]:
    return [sa.Column(prefix + name, _BIG, nullable=False) for name in _LIMITS]
