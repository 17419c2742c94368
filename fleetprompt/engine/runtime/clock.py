"""The engine's time: what the clock on the wall says, except that it never goes back."""

from __future__ import annotations

from collections.abc import Callable

from fleetprompt.engine.ports import Clock

SLOWER = 1 / 16
"""How much slower than time itself the engine's time is until the wall clock has caught up with it."""
WORTH_TELLING = 1.0
"""Seconds. Smaller corrections are a time server's daily work."""


class SystemClock:
    """The wall clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        import time

        return time.time()


class SteadyClock:
    """A clock for facts and timers.

    Where the wall clock is set back, time goes on as it passes, a little slower until both say the same again: an hour
    takes sixteen. So no fact is older than the one before it, and who waits is woken when as much time has passed (a
    sixteenth more at most), not an hour late. Where it is set forward, or after the machine has slept, time follows.
    """

    def __init__(self, wall: Clock, elapsed: Callable[[], float], set_back: Callable[[float], None]) -> None:
        """`elapsed` counts seconds whatever the clock is set to; `set_back` is told by how many seconds it was."""
        self._wall = wall.now
        self._elapsed = elapsed
        self._set_back = set_back
        self._at = elapsed()
        self._seen = self._now = self._wall()

    def now(self) -> float:
        """Seconds since the epoch; never less than before."""
        wall, at = self._wall(), self._elapsed()
        passed = at - self._at
        missing = self._seen + passed - wall
        self._at, self._seen = at, wall
        self._now = max(wall, self._now + passed * (1 - SLOWER))
        if missing > WORTH_TELLING:
            self._set_back(missing)
        return self._now
