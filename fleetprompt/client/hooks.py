"""Webhooks: requests of other systems that start runs. Whoever answers them brings each request, and says who asks
where nothing is signed.

What is not let in leaves nothing but a number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import uuid_utils
from msgspec import Struct

from fleetprompt.client.identity import Identity, require
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.firing import Firing, Outcome
from fleetprompt.engine.core.routing import Hook
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.triggers.webhook import (
    Accepted,
    Filtered,
    Refusal,
    body_limit,
    receive,
    secret_of,
    to_signal,
)

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

UNKNOWN = ""
"""What requests are counted under for which there is no webhook."""
LARGE_BYTES = 256 * 1024
"""Bodies from here on are read in a thread: others wait for the loop."""
ROUTED_SECONDS = 2.0
"""How long to wait for what comes of an earlier request that is still being answered."""


class Request(Struct, frozen=True, kw_only=True):
    """A request as it came."""

    headers: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Taken(Struct, frozen=True, kw_only=True):
    """A request that was let in, and what came of it: durable."""

    signal: str = ""
    """Id of its signal; empty where it was not wanted."""
    duplicate: bool = False
    """Its key was seen before: this is what came of the earlier one."""
    runs: tuple[str, ...] = ()


class Hooks:
    """The webhooks of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tallies: dict[tuple[str, str], Counter[str]] = {}
        """By tenant and path."""
        self._unknown: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        """Hooks whose secret cannot be used: told of once."""

    def of(self, path: str) -> list[Hook]:
        """The webhooks of a path, of every tenant."""
        return self._engine.workflows.routes.hooks(path)

    def every(self, tenant: str) -> list[Hook]:
        """The webhooks of a tenant, by path."""
        found = [hook for hook in self._engine.workflows.routes.hooks() if hook.tenant == tenant]
        return sorted(found, key=lambda hook: hook.path)

    def tally(self, hook: Hook | None) -> Counter[str]:
        """How many requests were `accepted`, `duplicate`, `filtered`, or refused, by why, since the engine began; None:
        of those for which there is no webhook."""
        return self._tallies.setdefault((hook.tenant, hook.path), Counter()) if hook is not None else self._unknown

    @staticmethod
    def limit(hooks: Iterable[Hook]) -> int:
        """Bytes of the largest body that one of them takes."""
        return max((body_limit(hook.trigger) for hook in hooks), default=0)

    async def take(self, hooks: Sequence[Hook], request: Request, identity: Identity | None = None) -> Taken | Refusal:
        """Decide about a request to one of these hooks, which have the same path, and start what it starts.

        `identity` is who asks, of whom something was shown but a signature. Raises `Forbidden`, `RateLimited`,
        `StoreUnavailable`, and what else keeps a signal out.
        """
        if identity is not None:
            require(identity, "operate", "send to webhooks")
        refusal: Refusal | None = None
        for hook in hooks:
            found = await self._received(hook, request)
            if not isinstance(found, Refusal):
                return await self._let_in(hook, found, identity)
            refusal = refusal or found
        assert refusal is not None
        # Whose it was to be, nobody knows but the sender: it counts for the first.
        self.refused(hooks[0], refusal)
        return refusal

    def refused(self, hook: Hook | None, refusal: Refusal) -> None:
        """Count a request that is not let in, also among the signals that were refused, which it would have been one
        of. What goes to no webhook is none: anybody tries paths."""
        self.tally(hook)[refusal.why] += 1
        if hook is not None:
            self._engine.bus.admission.tally["authenticate" if refusal.status == 401 else "validate"] += 1

    async def _received(self, hook: Hook, request: Request) -> Accepted | Filtered | Refusal:
        engine = self._engine
        try:
            secret = secret_of(hook.trigger, engine.secrets.get) if hook.signed else ""
        except FleetError as error:
            return self._useless(hook, error)
        given = (hook.trigger, secret, request.headers, request.body, engine.now(), request.query)
        found = receive(*given) if len(request.body) < LARGE_BYTES else await asyncio.to_thread(receive, *given)
        if isinstance(found, Refusal) and found.why == "bad_secret":
            self._useless(hook, FleetError(found.message))
        return found

    def _useless(self, hook: Hook, error: FleetError) -> Refusal:
        key = hook.tenant, hook.path
        if key not in self._told:
            self._told.add(key)
            self._engine.trouble(f"webhook {hook.path} of {hook.workflow}", error)
        return Refusal("bad_secret", "this hook cannot check signatures now", code="INTERNAL")

    async def _let_in(self, hook: Hook, found: Accepted | Filtered, identity: Identity | None) -> Taken:
        engine, tally = self._engine, self.tally(hook)
        self._told.discard((hook.tenant, hook.path))
        id_, now = str(uuid_utils.uuid7()), engine.now()
        if isinstance(found, Filtered):
            tally["filtered"] += 1
            await self._record(hook, id_, now, "skipped", "its `if` does not hold")
            return Taken()
        by = identity.name if identity is not None else ""
        signal = to_signal(found, path=hook.path, id=id_, at=now, tenant=hook.tenant, by=by)
        try:
            publication = await engine.bus.publish(signal, "trigger")
        except StoreUnavailable:
            raise
        except FleetError as error:
            tally[error.code.lower()] += 1
            raise
        stored = publication.signal
        tally["duplicate" if publication.duplicate else "accepted"] += 1
        if publication.duplicate:
            await self._record(hook, id_, now, "duplicate", f"its key was seen before: signal {stored.id}")
        return Taken(signal=stored.id, duplicate=publication.duplicate, runs=await self._runs(stored))

    async def _record(self, hook: Hook, id_: str, now: float, outcome: Outcome, reason: str) -> None:
        """Record a request that was in order and starts nothing."""
        firing = Firing(
            workflow=hook.workflow,
            trigger=hook.id,
            tenant=hook.tenant,
            kind="webhook",
            scheduled=id_,
            due=now,
            at=now,
            outcome=outcome,
            reason=reason,
        )
        await self._engine.store.firings.add(firing)

    async def _runs(self, signal: Signal) -> tuple[str, ...]:
        """The runs that a signal has started. The same request may be being answered elsewhere at this moment."""
        signals, loop = self._engine.store.signals, asyncio.get_running_loop()
        deadline = loop.time() + ROUTED_SECONDS
        while True:
            routed, results = await signals.results(signal.id, signal.tenant)
            if routed or loop.time() > deadline:
                return tuple(each.run for each in results if each.status == "accepted" and each.run)
            await asyncio.sleep(0.02)
