"""Schedules: one task that sleeps until the next time, decides what becomes of it, and records that with its signal.

What is recorded is all there is: an engine that dies in between finds it, or decides again and comes to the same. Of
several engines each does this; of those that decide about the same time one is told that it was, and looks anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput, Refused, StoreUnavailable
from fleetprompt.engine.core.firing import (
    After,
    Firing,
    Schedule,
    Standing,
    by_hand,
    cancel_of,
    decide,
    fire_now,
    resumed,
    schedules_of,
    signal_of,
)
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.watching import Watch
from fleetprompt.engine.ports import Conflict
from fleetprompt.engine.triggers.schedule import local_minute, times_of

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LONGEST_SLEEP = 60.0
"""The clock may be set, and a machine may sleep: look at the time at least this often."""
AGAIN_SECONDS = 1.0
"""How soon it is tried again where the store was unavailable."""
AT_ONCE = 32
"""Schedules that are decided about side by side; what they record shares transactions."""
Key = tuple[str, str, str]
"""Tenant, workflow, trigger."""


class Kept:
    """A schedule that this engine looks after."""

    __slots__ = ("active", "after", "schedule", "standing", "wake")

    def __init__(self, schedule: Schedule, after: After, active: float, standing: Standing | None) -> None:
        self.schedule = schedule
        self.after = after
        self.active = active
        """Since when its workflow is active."""
        self.standing = standing
        """How far it has come; None: it has to be asked for."""
        self.wake = -inf
        """When there is something to decide."""


class Schedules:
    """What makes schedules start runs, and what people ask of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[Key, Kept] = {}
        self._stale = True
        """Workflows, or how far schedules have come, may have changed."""
        self._changed = asyncio.Event()
        self._broken: set[tuple[Key, str]] = set()
        """Schedules that cannot be read, and their rhythm: told once."""

    def look(self) -> None:
        """Something has changed that schedules depend on."""
        self._stale = True
        self._changed.set()

    @property
    def next(self) -> float | None:
        """When there is something to do next; None: never, as far as is known."""
        return min((kept.wake for kept in self._kept.values() if kept.wake < inf), default=None)

    # ------------------------------------------------------------ by the clock

    async def live(self) -> None:
        """Fire what is due, until the engine closes."""
        engine = self._engine
        while not engine.draining:
            try:
                await self._round()
                wake = self.next
                pause = min(max(0.0, wake - engine.now()), LONGEST_SLEEP) if wake is not None else LONGEST_SLEEP
            except Exception as error:
                engine.trouble("schedules", error)
                self._stale = True
                pause = AGAIN_SECONDS if isinstance(error, StoreUnavailable) else LONGEST_SLEEP
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _round(self) -> None:
        self._changed.clear()
        if self._stale:
            self._stale = False
            await self._refresh()
        now = self._engine.now()
        due = [kept for kept in self._kept.values() if kept.wake <= now]
        for start in range(0, len(due), AT_ONCE):
            if self._engine.draining:
                return
            found = await asyncio.gather(*map(self._decide, due[start : start + AT_ONCE]), return_exceptions=True)
            for kept, error in zip(due[start:], found, strict=False):
                self._tell(kept, error)

    def _tell(self, kept: Kept, error: BaseException | None) -> None:
        """Whatever is wrong with one schedule, the others go on."""
        if error is None:
            return
        if isinstance(error, StoreUnavailable) or not isinstance(error, Exception):
            raise error
        self._engine.trouble(f"schedule {kept.schedule.name}", error)
        kept.wake = self._engine.now() + LONGEST_SLEEP

    async def _decide(self, kept: Kept) -> None:
        """Decide about one schedule, as often as others are faster."""
        engine, schedule, store = self._engine, kept.schedule, self._engine.store.firings
        names = (schedule.workflow, schedule.trigger, schedule.tenant)
        while True:
            standing = kept.standing
            if standing is None:
                standing = kept.standing = await store.standing(*names)
                if standing is None:
                    # It is gone: whoever took it away has reason to look anew.
                    kept.wake = inf
                    self.look()
                    return
            now = engine.now()
            decision = decide(schedule, standing, now, kept.after, active=kept.active)
            if decision.firings and schedule.overlap != "allow":
                going = await store.going(*names)
                decision = decide(schedule, standing, now, kept.after, going=going, active=kept.active)
            kept.wake = decision.wake if decision.wake is not None else inf
            if not decision.firings:
                return
            signals = [(firing, _signal(schedule, firing)) for firing in decision.firings]
            cancels = [cancel_of(schedule, run, now) for run in decision.cancels]
            further = replace(standing, n=standing.n + 1, upto=decision.upto)
            try:
                stored = await store.record(further, signals, cancels)
            except Conflict:
                kept.standing = None
                continue
            kept.standing = further
            self._sent(stored, signals, cancels)
            return

    def _sent(
        self, stored: Sequence[Firing], signals: Iterable[tuple[Firing, Signal | None]], others: Iterable[Signal] = ()
    ) -> None:
        """What was recorded is durable: route it, those first that make room."""
        sent = {firing.signal for firing in stored if firing.signal}
        mine = [signal for _, signal in signals if signal is not None and signal.id in sent]
        self._engine.bus.notice((*others, *mine), ())
        self._engine.feed.mark(signals=True, workflows=True)

    # ------------------------------------------------------------ which there are

    async def _refresh(self) -> None:
        """Look after the schedules that there are now, from now on where they are new."""
        engine, store = self._engine, self._engine.store.firings
        since = {(each.tenant, each.name): each.active_since for each in engine.workflows.known}
        found = [each for active in engine.workflows.active for each in schedules_of(active.plan, active.tenant)]
        # The first calendar takes a tenth of a second to import.
        calendars = await asyncio.to_thread(_calendars, found)
        standings = {_key(each): each for each in await store.standings()}
        kept: dict[Key, Kept] = {}
        for schedule, after in zip(found, calendars, strict=True):
            key = _key(schedule)
            if isinstance(after, FleetError):
                self._tell_broken(key, schedule, after)
            else:
                kept[key] = Kept(schedule, after, since.get(key[:2], 0.0), standings.get(key))
        await asyncio.gather(*map(self._begin, kept.values()))
        await self._forget(standings, kept)
        self._kept = kept

    async def _begin(self, kept: Kept) -> None:
        """Begin now with a schedule that is new, or that comes at other times than before."""
        standing = kept.standing
        if standing is not None and standing.rhythm == kept.schedule.rhythm:
            return
        begun = _begun(kept.schedule, standing, self._engine.now())
        try:
            await self._engine.store.firings.record(begun)
        except Conflict:
            kept.standing = None
        else:
            kept.standing = begun

    async def _forget(self, standings: dict[Key, Standing], kept: dict[Key, Kept]) -> None:
        """Forget schedules that are in no file any more, so that one that comes back begins anew. Those of workflows
        that are not active now stay, and so do those that people have paused."""
        engine = self._engine
        active = {(each.tenant, each.plan.name) for each in engine.workflows.active}
        broken, watches = {key for key, _ in self._broken}, engine.watches.keys
        for key, standing in standings.items():
            if key not in kept and key[:2] in active and key not in broken | watches and not standing.paused:
                await engine.store.firings.forget(standing.workflow, standing.trigger, standing.tenant)

    def _tell_broken(self, key: Key, schedule: Schedule, error: FleetError) -> None:
        if (key, schedule.rhythm) not in self._broken:
            self._broken.add((key, schedule.rhythm))
            self._engine.trouble(f"schedule {schedule.name}", error)

    # ------------------------------------------------------------ by hand

    async def fire(self, signal: Signal) -> dict[str, Any]:
        """Start a run of a schedule now, as a signal asks for; its id. Raises `NotFound`, `Refused`."""
        engine, store = self._engine, self._engine.store.firings
        schedule = await self._asked(signal)
        names = (schedule.workflow, schedule.trigger, schedule.tenant)
        while True:
            known = await store.get(*names, scheduled=by_hand(signal.id))
            if known is not None:
                # It was done, and the engine died before it could say so.
                return _answer(known)
            standing = await store.standing(*names)
            now = engine.now()
            going = await store.going(*names)
            firing = fire_now(schedule, now, by=signal.by, command=signal.id, going=going)
            local = local_minute(now, schedule.timezone)
            sent = _signal(schedule, firing, local=local, command=signal.id)
            replaces = schedule.overlap == "cancel_running" and firing.outcome == "fired"
            cancels = [cancel_of(schedule, run, now) for run in going] if replaces else []
            further = _further(standing) if standing is not None else _begun(schedule, None, now)
            try:
                stored = await store.record(further, [(firing, sent)], cancels)
            except Conflict:
                continue
            self._sent(stored, [(firing, sent)], cancels)
            self.look()
            return _answer(stored[0] if stored else firing)

    async def set(self, signal: Signal) -> dict[str, Any]:
        """Pause a schedule or a file watch, or let it go on, as a signal asks. Raises `NotFound`, `InvalidInput`."""
        engine, store, data = self._engine, self._engine.store.firings, mapping(signal.data)
        state = str(data.get("state"))
        if state not in ("paused", "active"):
            raise InvalidInput(f"a schedule is paused or active, not {state!r}")
        _, schedule = await engine.workflows.rhythmic(*_named(signal))
        while True:
            standing = await store.standing(schedule.workflow, schedule.trigger, schedule.tenant)
            now = engine.now()
            if standing is None or standing.rhythm != schedule.rhythm:
                standing = _begun(schedule, standing, now)
                further = standing
            elif standing.paused == (state == "paused"):
                return {"changed": False}
            else:
                further = _further(standing)
            gone = await self._let_go(schedule, standing, now) if state == "active" else None
            further = replace(
                further,
                paused=state == "paused",
                upto=max(now, further.upto) if state == "active" else further.upto,
                changed_at=now,
                by=signal.by,
                reason=str(data.get("reason") or "")[:1000],
            )
            try:
                await store.record(further, [(gone, None)] if gone is not None else [])
            except Conflict:
                continue
            engine.feed.mark(signals=True, workflows=True)
            self.look()
            return {"changed": True}

    async def _let_go(self, schedule: Schedule | Watch, standing: Standing, now: float) -> Firing | None:
        if not isinstance(schedule, Schedule):
            return None  # What a watch lets go by is recorded file by file.
        after = await asyncio.to_thread(times_of, schedule)
        return resumed(schedule, standing, now, after)

    async def _asked(self, signal: Signal) -> Schedule:
        """The schedule that is to fire, of a workflow that can be started."""
        known, schedule = await self._engine.workflows.rhythmic(*_named(signal))
        if not isinstance(schedule, Schedule):
            raise Refused(f"{schedule.name} watches files: it starts a run when one changes", hint="fleet run")
        if known.status != "active":
            raise Refused(f"workflow `{known.name}` is {known.status}", hint=f"fleet workflows activate {known.name}")
        return schedule


