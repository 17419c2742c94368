"""How the words of runs and calls came about, and which agents worked in a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

AT_A_TIME = 5_000
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_UNREAL = ("replay", "simulated")
_ASKED = "llm.started"
_ANSWERED = ("llm.completed", "image.completed", "llm.failed")
_BEGUN = "session"


def _table(name: str, columns: str) -> sa.TableClause:
    found: list[sa.ColumnClause[Any]] = [sa.column(column) for column in columns.split()]
    return sa.table(name, *found)


def upgrade() -> None:
    """Add the columns and fill them from the journal."""
    op.add_column("runs", sa.Column("mode", _TEXT, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("agents", _TEXT, nullable=False, server_default="[]"))
    op.add_column("costs", sa.Column("mode", _TEXT, nullable=False, server_default=""))
    where: dict[str, Any] = {f"{dialect}_where": sa.text("mode IN ('replay', 'simulated')") for dialect in _DIALECTS}
    op.create_index("runs_unreal", "runs", ["tenant", "workflow", "finished_at"], **where)
    _fill(op.get_bind())


_DIALECTS = ("sqlite", "postgresql")


def _fill(connection: sa.Connection) -> None:
    runs, costs = _table("runs", "id tenant mode agents"), _table("costs", "run tenant n mode")
    modes: dict[tuple[str, str], str] = {}
    agents: dict[tuple[str, str], dict[str, None]] = {}
    for tenant, run, n, kind, value in _notes(connection):
        mode = str(value.get("mode") or "")
        if kind == _ASKED:
            modes[run, tenant] = _joined(modes.get((run, tenant), ""), mode)
        elif kind == _BEGUN:
            agents.setdefault((run, tenant), {}).setdefault(str(value.get("agent_id", "")))
        elif mode:
            place = (costs.c.run == run, costs.c.tenant == tenant, costs.c.n == n)
            connection.execute(sa.update(costs).values(mode=mode).where(*place))
    for run, tenant in {**modes, **agents}:
        names = json.dumps([*agents.get((run, tenant), ())], separators=(",", ":"), ensure_ascii=False)
        changed = sa.update(runs).values(mode=modes.get((run, tenant), ""), agents=names)
        connection.execute(changed.where(runs.c.id == run, runs.c.tenant == tenant))


def _notes(connection: sa.Connection) -> Iterator[tuple[str, str, int, str, dict[str, Any]]]:
    journal = _table("journal", "seq tenant run n type data")
    facts = sa.select(journal.c.seq, journal.c.tenant, journal.c.run, journal.c.n, journal.c.data)
    facts = facts.where(journal.c.type == "StepNoted").order_by(journal.c.seq).limit(AT_A_TIME)
    after = 0
    while found := connection.execute(facts.where(journal.c.seq > after)).all():
        after = found[-1].seq
        for _, tenant, run, n, data in found:
            try:
                fact = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # `db check` tells of it.
            kind, value = fact.get("kind"), fact.get("value")
            if kind in (_ASKED, _BEGUN, *_ANSWERED) and isinstance(value, dict):
                yield tenant, run, n, kind, value


def _joined(before: str, added: str) -> str:
    if not before or before == added:
        return added
    if not added or before == "mixed":
        return before
    if (before in _UNREAL) != (added in _UNREAL):
        return "mixed"
    return "simulated" if before in _UNREAL else "live"
