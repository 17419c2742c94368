"""Requests to models on behalf of an agent: reserved before, recorded as they begin and end, repeated and handed on to
fallbacks by us alone. An answer that is recorded is never paid for again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.agents.attempts import failed, interrupted, next_model, requesting, require_price, settled
from fleetprompt.engine.agents.conversation import request_digest
from fleetprompt.engine.agents.decisions import DECISION
from fleetprompt.engine.agents.loading import loaded
from fleetprompt.engine.agents.spare import Spare
from fleetprompt.engine.agents.tracking import ActionStatus
from fleetprompt.engine.agents.transcript import PROBED, Turn
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Code, FleetError
from fleetprompt.engine.core.tracing import inside, parse
from fleetprompt.engine.llm import prices, recording
from fleetprompt.engine.ports.budget import Allowance, Amounts, BudgetRefused, Reserve
from fleetprompt.engine.ports.model import Delta, Message, ModelAnswer, ModelFailed, ModelRequest, ModelTarget
from fleetprompt.engine.ports.work import BudgetWait, NoteValue, WorkContext

ANSWER = "answer"
"""What is asked for, for people and as the capability of a model."""
PATIENCE = 10
"""How often budget is waited for in vain before an agent that can finish with what it has does so."""


class OverLimit(FleetError):
    """A limit is reached."""

    code: Code = "BUDGET_EXCEEDED"

    def __init__(self, refused: BudgetRefused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class Noted(Protocol):
    """Records notes together, and takes them up as they were recorded."""

    async def __call__(self, *notes: NoteValue, reserves: Collection[str] = ()) -> Sequence[NoteValue]: ...


class Wanted(Struct, frozen=True):
    """A request without its model, which may be any of several."""

    request: ModelRequest
    """With the target that was asked for."""
    names: tuple[str, ...]
    """Models to ask, one after the other."""
    shorter: tuple[tuple[Message, ...], ...] = ()
    """Shorter forms of its messages, for the last request, where a limit allows no more."""
    last: bool = False
    """What is kept for the last request is for this one."""
    decided: Mapping[str, Any] | None = None
    """By which rule it is made as it is, where that is noted."""


class Requests:
    """Asks models. One object for each agent at work."""

    def __init__(self, ctx: WorkContext, allowances: Sequence[Allowance], spare: Spare | None, note: Noted) -> None:
        """`allowances`: the limits of its step, and its own within them. `spare`: what is kept for its last request,
        where there has to be one. `note`: records notes, and takes them up as they were recorded."""
        self._ctx = ctx
        self._allowances = tuple(allowances)
        self._spare = spare
        self._note = note

    async def answer(self, wanted: Wanted, turn: Turn, key: str) -> Mapping[str, Any]:
        """The recorded answer to a turn. Raises `NoAnswer` when no model gives one, `OverLimit` where a limit is
        reached."""
        if turn.started is not None:
            await self._forfeit(wanted, turn, key)
        while True:
            name = await next_model(self._ctx, wanted.names, turn.failures, ANSWER)
            try:
                return await self._once(wanted, name, turn, key)
            except ModelFailed as failure:
                await self._failed(wanted, turn, key, name, failure)

    async def _once(self, wanted: Wanted, name: str, turn: Turn, key: str) -> Mapping[str, Any]:
        """One request. Raises `ModelFailed`, `OverLimit`."""
        ctx = self._ctx
        target = await ctx.models.find(name)
        number = len(turn.failures)
        provider = await loaded(ctx, ctx.models.provider(target), key)
        if target.discovered and wanted.request.tools:
            await self._try_out(target, key)
        request = replace(
            wanted.request, target=target, key=f"{self._id(key)}#{number}", traceparent=self._spot(key, number)
        )
        request = await self._begun(request, wanted, name, turn, key)
        ctx.show(key, Delta("reset"))
        answer = await provider.answer(request, ctx.credential(target), lambda delta: ctx.show(key, delta))
        value = _answered(answer, target, number, name, turn) | _action(wanted, name, turn, "completed")
        if beyond := value.get("overshoot"):
            ctx.log(f"{target.model} took more than was reserved for it, limits or not", "warning", beyond)
        return await self._noted(kinds.ANSWERED, key, value)

    async def _try_out(self, target: ModelTarget, key: str) -> None:
        """Let a model that was only found on this machine call a tool, before any work depends on it: once as long as
        the engine lives. It is a question of ours: it costs nothing, and counts for no limit. Raises `ModelFailed`.
        """
        models, where = self._ctx.models, f"{target.model.partition('/')[2]} at {target.api_base}"
        found = models.probed(target)
        if found is None:
            self._ctx.credential(target)
            found = await models.probe(target)
            value = {"model": target.model, "api_base": target.api_base, "mode": target.mode, "at": self._ctx.now()}
            await self._note((PROBED, key, value | msgspec.to_builtins(found)))
        if found.ok:
            return
        cannot = "cannot be used with tools" if found.answered else "could not be asked whether it calls tools"
        raise ModelFailed(
            f"the model {where}, which was found on this machine, {cannot}: {found.said}",
            kind="refused" if found.answered else "not_sent",
            code="VALIDATION_ERROR" if found.answered else "AGENT_ERROR",
            retryable=not found.answered,
            spent="nothing",
            hint="name another one in fleet.toml: [models.default] model = …; `fleet models --ask` tries them",
        )

    async def _noted(self, kind: str, key: str, value: Any) -> Mapping[str, Any]:
        """The value as it was recorded."""
        return mapping((await self._note((kind, key, value)))[-1][2])

    def _spot(self, key: str, number: int) -> str:
        step = parse(self._ctx.effect.traceparent)
        return inside(step, key, number).traceparent if step is not None else ""

    def _id(self, key: str) -> str:
        effect = self._ctx.effect
        return f"{effect.run}/{effect.path}/a{effect.attempt}/{key}"

    async def _begun(self, request: ModelRequest, wanted: Wanted, name: str, turn: Turn, key: str) -> ModelRequest:
        """The request as it is made, which is recorded. Raises `OverLimit`, `ModelFailed`."""
        provider = self._ctx.models.provider(request.target)
        forms = (request.messages, *wanted.shorter)
        for n, form in enumerate(forms, 1):
            shown = replace(request, messages=form)
            prompt = await provider.count(shown.target, shown.messages, shown.tools)
            try:
                return await self._begin(shown, wanted, name, turn, key, prompt)
            except OverLimit:
                if n == len(forms):
                    raise
        raise AssertionError

    async def _begin(
        self, request: ModelRequest, wanted: Wanted, name: str, turn: Turn, key: str, prompt: int
    ) -> ModelRequest:
        """Reserve what the request can cost, and record that it is made. Less output is asked for where the budget
        allows no more. Raises `OverLimit`, and `ModelFailed` where nobody knows what a limited request costs."""
        require_price(request.target, self._allowances, known=request.target.price is not None)
        with self._ctx.budget_wait(key, finishes=self._spare is not None) as wait:
            return await self._reserved(request, wanted, name, turn, key, prompt, wait)

    async def _reserved(
        self, request: ModelRequest, wanted: Wanted, name: str, turn: Turn, key: str, prompt: int, wait: BudgetWait
    ) -> ModelRequest:
        """What `_begin` does, waiting for budget where it has to."""
        ctx, allowances = self._ctx, self._allowances
        price, in_vain = request.target.price, 0
        while True:
            cost = prices.most(price, prompt, request.max_tokens) or 0
            tokens = _sure(prompt) + request.max_tokens
            amounts = Amounts(requests=1, tokens=tokens, cost_nano=cost)
            reserve = Reserve(request.key, allowances, amounts)
            value: dict[str, Any] = {
                "try": len(turn.failures),
                "asked": name,
                "model": request.target.model,
                "mode": request.target.mode,
                "digest": request_digest(request),
                "replay": recording.request_digest(request),
                "max_tokens": request.max_tokens,
                "prompt_tokens": prompt,
                "at": ctx.now(),
            } | _action(wanted, name, turn, "running")
            if wanted.decided is not None:
                value[DECISION] = wanted.decided
            if allowances:
                value["reserve"] = msgspec.to_builtins(reserve)
            notes, ids = self._spared(request, prompt, last=wanted.last)
            try:
                await self._note(*notes, (kinds.REQUESTED, key, value), reserves=[request.key, *ids])
            except BudgetRefused as refused:
                smaller = self._smaller(request, prompt, refused)
                if smaller is None:
                    in_vain += 1
                    patient = self._spare is None or in_vain <= PATIENCE
                    if not patient or not await wait.freed(refused):
                        raise OverLimit(refused) from refused
                request = smaller or request
                continue
            return request

    def _spared(self, request: ModelRequest, prompt: int, *, last: bool) -> tuple[list[NoteValue], list[str]]:
        """What becomes of what is kept for the last request."""
        if self._spare is None:
            return [], []
        if last:
            return self._spare.given_back(), []
        note, id_ = self._spare.kept(request, prompt)
        return [note], [id_]

    def _smaller(self, request: ModelRequest, prompt: int, refused: BudgetRefused) -> ModelRequest | None:
        """What can be asked for with what is left; None where others hold what it takes. Raises `OverLimit`."""
        left = max(0, refused.left)
        most = request.max_tokens
        if refused.limit == "cost_nano":
            most = prices.affordable(request.target.price, prompt, request.max_tokens, left)
        elif refused.limit == "tokens":
            room = left - _sure(prompt)
            most = min(most, room) if room >= min(most, prices.LEAST_TOKENS) else 0
        else:
            most = 0
        if refused.id == request.key and 0 < most < request.max_tokens:
            return replace(request, max_tokens=most)
        if not refused.may_free:
            raise OverLimit(refused)
        return None

    async def _forfeit(self, wanted: Wanted, turn: Turn, key: str) -> None:
        """A request was under way when the work was interrupted: nobody knows what it has cost."""
        started = turn.started or {}
        amounts = msgspec.convert(mapping(mapping(started.get("reserve")).get("amounts")), Amounts)
        was = _action(wanted, str(started.get("asked", "")), turn, "cancelled")
        await self._noted(kinds.FAILED, key, interrupted(started, amounts) | was)

    async def _failed(self, wanted: Wanted, turn: Turn, key: str, name: str, failure: ModelFailed) -> None:
        started = turn.started or {}
        uncertain = await self._uncertain(started, failure) if started and failure.spent == "uncertain" else Amounts()
        tries, at = len(turn.failures), self._ctx.now()
        value = failed(failure, started, name, tries, at, Amounts(requests=1), uncertain)
        await self._noted(kinds.FAILED, key, value | _action(wanted, name, turn, "failed"))

    async def _uncertain(self, started: Mapping[str, Any], failure: ModelFailed) -> Amounts:
        """What a request that came to nothing may be billed for: its prompt, and what came of the answer."""
        target = await self._ctx.models.find(str(started.get("asked", "")))
        prompt = int(started.get("prompt_tokens", 0))
        cost = prices.most(target.price, prompt, failure.received) or 0
        return Amounts(tokens=_sure(prompt) + failure.received, cost_nano=cost)


def _action(wanted: Wanted, name: str, turn: Turn, status: ActionStatus) -> dict[str, Any]:
    return {"action": requesting(ANSWER, wanted.names, name, turn.failures, status)}


def _answered(answer: ModelAnswer, target: ModelTarget, number: int, name: str, turn: Turn) -> dict[str, Any]:
    value: dict[str, Any] = {
        "try": number,
        "asked": name,
        "model": target.model,
        "mode": target.mode,
        "served_by": answer.model,
        "finish": answer.finish,
        "tokens": answer.usage.total,
        "cost_nano": answer.cost_nano,
        "price": answer.price,
        "seconds": round(answer.seconds, 4),
        "first": answer.first,
        "usage": msgspec.to_builtins(answer.usage),
        "calls": [msgspec.to_builtins(call) for call in answer.calls],
        "text": answer.text,
    }
    if answer.reasoning:
        value["reasoning"] = answer.reasoning
    spent = Amounts(requests=1, tokens=answer.usage.total, cost_nano=answer.cost_nano or 0)
    return value | settled(turn.started or {}, spent)


def _sure(tokens: int) -> int:
    """Counted tokens with what the counters of providers may differ by."""
    return math.ceil(tokens * prices.MARGIN)
