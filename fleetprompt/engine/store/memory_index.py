"""The part of the memory store's run list that a console asks; see `run_index.py`."""

from __future__ import annotations

import builtins
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from itertools import islice
from typing import Any

from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.engine.core.query_values import fold
from fleetprompt.engine.ports import Order, RunHead
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.live_values import NEWEST, held, most_frequent, wanted
from fleetprompt.engine.store.memory_state import State

_KEYS: dict[str, Callable[[RunHead], Any]] = {
    "created": lambda head: head.created_at,
    "updated": lambda head: head.updated_at,
    "status": lambda head: head.status,
    "workflow": lambda head: fold(head.workflow),
    "cost": lambda head: head.cost_nano,
    "tokens": lambda head: head.tokens,
}


class MemoryIndex:
    """Every number in some order, rows by number, counts, values."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def index(self, query: Query, order: Order, *, now: float, tenant: str = "default") -> array[int]:
        return array("q", [head.seq for head in _in_order(self._found(query, now, tenant), order, now)])

    async def heads(self, seqs: Sequence[int], *, tenant: str = "default") -> builtins.list[RunHead | None]:
        return [self._head(seq, tenant) for seq in seqs]

    async def matching(
        self, ids: Sequence[str], query: Query, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[RunHead, bool]]:
        holds = matcher(query.require(), now, self._zone)
        heads = (self._state.runs.get(id_) for id_ in ids)
        return [(head, holds(projection.run_row(head))) for head in heads if head is not None and head.tenant == tenant]

    async def tally(self, query: Query, *, now: float, tenant: str = "default") -> dict[str, int]:
        return dict(Counter(head.status for head in self._found(query, now, tenant)))

    async def values(
        self, field: str, query: Query, prefix: str = "", limit: int = 20, *, now: float, tenant: str = "default"
    ) -> builtins.list[tuple[str, int]]:
        asked = wanted(field)
        found = self._found(query, now, tenant)
        if asked is None:
            return []
        newest = islice(_in_order(found, Order(), now), NEWEST)
        values = (value for head in newest for value in held(getattr(head, asked.column), asked))
        return most_frequent(values, prefix, limit)

    def _head(self, seq: int, tenant: str) -> RunHead | None:
        first = self._state.journal.get(seq)
        head = self._state.runs.get(first.run) if first is not None else None
        return head if head is not None and head.seq == seq and head.tenant == tenant else None

    def _of(self, tenant: str) -> Iterable[RunHead]:
        return (head for head in self._state.runs.values() if head.tenant == tenant)

    def _found(self, query: Query, now: float, tenant: str) -> Iterable[RunHead]:
        holds = matcher(query.require(), now, self._zone)
        return (head for head in self._of(tenant) if holds(projection.run_row(head)))


def _in_order(heads: Iterable[RunHead], order: Order, now: float) -> list[RunHead]:
    newest = sorted(heads, key=lambda head: head.seq, reverse=True)
    if order.by != "duration":
        # Sorting keeps the order of what is equal, in both directions.
        return sorted(newest, key=_KEYS[order.by], reverse=order.descending)
    started = [(head, head.started_at) for head in newest if head.started_at is not None]
    timed = [(head, (now if head.finished_at is None else head.finished_at) - at) for head, at in started]
    timed.sort(key=lambda each: each[1], reverse=order.descending)
    return [*(head for head, _ in timed), *(head for head in newest if head.started_at is None)]
