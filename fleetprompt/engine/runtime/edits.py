"""A vote that changes the arguments of a call is looked at before it counts, so that the approval stays open where the
call could not be made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.runtime.driver import Driver
from fleetprompt.engine.runtime.message import Ask
from fleetprompt.engine.runtime.performer import effect_of
from fleetprompt.engine.runtime.work import WorkContext

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LOOK_SECONDS = 10.0
"""How long it may take to look at a changed call: signals behind the vote wait meanwhile."""


async def checked(engine: Engine, driver: Driver, data: Mapping[str, Any], ask: Ask) -> Ask:
    """What to ask a run for a vote: `ask`, or to refuse it because its changes cannot be used. The same is looked at
    again before the call is made, for much can happen until then. Raises `StoreUnavailable`."""
    values = mapping(data.get("values"))
    if data.get("decision") != "approved" or not values or not _counts(engine, driver, ask):
        return ask
    problem = await _problem(engine, driver, str(data.get("approval")), values)
    if not problem:
        return ask
    text = engine.secrets.redact(f"the arguments cannot be changed so: {problem}")
    return lambda run, now: Refusal(text, hint="change them otherwise; the approval is still open")


def _counts(engine: Engine, driver: Driver, ask: Ask) -> bool:
    """Whether the run would take the vote: nothing is looked at for whoever may not vote."""
    try:
        return not isinstance(ask(driver.run, engine.now()), Refusal)
    except NeedsValue:
        return True


async def _problem(engine: Engine, driver: Driver, approval: str, values: Mapping[str, Any]) -> str:
    run = driver.run
    step = next((step for step in run.steps.values() if step.asked(approval) is not None), None)
    gate = step.asked(approval) if step is not None else None
    if step is None or gate is None or gate.about != "tool":
        return ""
    from fleetprompt.engine.agents.edits import check_edit

    context = WorkContext(engine, driver, effect_of(engine, run, step, step.program.node.type, None))
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await check_edit(context, gate.call, values)
    except StoreUnavailable:
        raise
    except TimeoutError:
        return f"what the call would do could not be found out within {LOOK_SECONDS:g} s"
    except FleetError as error:
        return f"{error.message}{f' ({error.hint})' if error.hint else ''}"
    except Exception as error:
        engine.trouble(f"looking at a changed call of run {run.id}", error)
        return f"{type(error).__name__}: {error}"
    return ""
