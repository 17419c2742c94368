"""The bus: admit, dedupe, store, route. A signal is stored before anything comes of it, and routed once.

Its effect on a run and its result are one append. A signal that concerns several runs is closed after the last; a
crash in between routes it again, and those that have answered are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

from fleetprompt.engine.core.dead_letter import dead_letter, mourned
from fleetprompt.engine.core.errors import FleetError, RateLimited, StoreUnavailable
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.signal_rules import Rules
from fleetprompt.engine.ports import Publication, Unheard
from fleetprompt.engine.runtime.admission import Admission, Origin
from fleetprompt.engine.runtime.handling import Handler
from fleetprompt.engine.runtime.unstarted import Unstarted

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

AGAIN_SECONDS = 1.0
"""How soon signals are routed that could not be because the store was unavailable."""


class Bus:
    """Routes signals to runs."""

    def __init__(self, engine: Engine, rules: Rules) -> None:
        self._engine = engine
        self.admission = Admission(rules, now=engine.now, redact=engine.secrets.redact_value)
        self.unstarted = Unstarted()
        self._handler = Handler(engine)
        self.heard = -inf
        """All that was recorded up to this time has reached the runs it is for: timers due by then may fire."""
        self._routing: dict[str, asyncio.Future[bool]] = {}
        self._draining = 0
        self._stalled = False
        """Signals are left that could not be routed; a drain will try again."""
        self._backlog: set[str] = set()
        """Signals that a drain routes: those recorded before them have been."""
        self._done: set[str] = set()
        """Signals that were routed since a drain has read its list."""
        self.fresh: set[str] = set()
        """Signals that are being published here: nobody else routes them, and nothing came of them before."""
        self.unwaited: set[str] = set()
        """Those of them for which no step waited when they were stored."""

    # ------------------------------------------------------------ in

    async def publish(self, signal: Signal, origin: Origin = "outside") -> Publication:
        """Admit a signal, store it and route it. Raises what keeps it out: `InvalidInput`, `RateLimited`."""
        try:
            signal = self.admission.admit(signal, origin)
        except RateLimited:
            earlier = await self._earlier(signal)
            self.admission.tally["rate-limit" if earlier is None else "duplicate"] += 1
            if earlier is None:
                raise
            # What is said again takes nobody's place.
            return Publication(signal=earlier, duplicate=True)
        self.fresh.add(signal.id)
        try:
            with self._or_later():
                return await self._publish(signal)
        finally:
            self.fresh.discard(signal.id)
            self.unwaited.discard(signal.id)

    async def _publish(self, signal: Signal) -> Publication:
        unheard = self.unstarted.look(self._engine.workflows.routes, signal, self._engine.now())
        publication = await self.store(signal, unheard=unheard)
        if unheard is not None and not publication.routed:
            self.unstarted.forget(unheard.firings)
        self.admission.tally["duplicate" if publication.duplicate else "accepted"] += 1
        if not publication.waited:
            self.unwaited.add(signal.id)
        if publication.duplicate:
            # A drain that came by meanwhile took the earlier one for the one that is published here.
            self._drain_later()
        elif not publication.routed:
            await self.route(publication.signal)
        return publication

    async def _earlier(self, signal: Signal) -> Signal | None:
        signals = self._engine.store.signals
        found = await signals.get(signal.id, signal.tenant)
        if found is None and signal.key:
            found = await signals.of_key(signal.key, signal.tenant)
        return found if found is not None and found.tenant == signal.tenant else None

    async def submit(self, signal: Signal) -> Result:
        """Carry out a command sent by this process, and answer when it is durable."""
        with self._or_later():
            return await self._submit(signal)

    async def _submit(self, signal: Signal) -> Result:
        if not signal.key:
            try:
                return await self._handler.handle(signal, received=True)
            finally:
                self._engine.feed.mark(signals=True)
        signals = self._engine.store.signals
        publication = await self.store(signal)
        signal = publication.signal
        routed, results = await signals.results(signal.id) if publication.duplicate else (False, [])
        if not routed:
            await self.route(signal)
            routed, results = await signals.results(signal.id)
        reason = "" if routed else "queued"
        return results[0] if results else Result(signal=signal.id, status="accepted", reason=reason)

    @contextmanager
    def _or_later(self) -> Generator[None]:
        """Something is done about a signal for somebody who may be called off, or told that the store is unavailable:
        it may be there all the same, and whoever sent it may not come back."""
        try:
            yield
        except (StoreUnavailable, asyncio.CancelledError):
            self._drain_later()
            raise

    async def store(self, signal: Signal, *, unheard: Unheard | None = None) -> Publication:
        """Put a signal into the store. Raises `StoreUnavailable`, and what the store refuses."""
        with self._or_later():
            publication = await self._engine.store.signals.publish(signal, unheard=unheard)
            self._engine.feed.mark(signals=True)
            return publication

    def notice(self, signals: tuple[Signal, ...], routed: tuple[str, ...]) -> None:
        """Signals that runs have sent, durable now."""
        for signal in signals:
            if signal.id not in routed:
                self._engine.spawn(self._route_sent(signal))

    async def _route_sent(self, signal: Signal) -> None:
        # The store keeps the first signal with a key only: this one may not be there.
        get = self._engine.store.signals.get
        if not signal.key or await self._engine.patient(f"signal {signal.id}", lambda: get(signal.id)) is not None:
            await self.route(signal)

    async def drain(self) -> tuple[str, ...]:
        """Route what other processes have published, and what was left when an engine died; their ids in order."""
        engine, seen = self._engine, dict[str, None]()
        complete = True
        self._draining += 1
        try:
            while True:
                before = engine.now()
                fresh = [s for s in await engine.store.signals.unrouted() if s.id not in seen]
                if not fresh:
                    break
                for signal in fresh:
                    seen[signal.id] = None
                    if signal.id in self._routing or not (signal.id in self._done or signal.id in self.fresh):
                        self._backlog.add(signal.id)
                        complete &= await self.route(signal)
                        self._backlog.discard(signal.id)
            if complete:
                self.heard = max(self.heard, before)
        finally:
            self._draining -= 1
            if not self._draining:
                self._done.clear()
        return tuple(seen)

    async def catch_up(self, at: float) -> None:
        """Until all that was recorded up to a time has reached the runs it is for, however long the store is away."""
        while self.heard < at:
            try:
                await self._engine.patient("signals", self.drain)
            except FleetError as error:
                self._engine.trouble("signals", error)
            if self.heard < at:
                await asyncio.sleep(AGAIN_SECONDS)

    async def route(self, signal: Signal) -> bool:
        """Route one stored signal, or wait until that has been done. False: the store fails, and it is done later."""
        running = self._routing.get(signal.id)
        if running is not None:
            return await asyncio.shield(running)
        done = self._routing[signal.id] = asyncio.get_running_loop().create_future()
        routed = False
        try:
            await self._route(signal)
            routed = True
            if self._draining:
                self._done.add(signal.id)
        except StoreUnavailable as error:
            self._engine.trouble(f"routing of signal {signal.id}", error)
            self._drain_later()
        except asyncio.CancelledError:
            # Whoever else waits for it is told that it is done later.
            self._drain_later()
            raise
        finally:
            del self._routing[signal.id]
            done.set_result(routed)
            self._engine.feed.mark(signals=True)
        return routed

    def in_backlog(self, signal: Signal) -> bool:
        """Whether a drain routes it just now, in the order in which it was recorded."""
        return signal.id in self._backlog

    def _drain_later(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._engine.later(AGAIN_SECONDS, lambda: self._engine.spawn(self._drain_again()))

    async def _drain_again(self) -> None:
        self._stalled = False
        await self._engine.patient("signals", self.drain)

    async def _route(self, signal: Signal) -> None:
        try:
            await self._handler.handle(signal, received=False)
        except StoreUnavailable:
            raise
        except Exception as error:
            # Whatever is wrong with one signal, the others behind it are routed.
            if not isinstance(error, FleetError):
                self._engine.trouble(f"routing of signal {signal.id}", error)
            reason = error.message if isinstance(error, FleetError) else f"{type(error).__name__}: {error}"
            code = error.code if isinstance(error, FleetError) else "INTERNAL"
            refused = Result(signal.id, "refused", reason=reason)
            nowhere = dead_letter(signal, "workflow", "", code=code, reason=reason, at=self._engine.now())
            dead = (nowhere,) if mourned(signal) else ()
            await self._engine.store.signals.close(signal.id, (refused,), dead=dead)
