"""Further attempts at a step belong to the execution of the agent that works in it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleetprompt.engine.store.agent_book import of_history
from fleetprompt.engine.store.migrations.history import facts_of

revision = "0011"
down_revision = "0010"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAMES = (
    *("id", "tenant", "run", "workflow", "path", "key", "agent", "attempt", "parent", "goal", "status", "started_at"),
    *("ended_at", "since", "active", "requests", "tool_calls", "tokens", "cost_nano", "uncertain_nano", "mode"),
    *("error_code", "retries"),
)


def upgrade() -> None:
    """Add the column, and fold the executions of runs anew in which there was a further attempt."""
    op.add_column("agent_sessions", sa.Column("retries", _BIG, nullable=False, server_default="0"))
    connection = op.get_bind()
    table = sa.table("agent_sessions", *map(sa.column, _NAMES))
    tried_again = sa.select(table.c.run, table.c.tenant, table.c.workflow).where(table.c.attempt > 1).distinct()
    for row in connection.execute(tried_again).all():
        found = of_history(row.run, row.tenant, row.workflow, facts_of(connection, row.run, row.tenant))
        connection.execute(sa.delete(table).where(table.c.run == row.run, table.c.tenant == row.tenant))
        if found:
            connection.execute(sa.insert(table), [{name: getattr(each, name) for name in _NAMES} for each in found])
