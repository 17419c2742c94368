"""The memory store as a disk would behave: slow, sometimes unavailable, and a place where the power can go.

Appends are gathered and made durable together a moment later, in order, as group commit does. Every durable write has
a number; the world may die just before or just after any of them. What is read may be stale by the time it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.ports import Append, Appended
from fleetprompt.engine.store.memory import MemoryJournal, MemoryStore
from fleetprompt.engine.store.memory_state import State

if TYPE_CHECKING:
    from world import World

Then = Callable[[Appended | Exception], None]
PARTS = ("runs", "signals", "approvals", "catalog", "blobs", "claims", "firings")
WRITES = {"publish", "close", "put", "set_workflow", "record", "add", "forget"}


class SimStore(MemoryStore):
    """One incarnation's connection to the world's disk."""

    def __init__(self, world: World, state: State) -> None:
        self.world = world
        super().__init__()
        self.journal = SimJournal(world, state)
        self._wire(state, self._zone, self._log_cap)

    def _wire(self, state: State, zone: Any, log_cap: int) -> None:
        super()._wire(state, zone, log_cap)
        for name in PARTS:
            setattr(self, name, Door(self.world, name, getattr(self, name)))


class Door:
    """A part of the store behind the world's disturbances."""

    def __init__(self, world: World, part: str, inner: Any) -> None:
        self._world = world
        self._part = part
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        world, what = self._world, f"{self._part}.{name}"

        async def call(*args: Any, **options: Any) -> Any:
            return await world.through(what, lambda: method(*args, **options), writes=name in WRITES)

        return call


class SimJournal(MemoryJournal):
    """Appends become durable a moment later, several together."""

    def __init__(self, world: World, state: State) -> None:
        super().__init__(state, None)
        self._world = world
        self._queue: list[tuple[Append, Then]] = []

    def post(self, entry: Append, then: Then) -> None:
        if self.closed:
            super().post(entry, then)
            return
        if not self._queue:
            asyncio.get_running_loop().call_later(self._world.commit_time(), self._commit)
        self._queue.append((entry, then))

    def _commit(self) -> None:
        loop, world = asyncio.get_running_loop(), self._world
        queue, self._queue = self._queue, []
        for entry, then in queue:
            if not world.point(f"append {entry.run[:8]} {_named(entry)}", after=False):
                return
            try:
                fault = world.append_fault(entry)
                if fault is not None:
                    raise fault
                appended = self._apply(entry)
            except FleetError as error:
                loop.call_soon(then, error)
                continue
            world.appended(entry)
            if not world.point("appended", after=True):
                return
            loop.call_soon(then, world.late_fault("append") or appended)

    async def facts(self, run: str, **which: Any) -> Any:
        read = super().facts
        return await self._world.through("journal.facts", lambda: read(run, **which))

    async def histories(self, runs: Any) -> Any:
        read = super().histories
        return await self._world.through("journal.histories", lambda: read(runs))

    async def since(self, seq: int, limit: int = 1000, **which: Any) -> Any:
        read = super().since
        return await self._world.through("journal.since", lambda: read(seq, limit, **which))


def _named(entry: Append) -> str:
    return " ".join(f"{type(fact).__name__}:{getattr(fact, 'path', '')}" for fact in entry.facts)
