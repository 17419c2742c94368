"""Reading what the top of every screen shows."""

from __future__ import annotations

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.cost import midnight
from fleetprompt.tui.state.fleet import Fleet

MOST = 200
"""Pending approvals that are counted and whose questions are shown in the list of runs."""
MINUTES = 20
"""How far back the line of activity goes."""


async def count_fleet(fleet: Fleet, console: Console, now: float, times: Times) -> bool:
    """Count again; whether anything is different. Raises `FleetError`."""
    before = (fleet.counts, fleet.approvals, fleet.asking, fleet.spent, fleet.activity)
    first, fleet.counts = not fleet.counted, await console.tally("")
    pending, more = await console.approvals("status:pending", Page(limit=MOST, oldest_first=True))
    fleet.asking = {approval.run: _first_line(approval.message) for approval in reversed(pending)}
    fleet.approvals = len(pending)
    fleet.approvals_more = bool(more)
    fleet.spent, fleet.tokens = await console.spend(midnight(now, times))
    minute = now // 60 * 60 + 60
    fleet.activity = tuple(bucket.started for bucket in await console.activity(minute - MINUTES * 60, minute, MINUTES))
    fleet.counted = True
    return first or before != (fleet.counts, fleet.approvals, fleet.asking, fleet.spent, fleet.activity)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return inert(lines[0]) if lines else ""
