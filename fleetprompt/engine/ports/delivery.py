"""Deliveries: made by `Append.deliveries`, leased by whoever tries them, settled with their dead letters."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from typing import Protocol

from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.lists import Page


class Deliveries(Protocol):
    """Signals on their way to subscriptions."""

    async def due(self) -> dict[tuple[str, str], float]:
        """When the first delivery of each subscription, by tenant and name, can be tried: due, and leased by nobody any
        more. Those that have none are left out."""
        ...

    async def lease(
        self, subscription: str, *, lease: str, now: float, until: float, most: int, tenant: str = "default"
    ) -> builtins.list[tuple[Delivery, Signal]]:
        """Take at most so many that are due and leased by nobody, those due longest first: nobody else gets them before
        `until`. `lease` names who holds them."""
        ...

    async def settle(self, delivery: Delivery, *, lease: str, gone: bool = False) -> bool:
        """Store what came of an attempt; False where the lease was lost, and nothing is stored. With it its dead letter
        is written, where it is dead, or made good, where it is delivered. `gone`: all that is pending of its
        subscription is dead, too."""
        ...

    async def leases(self) -> builtins.list[str]:
        """Who holds deliveries."""
        ...

    async def release(self, leases: Collection[str]) -> None:
        """Give back what these hold: they are known to be no more."""
        ...

    async def again(self, letters: Sequence[str], *, now: float, tenant: str = "default") -> int:
        """Have deliveries that are dead tried anew at once, by their dead letters; how many were."""
        ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Delivery], str]:
        """Matching deliveries (`DELIVERY_FIELDS`), the newest first, and the cursor of the next page. Raises
        `InvalidInput` for a bad filter or cursor."""
        ...
