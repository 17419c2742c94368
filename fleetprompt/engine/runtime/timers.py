"""The one timer of the engine. Live runs tell it when they want to wake; parked ones are asked of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

LONGEST_SLEEP = 60.0
"""The clock may be set forward, and a machine may sleep: look at the time at least this often."""


class Timers:
    """Wakes runs at times of a clock that never goes back."""

    def __init__(self, now: Callable[[], float], wake: Callable[[str], None]) -> None:
        self._now = now
        self._wake = wake
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._closed = False

    def set(self, run: str, at: float) -> None:
        """Wake a run at this time; an earlier wish of the same run is forgotten."""
        if self._at.get(run) == at:
            return
        self._at[run] = at
        heappush(self._heap, (at, run))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._at):
            self._heap = [(at, run) for run, at in self._at.items()]
            heapify(self._heap)
        self._arm()

    def drop(self, run: str) -> None:
        """The run does not want to be woken any more."""
        self._at.pop(run, None)

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()

    @property
    def waiting(self) -> int:
        return len(self._at)

    def _arm(self) -> None:
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        if not heap or self._closed:
            return
        at = heap[0][0]
        if self._handle is not None:
            if self._next <= at:
                return
            self._handle.cancel()
        delay = min(max(0.0, at - self._now()), LONGEST_SLEEP)
        self._next = at
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._now()
        heap = self._heap
        due: list[str] = []
        while heap and heap[0][0] <= now:
            at, run = heappop(heap)
            if self._at.get(run) == at:
                del self._at[run]
                due.append(run)
        for run in due:
            self._wake(run)
        self._arm()
