"""Which budgets a step spends from: the fleet's of the day, those above the run, the workflow's of the day, the run's,
and those of the steps and branches it is in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetprompt.engine.core.facts import Within
from fleetprompt.engine.core.plan import Guardrails, OnLimit
from fleetprompt.engine.core.state import Run, Scope, Step
from fleetprompt.engine.ports.budget import Allowance, Caps

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine


def allowances_of(engine: Engine, run: Run, step: Step) -> tuple[Allowance, ...]:
    """The scopes that limit what a step spends, the widest first; none that limits nothing."""
    return tuple(Allowance(scope, _caps(limits)) for scope, limits in _limiting(engine, run, step).items())


def within(engine: Engine, run: Run, step: Step) -> tuple[Within, ...]:
    """The same for a child run that the step starts, which knows the fleet's by itself."""
    return tuple(
        Within(
            scope,
            limits.requests,
            limits.tokens,
            limits.tool_calls,
            limits.cost_nano,
            on_limit_of(engine, run, step, scope),
        )
        for scope, limits in _limiting(engine, run, step).items()
        if not scope.startswith("fleet/")
    )


def _limiting(engine: Engine, run: Run, step: Step) -> dict[str, Guardrails]:
    """Each scope once: a workflow that starts itself is within its own day already."""
    places = _places(engine, run, step)
    return {scope: limits for scope, limits in places if limits is not None and limits.limits}


def on_limit_of(engine: Engine, run: Run, step: Step, scope: str) -> OnLimit:
    """What happens at the limits of a scope: what the narrowest says that the step is in, for those that say nothing of
    their own (the fleet, the day, a branch) what the run says."""
    for above in _above(run):
        if above.scope == scope:
            return above.on_limit
    for known, limits in _places(engine, run, step):
        if known == scope and limits is not None and not scope.startswith(("fleet/", "workflow/", "branch/")):
            return limits.on_limit
    return run.program.plan.guardrails.on_limit


def _places(engine: Engine, run: Run, step: Step) -> list[tuple[str, Guardrails | None]]:
    plan = run.program.plan
    day = datetime.fromtimestamp(engine.now(), UTC).date().isoformat()
    return [
        (f"fleet/{day}", engine.guardrails),
        *((above.scope, _guardrails(above)) for above in _above(run)),
        (f"workflow/{plan.name}/{day}", plan.guardrails.per_day),
        (f"run/{run.id}", plan.guardrails),
        *reversed(list(_around(run.id, step))),
    ]


def _around(run: str, step: Step) -> Iterator[tuple[str, Guardrails | None]]:
    """The step, and what it is in, from the inside out."""
    yield f"step/{run}/{step.path}", step.program.node.guardrails
    scope: Scope = step.scope
    while scope.owner is not None:
        owner = scope.owner
        limits = owner.program.node.guardrails
        yield f"branch/{run}/{scope.prefix.removesuffix('.')}", limits.each if limits is not None else None
        yield f"step/{run}/{owner.path}", limits
        scope = owner.scope


def _above(run: Run) -> tuple[Within, ...]:
    return run.created.within if run.created is not None else ()


def _guardrails(above: Within) -> Guardrails:
    return Guardrails(above.requests, above.tokens, above.tool_calls, above.cost_nano)


def _caps(limits: Guardrails) -> Caps:
    return Caps(limits.requests, limits.tokens, limits.tool_calls, limits.cost_nano)
