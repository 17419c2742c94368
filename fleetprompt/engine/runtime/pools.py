"""Step pools: how many effects of a kind this process performs at a time. Higher priority first, then age."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.driver import Driver


class Pool:
    """A number of places."""

    __slots__ = ("_count", "_enlisted", "_queue", "capacity", "in_use", "name")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.in_use = 0
        self._queue: list[tuple[int, int, asyncio.Future[None] | Driver]] = []
        self._enlisted: set[Driver] = set()
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many effects, and runs with effects to start, wait for a place."""
        return len(self._enlisted) + sum(isinstance(who, asyncio.Future) and not who.done() for *_, who in self._queue)

    def try_take(self) -> bool:
        """Take a place if one is free."""
        if self.in_use < self.capacity:
            self.in_use += 1
            return True
        return False

    async def take(self, priority: int) -> None:
        """Wait for a place."""
        if self.try_take():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heappush(self._queue, (-priority, self._count, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give()
            raise

    def enlist(self, driver: Driver, priority: int) -> None:
        """Wake a run when a place is free, so that it may start an effect."""
        if driver not in self._enlisted:
            self._enlisted.add(driver)
            self._count += 1
            heappush(self._queue, (-priority, self._count, driver))

    def give(self) -> None:
        """Give a place back, and offer what is free to who waits."""
        self.in_use -= 1
        while self._queue and self.in_use < self.capacity:
            who = heappop(self._queue)[2]
            if not isinstance(who, asyncio.Future):
                self._enlisted.discard(who)
                who.wake()
            elif not who.done():
                self.in_use += 1
                who.set_result(None)
