"""How the models of a plan would answer now: a script, a recording, one on this machine. Nobody is asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.mode import joined
from fleetprompt.engine.core.plan import Block, Plan

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place

OF_MODELS = ("chat", "image")
"""Step types that ask a model themselves."""


def asked_models(plan: Plan) -> list[str]:
    """The models that a run of a plan can ask, by the names that the plan has for them; empty: `default`. Those that
    only come out as it runs are none of them."""
    agents = [agent.model for agent in plan.agents.values()]
    return [*dict.fromkeys([*agents, *_of_steps(plan.root)])]


def _of_steps(block: Block) -> Iterator[str]:
    for node in block.nodes:
        model = str(node.config.get("model") or "")
        if node.type in OF_MODELS and "${{" not in model:
            yield model
        for inside in node.blocks:
            yield from _of_steps(inside)


async def foretold(place: Place, plan: Plan) -> str:
    """The mode that a run of a plan will be in once its models have answered; empty where it has none, or a name of a
    model stands for nothing here. Where an engine in another process has other settings, it may turn out otherwise."""
    from fleetprompt.client.equipment import DEFAULT, agency_of

    names = asked_models(plan)
    mode = ""
    if names:
        async with agency_of(place, servers=False) as agency:
            for name in names:
                try:
                    mode = joined(mode, (await agency.models.find(name or DEFAULT)).mode)
                except FleetError:
                    return ""
    return mode
