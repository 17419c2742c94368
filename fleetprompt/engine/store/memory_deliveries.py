"""Deliveries in the memory store."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from msgspec.structs import asdict, replace

from fleetprompt.engine.core.delivery import Delivery, ended, letter_id_of, letter_of
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store import memory_tables, paging
from fleetprompt.engine.store.memory_queries import select_page
from fleetprompt.engine.store.memory_state import State

_Key = tuple[str, str]


class MemoryDeliveries:
    """See `ports.delivery.Deliveries`."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def due(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for key, each in self._pending():
            free = max(each.due, self._state.delivery_leases.get(key, ("", 0.0))[1])
            whose = each.tenant, each.subscription
            found[whose] = min(free, found.get(whose, free))
        return found

    async def lease(
        self, subscription: str, *, lease: str, now: float, until: float, most: int, tenant: str = "default"
    ) -> builtins.list[tuple[Delivery, Signal]]:
        state = self._state
        free = [
            (each.due, each.seq, key)
            for key, each in self._pending()
            if (each.tenant, each.subscription) == (tenant, subscription)
            and each.due <= now
            and state.delivery_leases.get(key, ("", 0.0))[1] <= now
        ]
        taken = [key for _, _, key in sorted(free)[:most]]
        for key in taken:
            state.delivery_leases[key] = (lease, until)
        return [(state.deliveries[key], state.signals[state.deliveries[key].signal]) for key in taken]

    async def settle(self, delivery: Delivery, *, lease: str, gone: bool = False) -> bool:
        state, key = self._state, (delivery.tenant, delivery.id)
        if state.delivery_leases.get(key, ("", 0.0))[0] != lease:
            return False
        del state.delivery_leases[key]
        state.deliveries[key] = delivery
        if delivery.status == "delivered":
            memory_tables.revive(state, [letter_id_of(delivery)], delivery.tenant)
        elif delivery.status == "dead":
            memory_tables.bury(state, [letter_of(delivery)])
        if gone:
            whose = delivery.tenant, delivery.subscription
            left = [each for _, each in self._pending() if (each.tenant, each.subscription) == whose]
            for each in ended(left, delivery.reason, delivery.at):
                state.deliveries[each.tenant, each.id] = each
                state.delivery_leases.pop((each.tenant, each.id), None)
                memory_tables.bury(state, [letter_of(each)])
        return True

    async def leases(self) -> builtins.list[str]:
        return sorted({lease for lease, _ in self._state.delivery_leases.values()})

    async def release(self, leases: Collection[str]) -> None:
        held = self._state.delivery_leases
        for key in [key for key, (lease, _) in held.items() if lease in leases]:
            del held[key]

    async def again(self, letters: Sequence[str], *, now: float, tenant: str = "default") -> int:
        known = [self._state.dead_letters.get((tenant, id_)) for id_ in letters]
        about = {(each.signal, each.target) for each in known if each is not None and each.kind == "subscription"}
        dead = [
            each for each in self._of(tenant) if each.status == "dead" and (each.signal, each.subscription) in about
        ]
        for each in dead:
            self._state.deliveries[tenant, each.id] = replace(each, status="pending", attempts=0, due=now)
        return len(dead)

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Delivery], str]:
        return select_page(self._of(tenant), _row, _position, query, page, now, self._zone)

    def _pending(self) -> Iterable[tuple[_Key, Delivery]]:
        return [(key, each) for key, each in self._state.deliveries.items() if each.status == "pending"]

    def _of(self, tenant: str) -> Iterable[Delivery]:
        return [each for each in self._state.deliveries.values() if each.tenant == tenant]


def _row(delivery: Delivery) -> Mapping[str, Any]:
    """A delivery as the filter language sees it (`DELIVERY_FIELDS`)."""
    return asdict(delivery)


def _position(delivery: Delivery) -> paging.Position:
    return delivery.seq, delivery.id