def _named(signal: Signal) -> tuple[str, str, str]:
    """The workflow and the trigger that a command is about, and their tenant."""
    data = mapping(signal.data)
    return str(data.get("workflow")), str(data.get("trigger")), signal.tenant


def _key(of: Schedule | Standing) -> Key:
    return of.tenant, of.workflow, of.trigger


def _calendars(schedules: Sequence[Schedule]) -> list[After | FleetError]:
    """How to find the times of each; what is wrong with those that cannot be read."""
    found: list[After | FleetError] = []
    for schedule in schedules:
        try:
            found.append(times_of(schedule))
        except FleetError as error:
            found.append(error)
    return found


def _begun(schedule: Schedule | Watch, standing: Standing | None, now: float) -> Standing:
    """A schedule that comes at these times, or a watch of these files, from now on; one that was paused stays so."""
    fresh = Standing(workflow=schedule.workflow, trigger=schedule.trigger, tenant=schedule.tenant)
    return replace(_further(standing or fresh), rhythm=schedule.rhythm, since=now, upto=now)


def _further(standing: Standing) -> Standing:
    return replace(standing, n=standing.n + 1)


def _signal(schedule: Schedule, firing: Firing, *, local: str = "", command: str = "") -> Signal | None:
    return signal_of(schedule, firing, local=local, command=command) if firing.outcome == "fired" else None


def _answer(firing: Firing) -> dict[str, Any]:
    """What is said of a firing that was asked for. Raises `Refused` for one that was skipped."""
    if firing.outcome != "fired":
        raise Refused(firing.reason, hint="it has to end first; `overlap: allow` lets another run begin beside it")
    return {"run": firing.run, "signal": firing.signal}
