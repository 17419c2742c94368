"""When a log is looked at no more: its last lines are stored after the fact that ends the run."""

from __future__ import annotations

LOOKS = 20
"""Looks in a row that must find nothing new, several seconds of them: more than lines take to the store."""
LONG_OVER = 30.0
"""Seconds after its end when nothing more comes: who opens an old run looks at its log once."""


class Ending:
    """Counts the looks at a log whose run is over."""

    def __init__(self) -> None:
        self._lines = -1
        self._left = LOOKS

    def has_come(self, *, over: float | None, lines: int) -> bool:
        """Whether another look can be spared, at a log that has so many lines by now, of a run that has been over for
        so many seconds; None: it goes on. Asked before each look."""
        if over is None or lines != self._lines:
            self._lines, self._left = lines, LOOKS
            return False
        if over > LONG_OVER:
            return True
        self._left -= 1
        return self._left < 0
