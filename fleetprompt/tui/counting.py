"""Reading what the top of every screen shows."""

from __future__ import annotations

from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.fleet import Fleet

MOST = 200
"""Pending approvals that are counted and whose questions are shown in the list of runs."""


async def count_fleet(fleet: Fleet, console: Console) -> bool:
    """Count again; whether anything is different."""
    before = (fleet.counts, fleet.approvals, fleet.asking)
    fleet.counts = await console.tally("")
    pending, more = await console.approvals("status:pending", Page(limit=MOST, oldest_first=True))
    fleet.asking = {approval.run: inert(approval.message) for approval in reversed(pending)}
    fleet.approvals = len(pending)
    fleet.approvals_more = bool(more)
    return before != (fleet.counts, fleet.approvals, fleet.asking)
