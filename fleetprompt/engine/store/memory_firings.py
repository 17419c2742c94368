"""Firings in the memory store."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

import msgspec
from msgspec.structs import replace

from fleetprompt.engine.core.firing import MOST_GOING, Firing, Standing, unsent
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Conflict, Page
from fleetprompt.engine.store import memory_tables, paging
from fleetprompt.engine.store.memory_queries import select_page
from fleetprompt.engine.store.memory_state import State
from fleetprompt.engine.store.memory_tables import firing_key


class MemoryFirings:
    """See `ports.firing.Firings`."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def standings(self, tenant: str | None = None) -> builtins.list[Standing]:
        return [each for each in self._state.schedules.values() if tenant in (None, each.tenant)]

    async def standing(self, workflow: str, trigger: str, tenant: str = "default") -> Standing | None:
        return self._state.schedules.get((workflow, trigger, tenant))

    async def record(
        self, standing: Standing, firings: Sequence[tuple[Firing, Signal | None]] = (), signals: Sequence[Signal] = ()
    ) -> tuple[Firing, ...]:
        key = (standing.workflow, standing.trigger, standing.tenant)
        known = self._state.schedules.get(key)
        if standing.n != (known.n if known is not None else 0) + 1:
            raise Conflict(f"schedule {standing.workflow}/{standing.trigger} has come further meanwhile")
        self._state.schedules[key] = standing
        stored = [self._store(firing, signal) for firing, signal in firings]
        for signal in signals:
            memory_tables.insert_signal(self._state, signal)
        return tuple(firing for firing in stored if firing is not None)

    async def add(self, firing: Firing, signal: Signal | None = None) -> Firing | None:
        return self._store(firing, signal)

    def _store(self, firing: Firing, signal: Signal | None) -> Firing | None:
        if firing_key(firing) in self._state.firing_keys:
            return None
        if signal is not None and memory_tables.insert_signal(self._state, signal) is None:
            firing = unsent(firing)
        return memory_tables.insert_firing(self._state, firing)

    async def get(self, workflow: str, trigger: str, tenant: str = "default", *, scheduled: str) -> Firing | None:
        seq = self._state.firing_keys.get((workflow, trigger, scheduled, tenant))
        return self._told(self._state.firings[seq]) if seq is not None else None

    async def forget(self, workflow: str, trigger: str, tenant: str = "default") -> None:
        self._state.schedules.pop((workflow, trigger, tenant), None)

    async def going(self, workflow: str, trigger: str, tenant: str = "default") -> builtins.list[str]:
        own = (workflow, trigger, "fired")
        fired = [each for each in self._of(tenant) if (each.workflow, each.trigger, each.outcome) == own]
        return [each.run for each in fired[-MOST_GOING:] if self._goes_on(each)]

    def _goes_on(self, firing: Firing) -> bool:
        head = self._state.runs.get(firing.run)
        if head is not None and head.tenant == firing.tenant:
            return head.finished_at is None
        return firing.signal in self._state.unrouted

    async def latest(self, tenant: str = "default") -> builtins.list[Firing]:
        found = {(each.workflow, each.trigger): each for each in self._of(tenant) if each.outcome == "fired"}
        return [self._told(each) for each in sorted(found.values(), key=lambda each: each.seq)]

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Firing], str]:
        return select_page(map(self._told, self._of(tenant)), _row, _recorded, query, page, now, self._zone)

    def _of(self, tenant: str) -> Iterable[Firing]:
        return [each for each in self._state.firings.values() if each.tenant == tenant]

    def _told(self, firing: Firing) -> Firing:
        """With what came of its signal without a run."""
        found = self._state.results.get(firing.signal, {}) if firing.outcome == "fired" else {}
        without = [found[run] for run in sorted(found) if found[run].status == "refused" or not found[run].run]
        if not without:
            return firing
        failed = any(each.status == "refused" for each in without)
        return replace(firing, outcome="failed" if failed else "skipped", reason=without[0].reason)


def _row(firing: Firing) -> Mapping[str, Any]:
    """A firing as the filter language sees it (`FIRING_FIELDS`)."""
    return msgspec.structs.asdict(firing) | {"created_at": firing.at}


def _recorded(firing: Firing) -> paging.Position:
    return firing.seq, firing.scheduled
