"""An event loop without I/O whose time jumps to the next timer as soon as nothing is left to do."""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable
from typing import Any


class Stuck(Exception):
    """Nothing will ever happen again, and the work is not done."""


class Livelock(Exception):
    """The loop goes round and round at one moment in time."""


MOST_AT_ONCE = 100_000
"""Callbacks at one moment after which we call it a livelock."""


class VirtualLoop(asyncio.BaseEventLoop):
    """One callback per iteration, so that `stop()` is as sudden as `kill -9`.

    With `chaos`, tasks that are ready at the same moment are stepped in random order; everything else (callbacks of
    futures, timers) keeps the order that asyncio promises.
    """

    def __init__(self, start: float = 0.0, *, chaos: random.Random | None = None, end: float = 1e9) -> None:
        super().__init__()
        self.now = start
        self.end = end
        self._chaos = chaos
        self._here = 0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """No threads: the call is made at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _write_to_self(self) -> None:
        """Nobody sleeps in here."""

    def _process_events(self, event_list: Any) -> None:
        raise NotImplementedError

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump()
        self._due()
        if not ready:
            return
        self._here += 1
        if self._here > MOST_AT_ONCE:
            raise Livelock(f"{MOST_AT_ONCE} callbacks at {self.now:g} s; now {ready[0]!r}")
        if self._chaos is not None and len(ready) > 1:
            self._mix(ready, self._chaos)
        handle = ready.popleft()
        if not handle._cancelled:
            handle._run()

    def _jump(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            raise Stuck(f"nothing will ever happen after {self.now:g} s")
        if scheduled[0]._when > self.now:
            self.now = scheduled[0]._when
            self._here = 0
        if self.now > self.end:
            raise Stuck(f"not done after {self.end:g} s")

    def _due(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._when <= self.now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)  # type: ignore[attr-defined]

    def _mix(self, ready: Any, chaos: random.Random) -> None:
        """Let another task than the first have its turn, if the first callback is a task's step."""
        if not _is_step(ready[0]):
            return
        steps = [i for i, handle in enumerate(ready) if _is_step(handle)]
        chosen = chaos.choice(steps)
        if chosen:
            ready[0], ready[chosen] = ready[chosen], ready[0]


def _is_step(handle: events.Handle) -> bool:
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return isinstance(owner, asyncio.Task)
