"""How the agents of a plan would be answered now: by a script, by a recording, by models. Nobody is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.client.equipment import DEFAULT, agency_of
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.mode import joined
from fleetprompt.engine.core.plan import Plan

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place


async def foretold(place: Place, plan: Plan) -> str:
    """The mode that a run of a plan will be in once its agents are answered; empty where it has none, or a name of a
    model stands for nothing here. Where an engine in another process has other settings, it may turn out otherwise."""
    names = dict.fromkeys(agent.model or DEFAULT for agent in plan.agents.values())
    mode = ""
    if names:
        async with agency_of(place, servers=False) as agency:
            for name in names:
                try:
                    mode = joined(mode, (await agency.models.find(name)).mode)
                except FleetError:
                    return ""
    return mode
