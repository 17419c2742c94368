"""Requests to models for something else than an answer: pictures, and vectors of texts. As with answers, what they can
cost is reserved before, they are recorded as they begin and end, and repeated and handed on to fallbacks by us alone.
What is recorded is never paid for again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from fleetprompt.engine.agents.attempts import (
    asked_models,
    failed,
    interrupted,
    next_model,
    requesting,
    require_price,
    settled,
)
from fleetprompt.engine.agents.loading import loaded
from fleetprompt.engine.agents.tracking import ActionStatus
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.ports.budget import Allowance, Amounts, BudgetRefused, Reserve
from fleetprompt.engine.ports.model import ModelFailed, ModelTarget, Provider, Usage
from fleetprompt.engine.ports.work import Note, WorkContext

What = Literal["image", "embedding"]


class Answer(Protocol):
    """What every answer of a model says about its price."""

    @property
    def usage(self) -> Usage: ...
    @property
    def cost_nano(self) -> int | None: ...
    @property
    def price(self) -> str: ...
    @property
    def model(self) -> str: ...


class Wanted(Struct, frozen=True):
    """What is asked for, of whatever model."""

    name: str
    """Of the model: an alias, or the model itself."""
    digest: str
    """Of what is asked: a recorded answer to something else is none to this."""
    most: Callable[[ModelTarget], Amounts | None]
    """What it can use at most; None: nobody knows what it costs."""
    send: Callable[[Provider, ModelTarget, str, str], Awaitable[Answer]]
    """Ask a provider for it, with the target, the credential and the key of the request. Raises `ModelFailed`."""
    told: Callable[[Any], Awaitable[dict[str, Any]]]
    """What is recorded of the answer besides its price."""


class _Place:
    """One thing that is asked for, as its notes tell."""

    __slots__ = ("answer", "failures", "started")

    def __init__(self) -> None:
        self.started: Mapping[str, Any] | None = None
        self.failures: list[Mapping[str, Any]] = []
        self.answer: Mapping[str, Any] | None = None


class Asking:
    """Asks for things of one kind on behalf of a step."""

    def __init__(
        self,
        ctx: WorkContext,
        what: What,
        notes: Sequence[Note],
        own: Sequence[Allowance] = (),
        *,
        counted: bool = True,
    ) -> None:
        """`notes` of the step, of all attempts; `own`: limits of an agent, within those of its step. `counted`: whether
        they count as requests to models."""
        self._ctx = ctx
        self._what: What = what
        self._own = tuple(own)
        self._counted = counted
        self._places: dict[str, _Place] = {}
        for note in notes:
            self._fold(note)

    def _fold(self, note: Note) -> None:
        what, _, event = note.kind.partition(".")
        if what != self._what:
            return
        place = self._places.setdefault(note.key, _Place())
        value = mapping(note.value)
        if event == "started":
            place.started = value
        elif event == "completed":
            place.started, place.answer = None, value
        elif event == "failed":
            place.started = None
            # What failed in an earlier attempt may be tried again in this one.
            if note.attempt == self._ctx.effect.attempt:
                place.failures.append(value)

    async def ask(self, key: str, wanted: Wanted) -> Mapping[str, Any]:
        """What is recorded of the answer. Raises `NoAnswer` when no model gives one, `BudgetRefused` at a limit."""
        place = self._places.setdefault(key, _Place())
        if place.started is not None:
            await self._interrupted(wanted, place, key)
        if place.answer is not None and place.answer.get("digest") == wanted.digest:
            return place.answer
        names = self._names(wanted)
        while True:
            name = await next_model(self._ctx, names, place.failures, self._what)
            try:
                place.answer = await self._once(wanted, name, place, key)
                return place.answer
            except ModelFailed as failure:
                place.failures.append(await self._failed(wanted, place, key, name, failure))
                place.started = None

    async def _once(self, wanted: Wanted, name: str, place: _Place, key: str) -> Mapping[str, Any]:
        """One request. Raises `ModelFailed`, `BudgetRefused`."""
        ctx = self._ctx
        target = await ctx.models.find(name)
        provider = await loaded(ctx, ctx.models.provider(target), key)
        effect = ctx.effect
        number = len(place.failures)
        id_ = f"{effect.run}/{effect.path}/a{effect.attempt}/{key}#{number}"
        place.started = await self._begin(wanted, target, name, place, key, id_)
        answer = await wanted.send(provider, target, ctx.credential(target), id_)
        value: dict[str, Any] = {
            "try": number,
            "asked": name,
            "model": target.model,
            "mode": target.mode,
            "served_by": answer.model,
            "tokens": answer.usage.total,
            "cost_nano": answer.cost_nano,
            "price": answer.price,
            "usage": msgspec.to_builtins(answer.usage),
            "digest": wanted.digest,
            **self._action(wanted, name, place, "completed"),
        } | await wanted.told(answer)
        spent = Amounts(int(self._counted), answer.usage.total, cost_nano=answer.cost_nano or 0)
        await ctx.record((f"{self._what}.completed", key, value | settled(place.started or {}, spent)))
        place.started = None
        return value

    async def _begin(
        self, wanted: Wanted, target: ModelTarget, name: str, place: _Place, key: str, id_: str
    ) -> Mapping[str, Any]:
        """Reserve what the request can cost, and record that it is made."""
        ctx = self._ctx
        allowances = (*ctx.allowances, *self._own)
        most = wanted.most(target)
        require_price(target, allowances, known=most is not None)
        amounts = most or Amounts()
        amounts = msgspec.structs.replace(amounts, requests=int(self._counted))
        value: dict[str, Any] = {
            "what": self._what,
            "try": len(place.failures),
            "asked": name,
            "model": target.model,
            "mode": target.mode,
            "digest": wanted.digest,
            "most": msgspec.to_builtins(amounts),
            "at": ctx.now(),
        } | self._action(wanted, name, place, "running")
        if allowances:
            value["reserve"] = msgspec.to_builtins(Reserve(id_, allowances, amounts))
        with ctx.budget_wait(key) as wait:
            while True:
                try:
                    await ctx.record((f"{self._what}.started", key, value), reserves=[id_] if allowances else ())
                    return value
                except BudgetRefused as refused:
                    if not await wait.freed(refused):
                        raise

    def _names(self, wanted: Wanted) -> tuple[str, ...]:
        return asked_models(wanted.name, self._ctx.models.fallbacks(wanted.name))

    def _action(self, wanted: Wanted, name: str, place: _Place, status: ActionStatus) -> dict[str, Any]:
        return {"action": requesting(self._what, self._names(wanted), name, place.failures, status)}

    async def _interrupted(self, wanted: Wanted, place: _Place, key: str) -> None:
        """A request was under way when the work was interrupted: nobody knows what it has cost."""
        started = place.started or {}
        amounts = msgspec.convert(mapping(started.get("most")), Amounts)
        value = interrupted(started, amounts)
        value |= self._action(wanted, str(started.get("asked", "")), place, "cancelled")
        await self._ctx.record((f"{self._what}.failed", key, value))
        place.started = None
        place.failures.append(value)

    async def _failed(
        self, wanted: Wanted, place: _Place, key: str, name: str, failure: ModelFailed
    ) -> Mapping[str, Any]:
        started = place.started or {}
        uncertain = Amounts()
        if failure.spent == "uncertain" and started:
            most = msgspec.convert(mapping(started.get("most")), Amounts)
            uncertain = Amounts(tokens=most.tokens, cost_nano=most.cost_nano)
        tries, at = len(place.failures), self._ctx.now()
        value = failed(failure, started, name, tries, at, Amounts(int(self._counted)), uncertain)
        value |= self._action(wanted, name, place, "failed")
        await self._ctx.record((f"{self._what}.failed", key, value))
        return value
