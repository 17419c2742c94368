"""Runs that agents start: which plan that would be, what it may use, and the signal that starts one for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.inputs import bind_inputs
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports.budget import Caps
from fleetprompt.engine.ports.tool import Startable

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

MAX_DEPTH = 3
"""How deep runs may be in which an agent has chosen the workflow."""
SHOWN = 20
"""Workflows that are named where there is none of that name."""


def require_depth(above: RunCreated) -> None:
    """Raises `Refused` where an agent's choice would be too deep below the first run."""
    if above.depth + 1 > MAX_DEPTH:
        raise Refused(f"agents start workflows {MAX_DEPTH} runs deep at most")


async def startable(
    engine: Engine, run: Run, workflow: str, inputs: Mapping[str, Any], above: Sequence[tuple[str, Caps]]
) -> Startable:
    """A workflow as it would be started by a run. Raises `NotFound`, `Refused`, `InvalidInput`."""
    created = run.created
    assert created is not None
    require_depth(created)
    if await engine.store.catalog.workflow(workflow, created.tenant) is None:
        known = [entry.name for entry in await engine.store.catalog.workflows(created.tenant)]
        hint = did_you_mean(workflow, known) or f"there are: {', '.join(known[:SHOWN]) or 'none'}"
        raise NotFound(f"there is no workflow `{inert(workflow)}`", hint=hint)
    digest, _ = await engine.workflows.pin(workflow, "", created.tenant)
    plan = (await engine.workflows.program(digest)).plan
    values, problems = bind_inputs(plan, dict(inputs))
    if problems:
        raise InvalidInput("; ".join(problems.values()))
    limits = plan.guardrails
    return Startable(
        workflow=workflow,
        plan=digest,
        description=plan.description,
        inputs=values,
        caps=Caps(limits.requests, limits.tokens, limits.tool_calls, limits.cost_nano),
        above=above,
    )


def child_start(run: Run, path: str, call: str, child: str, workflow: str, at: float) -> Signal:
    """The signal that starts a run nobody waits for: the same for the same call."""
    created = run.created
    assert created is not None
    return Signal(
        id=signal_id(types.START, child, ""),
        type=types.START,
        source=f"run/{run.id}",
        at=at,
        data={"run": child, "workflow": workflow, "parent": run.id, "path": path, "call": call},
        subject=child,
        tenant=created.tenant,
        key=f"start/{child}",
        correlation=created.correlation or created.root or created.run,
        causation=created.run,
    )
