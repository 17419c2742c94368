"""Calls that people want to change before they approve them: looked at for whoever decides, and again before the vote
counts, so that the approval stays open where the call could not be made, or would do something else than was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from msgspec import structs

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.command import LOOK_AGAIN, Refusal
from fleetprompt.engine.core.errors import FleetError, NotFound, Refused, StoreUnavailable
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.asking import asked
from fleetprompt.engine.runtime.message import Ask
from fleetprompt.engine.runtime.performer import effect_of
from fleetprompt.engine.runtime.work import WorkContext

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.driver import Driver
    from fleetprompt.engine.runtime.engine import Engine

LOOK_SECONDS = 10.0
"""How long it may take to look at a changed call: signals behind the vote wait meanwhile."""
STILL_OPEN = "change them otherwise; the approval is still open"


class Holder(Protocol):
    """Whoever has a run: its driver, or somebody who only looks at it."""

    @property
    def run(self) -> Run: ...


class _Still:
    """A run as it is in the journal."""

    def __init__(self, run: Run) -> None:
        self.run = run


async def checked(engine: Engine, holder: Holder, signal: Signal) -> Ask:
    """What to ask a run for a vote: to count it, or to refuse it because its changes cannot be used, or because what
    the call would do with them is not what was shown. The same is looked at again before the call is made, for much can
    happen until then. Raises `StoreUnavailable`."""
    ask, data = asked(engine, signal), mapping(signal.data)
    values = mapping(data.get("values"))
    if data.get("decision") != "approved" or not values or not _counts(engine, holder, ask):
        return ask
    try:
        found = await _looked_at(engine, holder, str(data.get("approval")), values)
    except StoreUnavailable:
        raise
    except FleetError as error:
        text, hint = error.message, error.hint or STILL_OPEN
        return lambda run, now: Refusal(text, hint=hint)
    if found is None:
        return ask
    known = {"edited": found.edited, "previewed": found.previewed}
    if any(data.get(name) not in (None, "", digest) for name, digest in known.items()):
        text = "what the call would do with these changes is not what was shown: that has changed since"
        return lambda run, now: Refusal(text, hint=LOOK_AGAIN)
    return asked(engine, signal, edited=found.edited, previewed=str(data.get("previewed") or ""))


def _counts(engine: Engine, holder: Holder, ask: Ask) -> bool:
    """Whether the run would take the vote: nothing is looked at for whoever may not vote."""
    try:
        return not isinstance(ask(holder.run, engine.now()), Refusal)
    except NeedsValue:
        return True


async def look_at(engine: Engine, run_id: str, approval: str, values: Mapping[str, Any]) -> EditedCall | None:
    """The call that an approval is about, as it would be with these values. Nothing is recorded, and the engine need
    not be open. None where the values change no call. Raises `Refused` where it could not be made so, `NotFound`."""
    holder: Holder | None = engine.live.get(run_id)
    if holder is None:
        run = await engine.load(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        holder = _Still(run)
    found = await _looked_at(engine, holder, approval, values)
    if found is None:
        return None
    redact = engine.secrets.redact_value
    return structs.replace(found, arguments=redact(dict(found.arguments)), show=redact(dict(found.show)))


async def _looked_at(engine: Engine, holder: Holder, approval: str, values: Mapping[str, Any]) -> EditedCall | None:
    run = holder.run
    step = next((step for step in run.steps.values() if step.asked(approval) is not None), None)
    gate = step.asked(approval) if step is not None else None
    if step is None or gate is None or gate.about != "tool":
        return None
    from fleetprompt.engine.agents.edits import look_at as look

    context = WorkContext(engine, cast("Driver", holder), effect_of(engine, run, step, step.program.node.type, None))
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look(context, gate.call, values)
    except StoreUnavailable:
        raise
    except TimeoutError:
        problem = f"what the call would do could not be found out within {LOOK_SECONDS:g} s"
    except FleetError as error:
        problem = f"{error.message}{f' ({error.hint})' if error.hint else ''}"
    except Exception as error:
        engine.trouble(f"looking at a changed call of run {run.id}", error)
        problem = f"{type(error).__name__}: {error}"
    raise Refused(engine.secrets.redact(f"the arguments cannot be changed so: {problem}"), hint=STILL_OPEN)
