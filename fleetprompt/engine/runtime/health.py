"""How the engine is, in figures that cost next to nothing to gather."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import StoreLost, StoreUnavailable
from fleetprompt.engine.ports import EngineHealth, PoolHealth, Store, StoreHealth, Trouble

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LATELY = 20
"""Looks of the poller that lag is told of: ten seconds."""
WRITES_SECONDS = 0.5
"""Seconds after which it is not waited for any more whether the store is still the one that was opened."""
LOST_SECONDS = 5.0
"""The same of a store that cannot be read."""
MOST_GROUPS = 50
MOST_SIGNALS = 1_000


class Vitals:
    """What is known of an engine while it lives."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._time = asyncio.get_running_loop().time
        self._opened = self._time()
        self._late: deque[float] = deque(maxlen=LATELY)
        self.what = "fleet"
        """What the process is, for people."""

    def was_late(self, seconds: float) -> None:
        """A timer came so much later than it was set for."""
        self._late.append(max(0.0, seconds))

    @property
    def lag(self) -> float:
        """Seconds: the longest of these lately."""
        return max(self._late, default=0.0)

    async def health(self, tenant: str = "default") -> EngineHealth:
        """The engine in figures, with the runs of a tenant that are held. Where the store cannot be read, its
        part says nothing but where it is."""
        engine = self._engine
        store = await store_health(engine.store)
        drivers = engine.live.values()
        return EngineHealth(
            state="running",
            store=store,
            pid=os.getpid(),
            what=self.what,
            host=engine.host,
            at=engine.now(),
            uptime=self._time() - self._opened,
            fires=engine.fires,
            closing=engine.draining,
            live_runs=len(drivers),
            effects=sum(len(driver.tasks) for driver in drivers),
            timers=engine.timers.waiting,
            waiting_for_slots=engine.slots.waiting,
            pools={name: PoolHealth(pool.capacity, pool.in_use, pool.waiting) for name, pool in engine.pools.items()},
            groups=tuple(engine.slots.groups(MOST_GROUPS)),
            commits=engine.store.journal.commits,
            facts=engine.feed.facts,
            appending=sum(driver.appending for driver in drivers),
            readers=engine.feed.readers,
            lag=self.lag,
            troubles=tuple(Trouble(*trouble) for trouble in engine.troubles),
            holds=engine.holds_of(tenant),
            unsent=dict(engine.unsent),
        )


async def store_health(store: Store) -> StoreHealth:
    """The store in figures; while it cannot be read, where it is and why."""
    try:
        # It is asked for in between what is written, which may wait for another process: reading does not.
        await _require_same(store, WRITES_SECONDS)
        data, log = await store.size()
        position = await store.journal.position()
        unrouted = await store.signals.backlog(MOST_SIGNALS)
    except StoreUnavailable as error:
        return _unreadable(store, error if isinstance(error, StoreLost) else await _why(store, error))
    return StoreHealth(store.where, data, log, position, unrouted)


async def _require_same(store: Store, seconds: float) -> None:
    """Raises `StoreLost` where it is not the store any more that was opened, if that is known so soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await store.changed(0)


async def _why(store: Store, error: StoreUnavailable) -> StoreUnavailable:
    """What is to be said of a store that cannot be read: that it is lost, if that was not known soon enough before."""
    try:
        await _require_same(store, LOST_SECONDS)
    except StoreUnavailable as found:
        return found
    return error


def _unreadable(store: Store, error: StoreUnavailable) -> StoreHealth:
    return StoreHealth(store.where, error=error.message, hint=error.hint, lost=isinstance(error, StoreLost))
