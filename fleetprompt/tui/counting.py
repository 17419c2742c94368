"""Reading what the top of every screen shows."""

from __future__ import annotations

from collections.abc import Collection

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.cost import midnight
from fleetprompt.tui.state.fleet import Asked, Fleet
from fleetprompt.tui.state.look import standing

MOST = 200
"""Pending approvals that are counted and whose questions are shown in the list of runs."""
MINUTES = 20
"""How far back the line of activity goes."""


async def count_fleet(
    fleet: Fleet,
    console: Console,
    now: float,
    times: Times,
    who: str,
    groups: Collection[str] | None,
    *,
    votes: bool = True,
) -> bool:
    """Count again, for `who` and the groups they are in; whether anything is different. `votes`: their role lets them
    decide. Raises `FleetError`."""
    before = (fleet.counts, fleet.approvals, fleet.asking, fleet.spent, fleet.uncertain, fleet.activity)
    first, fleet.counts = not fleet.counted, await console.tally("")
    pending, more = await console.approvals("status:pending", Page(limit=MOST, oldest_first=True))
    # What one person decides about does not wait any more once they have, unless no engine carries it out.
    several = [approval.id for approval in pending if approval.quorum > 1 or not fleet.live]
    cast = {approval.id: found for approval, found in await console.approvals_of(several)} if several else {}
    mine = {each.id for each in pending if votes and standing(each, cast.get(each.id, ()), who, groups).may}
    # The oldest, or the oldest that the operator may decide about.
    asking: dict[str, Asked] = {}
    for each in sorted(pending, key=lambda approval: approval.id not in mine):
        asking.setdefault(each.run, Asked(_first_line(each.message), each.id in mine))
    fleet.asking = asking
    fleet.approvals = len(mine)
    fleet.approvals_more = bool(more)
    fleet.spent, fleet.tokens, fleet.uncertain = await console.spend(midnight(now, times))
    minute = now // 60 * 60 + 60
    fleet.activity = tuple(bucket.started for bucket in await console.activity(minute - MINUTES * 60, minute, MINUTES))
    fleet.counted = True
    return first or before != (
        fleet.counts,
        fleet.approvals,
        fleet.asking,
        fleet.spent,
        fleet.uncertain,
        fleet.activity,
    )


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return inert(lines[0]) if lines else ""
