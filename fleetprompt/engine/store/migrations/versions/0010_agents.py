"""One row for each time that an agent worked on a goal in a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleetprompt.engine.store.agent_book import of_history
from fleetprompt.engine.store.migrations.history import facts_of

revision = "0010"
down_revision = "0009"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS: tuple[sa.Column[object], ...] = (
    *(sa.Column(name, _TEXT, nullable=False) for name in ("id", "tenant", "run", "workflow", "path", "key", "agent")),
    sa.Column("attempt", _BIG, nullable=False),
    *(sa.Column(name, _TEXT, nullable=False) for name in ("parent", "goal", "status")),
    sa.Column("started_at", sa.Double, nullable=False),
    *(sa.Column(name, sa.Double) for name in ("ended_at", "since")),
    sa.Column("active", sa.Double, nullable=False),
    *(
        sa.Column(name, _BIG, nullable=False)
        for name in ("requests", "tool_calls", "tokens", "cost_nano", "uncertain_nano")
    ),
    *(sa.Column(name, _TEXT, nullable=False) for name in ("mode", "error_code")),
)


def upgrade() -> None:
    """Make the table and fill it from the journal."""
    table = op.create_table("agent_sessions", *_COLUMNS, sa.PrimaryKeyConstraint("id", "tenant"))
    op.create_index("agent_sessions_run", "agent_sessions", ["run", "path"])
    op.create_index("agent_sessions_started", "agent_sessions", ["tenant", "started_at", "id"])
    op.create_index("agent_sessions_agent", "agent_sessions", ["tenant", "agent", "started_at", "id"])
    op.create_index("agent_sessions_ended", "agent_sessions", ["tenant", "ended_at"])
    connection = op.get_bind()
    runs = sa.table("runs", sa.column("id"), sa.column("tenant"), sa.column("workflow"), sa.column("agents"))
    working = sa.select(runs.c.id, runs.c.tenant, runs.c.workflow).where(runs.c.agents != "[]")
    for row in connection.execute(working).all():
        found = of_history(row.id, row.tenant, row.workflow, facts_of(connection, row.id, row.tenant))
        if found:
            rows = [{column.name: getattr(each, column.name) for column in table.c} for each in found]
            connection.execute(sa.insert(table), rows)
