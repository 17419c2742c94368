"""Step pools: how many effects of a kind this process performs at a time. Higher priority first, then age."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush


class Pool:
    """A number of places."""

    __slots__ = ("_count", "_queue", "capacity", "in_use", "name")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.in_use = 0
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many effects wait for a place."""
        return sum(1 for *_, future in self._queue if not future.done())

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

    def give(self) -> None:
        """Give a place back: to the next in the queue if there is one."""
        while self._queue:
            future = heappop(self._queue)[2]
            if not future.done():
                future.set_result(None)
                return
        self.in_use -= 1
