"""What agents remember, in the store in memory."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Sequence

from msgspec.structs import replace

from fleetprompt.engine.ports.memory import MOST, Memory, Vector, Which
from fleetprompt.engine.store.memories import full, said, sameness
from fleetprompt.engine.store.memory_state import State
from fleetprompt.engine.store.vectors import nearest, packed
from fleetprompt.engine.store.words import ranked, wanted


class MemoryMemories:
    """See `ports.memory.Memories`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, memory: Memory, vector: Vector | None = None, *, most: int = MOST) -> tuple[Memory, bool]:
        """What is kept, and whether it is new. Raises `Refused`."""
        expire(self._state, memory.created_at, memory.tenant)
        there = self._same(memory)
        if there is not None:
            return there, False
        self._make_room(memory, most)
        state, data = self._state, packed(vector.numbers) if vector is not None else b""
        state.memory_seq += 1
        kept = replace(memory, seq=state.memory_seq, model=vector.model if vector is not None and data else "")
        state.memories[(memory.tenant, memory.id)] = kept
        if data:
            state.vectors[kept.seq] = data
        return kept, True

    def _same(self, memory: Memory) -> Memory | None:
        known = self._state.memories.get((memory.tenant, memory.id))
        if known is not None:
            return known
        alike = (each for each in self._of(memory.tenant) if each.scope == memory.scope)
        return next((each for each in alike if sameness(each) == sameness(memory)), None)

    def _of(self, tenant: str) -> builtins.list[Memory]:
        return [memory for memory in self._state.memories.values() if memory.tenant == tenant]

    def _make_room(self, memory: Memory, most: int) -> None:
        held = [each for each in self._of(memory.tenant) if each.scope == memory.scope]
        if len(held) < most:
            return
        old = [each for each in held if each.type == "conversation"]
        if memory.type != "conversation" or not old:
            raise full(memory, most)
        drop(self._state, min(old, key=lambda each: each.seq))

    async def get(self, id: str, tenant: str = "default") -> Memory | None:
        """One of them."""
        return self._state.memories.get((tenant, id))

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        """Ids that equal, begin or end with a text."""
        ids = [each.id for each in self._of(tenant) if text and (each.id.startswith(text) or each.id.endswith(text))]
        return sorted(sorted(ids, reverse=True), key=lambda id: id != text)[:10]

    async def list(self, which: Which, *, limit: int = 100, before: int = 0) -> builtins.list[Memory]:
        """The newest first."""
        found = [each for each in self._meant(which) if not before or each.seq < before]
        return sorted(found, key=lambda each: -each.seq)[:limit]

    def _meant(self, which: Which) -> builtins.list[Memory]:
        return [
            each
            for each in self._of(which.tenant)
            if (each.expires_at is None or each.expires_at > which.at)
            and which.scope in ("", each.scope)
            and which.type in ("", each.type)
            and (not which.tag or which.tag in each.tags)
        ]

    async def search(self, text: str, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """By words, the best first."""
        known = {each.seq: each for each in self._meant(which)}
        order = ranked(wanted(text), {seq: said(each) for seq, each in known.items()})
        return [known[seq] for seq in order[:limit]]

    async def near(self, vector: Vector, which: Which, *, limit: int = 10) -> builtins.list[Memory]:
        """By their vectors, the nearest first."""
        known = {each.seq: each for each in self._meant(which) if each.model == vector.model}
        rows = [(seq, self._state.vectors[seq]) for seq in known]
        order = await asyncio.to_thread(nearest, vector.numbers, rows, limit)
        return [known[seq] for seq in order]

    async def touch(self, ids: Sequence[str], at: float, tenant: str = "default") -> None:
        """Count that an agent was given them."""
        for id in ids:
            known = self._state.memories.get((tenant, id))
            if known is not None:
                changed = replace(known, accessed_at=at, accesses=known.accesses + 1)
                self._state.memories[(tenant, id)] = changed

    async def forget(self, ids: Sequence[str], tenant: str = "default") -> int:
        """How many there were."""
        found = [known for id in dict.fromkeys(ids) if (known := self._state.memories.get((tenant, id))) is not None]
        for memory in found:
            drop(self._state, memory)
        return len(found)


def expire(state: State, at: float, tenant: str) -> None:
    """Delete those whose time is over."""
    for memory in [*state.memories.values()]:
        if memory.tenant == tenant and memory.expires_at is not None and memory.expires_at <= at:
            drop(state, memory)


def prune(state: State, before: float, tenant: str) -> None:
    """Delete conversations that nobody was given since a time, and what had expired by then."""
    expire(state, before, tenant)
    for memory in [*state.memories.values()]:
        if memory.tenant == tenant and memory.type == "conversation" and memory.accessed_at < before:
            drop(state, memory)


def drop(state: State, memory: Memory) -> None:
    """Delete one."""
    del state.memories[(memory.tenant, memory.id)]
    state.vectors.pop(memory.seq, None)
