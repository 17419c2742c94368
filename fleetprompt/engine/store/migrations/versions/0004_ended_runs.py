"""The indexes of runs that are over hold all that figures ask of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them anew."""
    over = sa.text("finished_at IS NOT NULL")
    where: dict[str, Any] = {f"{dialect}_where": over for dialect in ("sqlite", "postgresql")}
    op.drop_index("runs_ended", "runs")
    op.drop_index("runs_completed", "runs")
    op.create_index("runs_ended", "runs", ["tenant", "finished_at", "status"], **where)
    op.create_index("runs_outcomes", "runs", ["tenant", "workflow", "status", "finished_at", "started_at"], **where)
