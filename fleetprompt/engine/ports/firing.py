"""Firings: what became of the times of schedules, and how far each schedule has come."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Protocol

from fleetprompt.engine.core.firing import Firing, Standing
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.lists import Page


class Firings(Protocol):
    """The firings and the standing of schedules. A firing and its signal are stored together or not at all."""

    async def standings(self, tenant: str | None = None) -> list[Standing]:
        """How far every schedule of a tenant has come; None: of every tenant, for the engine."""
        ...

    async def standing(self, workflow: str, trigger: str, tenant: str = "default") -> Standing | None: ...

    async def record(
        self, standing: Standing, firings: Sequence[tuple[Firing, Signal | None]] = (), signals: Sequence[Signal] = ()
    ) -> tuple[Firing, ...]:
        """Store how far a schedule has come, what became of its times, the signals that they send, and others that go
        with them: all in one transaction.

        `standing.n` must be one more than what is stored (1 for a schedule that is not); else `Conflict`, and nothing
        is stored. A firing that is known by its `scheduled` is left out, and so is its signal; one whose signal is
        known is stored as a `duplicate`. The firings as they were stored.
        """
        ...

    async def add(self, firing: Firing, signal: Signal | None = None) -> Firing | None:
        """The same for a trigger that has no standing: a firing and its signal; None for one that is known."""
        ...

    async def get(self, workflow: str, trigger: str, tenant: str = "default", *, scheduled: str) -> Firing | None:
        """The firing of one time."""
        ...

    async def forget(self, workflow: str, trigger: str, tenant: str = "default") -> None:
        """Delete the standing of a schedule that is gone; its firings stay."""
        ...

    async def going(self, workflow: str, trigger: str, tenant: str = "default") -> list[str]:
        """The runs that a trigger has started and that have not ended, those included that are yet to begin, the oldest
        first. Only the latest 200 firings are looked at."""
        ...

    async def latest(self, tenant: str = "default") -> list[Firing]:
        """Of every schedule the firing that was recorded last and that was not missed, skipped or a duplicate."""
        ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Firing], str]:
        """Matching firings (`FIRING_FIELDS`), those recorded last first, and the cursor of the next page.

        What came of a firing's signal is part of it: one that could not start its run has `failed`, one whose `if` did
        not hold was `skipped`. Raises `InvalidInput` for a bad filter or cursor.
        """
        ...
