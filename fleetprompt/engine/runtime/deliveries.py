"""Deliveries: one task that sleeps until something is due, leases it, and tries it beside everything else.

Each subscription has its own places, so a receiver that is slow keeps nobody waiting but itself, and never the
engine. What an attempt came to is stored with its dead letter; what an engine that died held is given back by the
next one.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING

import uuid_utils

from fleetprompt.engine.core.delivery import GONE, Answered, Delivery, Subscription, Subscriptions, after
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.runtime.posting import Posting
from fleetprompt.engine.tools._hosts import Resolve, system_resolve

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LONGEST_SLEEP = 60.0
"""The clock may be set, and another process may have made some: look at least this often."""
AGAIN_SECONDS = 1.0
"""How soon it is tried again where the store was unavailable."""
LEASE_SECONDS = 30.0
"""By how much a lease is longer than the longest attempt."""


class Deliverer:
    """Brings signals to those who subscribe to them."""

    def __init__(self, engine: Engine, subscriptions: Subscriptions) -> None:
        self.subscriptions = subscriptions
        self._engine = engine
        self._posting = Posting(engine.secrets.get, engine.now, system_resolve)
        self._lease = f"{engine.host}/{os.getpid()}/{uuid_utils.uuid7()}"
        self._under_way: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        """There is nothing to be done at this moment."""
        self._ending = False

    def resolve_by(self, resolve: Resolve) -> None:
        """Ask this for the addresses of hosts, and not the system."""
        self._posting = Posting(self._engine.secrets.get, self._engine.now, resolve)

    def look(self) -> None:
        """There may be something new."""
        self._idle.clear()
        self._changed.set()

    async def live(self) -> None:
        """Deliver what is due, until the engine closes."""
        engine = self._engine
        await engine.patient("deliveries", self._take_back)
        while not self._ending:
            self._changed.clear()
            try:
                pause = await self._round()
            except Exception as error:
                # Whatever is wrong with one, the others are delivered; it is told again each time.
                engine.trouble("deliveries", error)
                pause = AGAIN_SECONDS if isinstance(error, StoreUnavailable) else LONGEST_SLEEP
            if pause > 0 and not self._under_way.total():
                self._idle.set()
            try:
                async with asyncio.timeout(max(0.0, pause)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def finish(self, seconds: float) -> None:
        """Let what is due and what is under way come to its end, for so many seconds at most; then begin nothing more.
        What is cut off is tried again by the next engine, under the same id."""
        if self.subscriptions and not self._ending:
            self.look()
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass
        self._ending = True
        self._changed.set()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)

    async def _take_back(self) -> None:
        """Give back what processes hold that are no more."""
        store = self._engine.store.deliveries
        lost = [lease for lease in await store.leases() if self._is_lost(lease)]
        if lost:
            await store.release(lost)

    def _is_lost(self, lease: str) -> bool:
        host, pid, _ = lease.rsplit("/", 2)
        if lease == self._lease or host != self._engine.host:
            return False
        return int(pid) == os.getpid() or not _runs(int(pid))

    async def _round(self) -> float:
        """Begin what is due and has a place; seconds until there is more to do."""
        engine = self._engine
        due = await engine.store.deliveries.due()
        now = engine.now()
        pause = LONGEST_SLEEP
        for (tenant, name), first in due.items():
            subscription = self.subscriptions.get(name, tenant)
            if subscription is None:
                continue
            free = subscription.settings.concurrency - self._under_way[name]
            if free <= 0:
                # Whoever comes back looks again.
                continue
            if first > now:
                pause = min(pause, first - now)
                continue
            begun = await self._begin(subscription, free, now)
            pause = 0.0 if begun == free else pause
        return pause

    async def _begin(self, subscription: Subscription, free: int, now: float) -> int:
        settings = subscription.settings
        leased = await self._engine.store.deliveries.lease(
            subscription.name,
            lease=self._lease,
            now=now,
            until=now + settings.timeout + LEASE_SECONDS,
            most=free,
            tenant=settings.tenant,
        )
        for delivery, signal in leased:
            self._under_way[subscription.name] += 1
            task = asyncio.get_running_loop().create_task(self._try(subscription, delivery, signal))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(leased)

    async def _try(self, subscription: Subscription, delivery: Delivery, signal: Signal) -> None:
        engine = self._engine
        try:
            answered = await self._attempt(subscription, delivery, signal)
            tried = after(delivery, answered, subscription.settings, engine.now())
            gone = tried.http == GONE
            store = engine.store.deliveries
            where = f"delivery {delivery.id}"
            await engine.patient(where, lambda: store.settle(tried, lease=self._lease, gone=gone))
            if tried.status == "dead":
                said = FleetError(
                    f"{delivery.type} could not be delivered: {tried.reason}", hint="`fleet signals dead`"
                )
                engine.trouble(f"subscription {subscription.name}", said)
            engine.feed.mark(signals=True)
        except Exception as error:
            # Nobody waits for this task: what it could not store is tried again once its lease is over.
            engine.trouble(f"delivery {delivery.id}", error)
        finally:
            self._under_way[subscription.name] -= 1
            self.look()

    async def _attempt(self, subscription: Subscription, delivery: Delivery, signal: Signal) -> Answered:
        """What comes of an attempt. One that goes wrong here is one that has failed: it counts, and is told of."""
        try:
            return await self._posting.post(delivery, signal, subscription.settings)
        except Exception as error:
            return Answered(reason=self._engine.trouble(f"subscription {subscription.name}", error))


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
