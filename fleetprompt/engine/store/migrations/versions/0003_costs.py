"""What was spent: a row for each fact that tells of money or tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.facts import StepFailed, StepSucceeded

revision = "0003"
down_revision = "0002"

AT_A_TIME = 5_000
_PLACE = re.compile(r"#\d+|\[\d+\]")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _column(name: str, type_: Any) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


def _table(name: str, columns: str) -> sa.TableClause:
    found: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns.split()]
    return sa.table(name, *found)


def upgrade() -> None:
    """Make the table and fill it from the journal."""
    made = op.create_table(
        "costs",
        _column("run", _TEXT),
        _column("n", _BIG),
        *(_column(name, _TEXT) for name in ("tenant", "workflow", "path", "step", "model")),
        _column("at", sa.Double()),
        *(_column(name, _BIG) for name in ("cost_nano", "tokens")),
        sa.PrimaryKeyConstraint("run", "n", "tenant"),
    )
    connection = op.get_bind()
    rows: list[dict[str, Any]] = []
    for row in _spent(connection):
        rows.append(row)
        if len(rows) == AT_A_TIME:
            connection.execute(made.insert(), rows)
            rows.clear()
    if rows:
        connection.execute(made.insert(), rows)
    op.create_index("costs_at", "costs", ["tenant", "at", "cost_nano", "tokens"])
    op.create_index("costs_workflow", "costs", ["tenant", "workflow", "at", "cost_nano", "tokens"])


def _spent(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    journal = _table("journal", "seq tenant run n type data")
    runs = _table("runs", "id tenant workflow")
    forked = sa.select(journal.c.run, journal.c.n).where(journal.c.type == "RunForked")
    # What stands before its fork in a run was copied: the run that it retries has spent it.
    copied: dict[str, int] = {row.run: row.n for row in connection.execute(forked)}
    facts = (
        sa.select(journal.c.seq, journal.c.tenant, journal.c.run, journal.c.n, journal.c.data, runs.c.workflow)
        .join(runs, sa.and_(runs.c.id == journal.c.run, runs.c.tenant == journal.c.tenant))
        .where(journal.c.type.in_(("StepSucceeded", "StepFailed")))
        .order_by(journal.c.seq)
        .limit(AT_A_TIME)
    )
    after = 0
    while found := connection.execute(facts.where(journal.c.seq > after)).all():
        after = found[-1].seq
        for _, tenant, run, n, data, workflow in found:
            fact = _read(data)
            if fact is None or n <= copied.get(run, 0):
                continue
            cost_nano, tokens = fact.usage.get("cost_nano", 0), fact.usage.get("tokens", 0)
            if cost_nano or tokens:
                step = _PLACE.sub("", fact.path)
                yield {
                    "run": run, "n": n, "tenant": tenant, "workflow": workflow, "path": fact.path, "step": step,
                    "model": "", "at": fact.at, "cost_nano": cost_nano, "tokens": tokens,
                }  # fmt: skip


def _read(data: bytes) -> StepSucceeded | StepFailed | None:
    """The outcome in a row of the journal; None for one without usage, or that cannot be read: `db check` says that."""
    if b'"usage"' not in data:
        return None
    try:
        fact = codec.decode(data)
    except codec.CorruptFact:
        return None
    return fact if isinstance(fact, (StepSucceeded, StepFailed)) else None
