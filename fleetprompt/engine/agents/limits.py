"""What is said where a limit is reached: why the work ends, and how people are asked for more."""

from __future__ import annotations

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.ports.budget import BudgetRefused, figure, unit_of
from fleetprompt.engine.ports.work import NoteValue, Question, WorkContext


def over_limit(refused: BudgetRefused) -> Failure:
    """Why the work cannot go on."""
    return Failure(
        "BUDGET_EXCEEDED",
        refused.message,
        hint="raise it in `guardrails`, or let operators be asked: `on_limit: ask`",
        retryable=False,
        data={"scope": refused.scope, "limit": refused.limit, "cap": refused.cap, "used": refused.used},
    )


def refused_more(ctx: WorkContext) -> bool:
    """People have been asked for more, and have said no the last time. A question that was withdrawn, because the limit
    was raised meanwhile, is no answer."""
    asked = [each for each in ctx.decisions.values() if each.about == "budget"]
    return bool(asked) and asked[-1].decision not in ("approved", "withdrawn")


def more(
    refused: BudgetRefused, who: str, call: str, notes: tuple[NoteValue, ...] = (), excludes: tuple[str, ...] = ()
) -> Question:
    """People are asked for more; `who` needs it, and `call` is the question's own. `notes`, `excludes`: see
    `Question`."""
    limit, unit = refused.limit, unit_of(refused.limit)
    shown = {"used": refused.used, "reserved": refused.reserved, "cap": refused.cap, "wanted": refused.wanted}
    enough = f"How many {unit} more: {figure(limit, refused.lacking)} for what comes next."
    return Question(
        call=call,
        about="budget",
        message=f"{who}: {refused.message}. Raise the limit?",
        show={"scope": refused.scope, "limit": limit} | {key: figure(limit, value) for key, value in shown.items()},
        input={"scope": refused.scope, "limit": limit},
        form={"amount": {"type": "number", "required": True, "minimum": 0, "description": enough}},
        excludes=excludes,
        notes=notes,
    )
