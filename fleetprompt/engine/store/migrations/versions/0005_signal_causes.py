"""Signals are found by what caused them, and by their correlation."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

AT_A_TIME = 2_000
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class _Signal(msgspec.Struct):
    """What is read of a signal."""

    causation: str = ""


def upgrade() -> None:
    """Add the column, fill it from the signals themselves, then index it."""
    op.add_column("signals", sa.Column("causation", _TEXT, nullable=False, server_default=""))
    _fill(op.get_bind())
    for name in ("causation", "correlation"):
        where: dict[str, Any] = {f"{dialect}_where": sa.text(f"{name} != ''") for dialect in ("sqlite", "postgresql")}
        op.create_index(f"signals_{name}", "signals", ["tenant", name, "seq"], **where)


def _fill(connection: sa.Connection) -> None:
    read = msgspec.json.Decoder(_Signal).decode
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("seq", "data", "causation")]
    signals = sa.table("signals", *columns)
    some = sa.select(signals.c.seq, signals.c.data).order_by(signals.c.seq).limit(AT_A_TIME)
    change = sa.update(signals).where(signals.c.seq == sa.bindparam("at")).values(causation=sa.bindparam("cause"))
    after = 0
    while found := connection.execute(some.where(signals.c.seq > after)).all():
        after = found[-1].seq
        causes = [{"at": row.seq, "cause": read(row.data).causation} for row in found]
        if caused := [each for each in causes if each["cause"]]:
            connection.execute(change, caused)
