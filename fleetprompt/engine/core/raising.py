"""Limits that are raised while a run works: what waits at one of them looks again, here and in the runs below."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fleetprompt.engine.core import signal as signals
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided, BudgetRaised, StepNoted
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.graph import open_steps
from fleetprompt.engine.core.outbox import send
from fleetprompt.engine.core.state import Run, Step

RAISED = "raised"
"""Kind of the note about a step that waits for a child run: a limit in which that works has been raised."""


def raised_by(gate: Gate, at: float, by: tuple[str, ...], comment: str, values: dict[str, Any]) -> list[BudgetRaised]:
    """The limits that an answer to a question about the budget raises: `amount` of what was reached, in its unit."""
    if gate.about != "budget":
        return []
    reached, amount = mapping(gate.input), values.get("amount")
    if not isinstance(amount, (int, float)) or amount <= 0:
        return []
    limit = str(reached.get("limit", ""))
    units = round(amount * 1_000_000_000) if limit == "cost_nano" else int(amount)
    scope = str(reached.get("scope", ""))
    who = ", ".join(by)
    return [BudgetRaised(at=at, scope=scope, limit=limit, amount=units, by=who, reason=comment)]


def look_again(run: Run, at: float, raised: Collection[BudgetRaised], besides: Gate | None = None) -> list[AnyFact]:
    """What follows in a run, and in those that it waits for, when limits have been raised. `besides`: the question by
    whose answer they were."""
    if not raised:
        return []
    last = max(raised, key=lambda fact: fact.at)
    limits = {(fact.scope, fact.limit) for fact in raised}
    return told(run, at, limits, by=last.by, reason=last.reason, besides=besides)


def told(
    run: Run,
    at: float,
    limits: Collection[tuple[str, str]],
    *,
    by: str,
    reason: str = "",
    besides: Gate | None = None,
) -> list[AnyFact]:
    """The same where the limits, by scope and name, may be those of a run above.

    A question about one of them is withdrawn, and the work goes on: where there is still no room, it asks anew, with
    the figures as they are then."""
    facts: list[AnyFact] = []
    for step in open_steps(run):
        for gate in step.open_gates:
            if gate is not besides and gate.about == "budget" and _reached(gate) in limits:
                who = (by,) if by else ()
                facts.append(
                    ApprovalDecided(
                        at=at, path=step.path, id=gate.id, decision="withdrawn", by=who, reason=RAISED, comment=reason
                    )
                )
        if step.on == "child":
            value = {"limits": [list(pair) for pair in sorted(limits)], "by": by, "reason": reason}
            facts.append(StepNoted(at=at, path=step.path, kind=RAISED, value=value, attempt=step.attempt))
    return facts


def pass_on(run: Run, step: Step, value: Any, at: float) -> None:
    """Let the child run know for which a step waits."""
    data = {"run": step.ref, "above": mapping(value)}
    send(run, signals.RAISE, step.ref, data, step.ref, at, causation=str(run.n))


def limits_of(value: Any) -> set[tuple[str, str]]:
    """The limits that such a signal names."""
    named = [items(pair) for pair in items(mapping(value).get("limits"))]
    return {(str(pair[0]), str(pair[1])) for pair in named if len(pair) == 2}


def _reached(gate: Gate) -> tuple[str, str]:
    reached = mapping(gate.input)
    return str(reached.get("scope", "")), str(reached.get("limit", ""))
