"""What is open in a whole store, read once: who reads it keeps count of it by the facts from then on."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.ports import Approval, Outstanding
from fleetprompt.engine.store.tables import approvals, reservations, runs

_read_approval = msgspec.json.Decoder(Approval).decode


def outstanding(connection: sa.Connection) -> Outstanding:
    """What is open."""
    asked = sa.select(approvals.c.id, approvals.c.data, approvals.c.requested_at)
    doubtful = sa.select(runs.c.id).where(runs.c.status == "waiting", runs.c.waiting_on == "in_doubt")
    held = sa.select(reservations.c.tenant, reservations.c.id, reservations.c.cost_nano)
    return Outstanding(
        tuple(
            (row.id, _read_approval(row.data).about, row.requested_at)
            for row in connection.execute(asked.where(approvals.c.status == "pending"))
        ),
        tuple(connection.execute(doubtful).scalars()),
        tuple(
            (row.tenant, row.id, row.cost_nano)
            for row in connection.execute(held.where(reservations.c.state == "held"))
        ),
    )
