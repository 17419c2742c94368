"""Attempts at one thing that is asked of models: which is asked next and when, what is noted of an attempt that came to
nothing, and how its reservation ends. The same for answers, pictures and vectors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fleetprompt.engine.agents.tracking import ActionStatus, action
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Code, Failure, FleetError
from fleetprompt.engine.ports.budget import Allowance, Amounts, Settle
from fleetprompt.engine.ports.model import ModelFailed, ModelTarget
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.ports.world import Failed

TRIES = 4
"""Requests for one thing that are made to each model."""
BACKOFF = (1.0, 4.0, 15.0)
"""Seconds before another one, unless the other side says how long to wait."""
LONG = 20.0
"""Seconds that are waited in the middle of the work; for longer the work is put aside."""
MODEL = "model"
"""What requests to models are called in the `off` of a policy."""
SWITCHED_ON = "`fleet retry` goes on with the work once that is taken out of the policy"
NOTHING = Amounts()


class NoAnswer(FleetError):
    """No model has answered."""

    code: Code = "AGENT_ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: Code,
        hint: str = "",
        retryable: bool = True,
        data: Any = None,
        until: float | None = None,
    ) -> None:
        """`until`: the time before which the model that is asked first has asked us not to come again."""
        super().__init__(message, hint=hint)
        self.code = code
        self.retryable = retryable
        self.data = data
        self._until = until

    def outcome(self, now: float) -> Failed:
        """How the attempt at the step ends by it."""
        error = Failure(self.code, self.message, hint=self.hint, retryable=self.retryable, data=self.data)
        return Failed(error, max(0.0, self._until - now) if self._until is not None else None)


def asked_models(name: str, fallbacks: Sequence[str]) -> tuple[str, ...]:
    """A model and those that are asked instead, each once."""
    return tuple(dict.fromkeys((name, *fallbacks)))


async def next_model(ctx: WorkContext, names: Sequence[str], failures: Sequence[Mapping[str, Any]], what: str) -> str:
    """The model to ask now, once it is time to. `what` is asked for, for people. Raises `NoAnswer` where none is left,
    or none may be asked."""
    name, tried = _left(names, failures, what)
    if tried:
        await _pause(ctx, tried, failures[-1])
    await ctx.go_on()
    if off := ctx.switched_off(MODEL):
        raise NoAnswer(f"no model may be asked now: {off}", code="CANCELLED", hint=SWITCHED_ON, retryable=False)
    return name


def _left(names: Sequence[str], failures: Sequence[Mapping[str, Any]], what: str) -> tuple[str, int]:
    """The first model that may still answer, and how often it was asked already."""
    for name in names:
        found = [failure for failure in failures if failure.get("asked") == name]
        if len(found) < TRIES and all(failure.get("retryable") for failure in found):
            return name, len(found)
    last = failures[-1]
    others = f" (asked: {', '.join(names)})" if len(names) > 1 else ""
    raise NoAnswer(
        f"no {what} from the model{others}: {last.get('message', '')}",
        code=last.get("code", "AGENT_ERROR"),
        hint=str(last.get("hint", "")),
        retryable=bool(last.get("retryable")),
        data={"requests": len(failures), "model": last.get("model", "")},
        until=next((_due(each) for each in reversed(failures) if each.get("asked") == names[0]), None),
    )


def _due(failure: Mapping[str, Any]) -> float | None:
    """When the other side wants to be asked again; None where it does not say."""
    wait = failure.get("retry_after")
    return float(failure.get("at") or 0.0) + float(wait) if wait is not None else None


async def _pause(ctx: WorkContext, tried: int, last: Mapping[str, Any]) -> None:
    due = max(float(last.get("at") or 0.0) + BACKOFF[min(tried, len(BACKOFF)) - 1], _due(last) or 0.0)
    left = due - ctx.now()
    if left > LONG:
        await ctx.wait_until(due)
    elif left > 0:
        await asyncio.sleep(left)


def require_price(target: ModelTarget, allowances: Sequence[Allowance], *, known: bool) -> None:
    """Raise `ModelFailed` where money is limited and nobody knows what a request costs."""
    limited = any(each.caps.cost_nano is not None for each in allowances)
    if limited and not known and target.mode in ("live", "local"):
        raise ModelFailed(
            f"nobody knows what {target.model} costs, and what this run spends is limited",
            kind="not_sent",
            code="BUDGET_EXCEEDED",
            retryable=False,
            spent="nothing",
            hint="give its price in fleet.toml: [models.<alias>] price = {…}; see docs/models.md",
        )


def requesting(
    what: str, names: Sequence[str], name: str, failures: Sequence[Mapping[str, Any]], status: ActionStatus
) -> dict[str, Any]:
    """A request as an action. `what` is asked for, of the model `name`, one of `names`, after these failures."""
    most = TRIES * len(names) - 1
    return action("llm_call", name, capability=what, status=status, retry_count=len(failures), max_retries=most)


def interrupted(started: Mapping[str, Any], amounts: Amounts) -> dict[str, Any]:
    """What is noted of a request that was under way when the work was interrupted: nobody knows what it has cost. It
    says nothing about the model, and has no time: it is asked again at once."""
    return {
        "try": started.get("try", 0),
        "asked": started.get("asked", ""),
        "model": started.get("model", ""),
        "kind": "interrupted",
        "code": "INTERNAL",
        "message": "the work was interrupted while the model answered",
        "retryable": True,
        "uncertain_nano": amounts.cost_nano,
        "uncertain_tokens": amounts.tokens,
    } | settled(started, uncertain=amounts)


def failed(
    failure: ModelFailed,
    started: Mapping[str, Any],
    name: str,
    tries: int,
    at: float,
    spent: Amounts,
    uncertain: Amounts,
) -> dict[str, Any]:
    """What is noted of a request that came to nothing. `started`: what was noted when it was begun, empty where it was
    not; `name`: the model as it was asked for; `tries`: failures before this one."""
    return {
        "try": tries,
        "asked": name,
        "model": str(started.get("model", name)),
        "kind": failure.kind,
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "status": failure.status,
        "retryable": failure.retryable,
        "retry_after": failure.retry_after,
        "uncertain_nano": uncertain.cost_nano,
        "uncertain_tokens": uncertain.tokens,
        "at": at,
    } | settled(started, spent, uncertain)


def settled(started: Mapping[str, Any], spent: Amounts = NOTHING, uncertain: Amounts = NOTHING) -> dict[str, Any]:
    """How the reservation of a request ends, and by how much more was taken than it held (`overshoot`): providers count
    as they like, and some give more than they were asked for. Nothing where it made none."""
    reserve = mapping(started.get("reserve"))
    if not reserve:
        return {}
    held = msgspec.convert(mapping(reserve.get("amounts")), Amounts)
    over = {"tokens": spent.tokens - held.tokens, "cost_nano": spent.cost_nano - held.cost_nano}
    beyond = {name: more for name, more in over.items() if more > 0}
    settle = {"settle": msgspec.to_builtins(Settle(str(reserve["id"]), spent, uncertain))}
    return settle | ({"overshoot": beyond} if beyond else {})
