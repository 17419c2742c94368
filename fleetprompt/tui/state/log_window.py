"""Which rows of a log are on the screen: held by a line, or pinned to the end.

A line is one row, or several where lines are wrapped; how many is known of lines that are there, the others are taken
for one row. The window never looks at more lines than fit on the screen.
"""

from __future__ import annotations

from collections.abc import Callable

from fleetprompt.tui.state.log_directory import Directory
from fleetprompt.tui.state.log_sieve import Sieve

Place = tuple[int, int]
"""The number of a shown line, and of one of its rows."""


class Window:
    """The part of the shown lines that can be seen. `rows_of` tells the rows of a shown line."""

    def __init__(self, directory: Directory, sieve: Sieve, rows_of: Callable[[int], int]) -> None:
        self._directory = directory
        self._sieve = sieve
        self._rows_of = rows_of
        self.height = 1
        self.wraps = False
        self.follow = True
        """Pinned to the end."""
        self._top = 0
        """The position of the first line on the screen."""
        self._skip = 0
        """Rows of it that are above the screen."""
        self._seen = 0
        """The position of the last line that was there while pinned, or has been on the screen since."""

    @property
    def new(self) -> int:
        """Shown lines that have come since the end was let go, and were not seen."""
        if self.follow:
            return 0
        return max(0, self._sieve.count - self._sieve.number(self._directory.line_at(self._seen + 1)))

    def bottom(self) -> Place:
        """The first row when the last one is at the lower edge."""
        count = self._sieve.count
        if not self.wraps:
            return max(0, count - self.height), 0
        number, left = count, self.height
        while number > 0 and left > 0:
            number -= 1
            left -= self._rows_of(number)
        return number, max(0, -left)

    def top(self) -> Place:
        """The first row on the screen."""
        bottom = self.bottom()
        if self.follow or not self._sieve.count:
            return bottom
        line = self._directory.line_at(self._top)
        number = self._sieve.number(line)
        exact = self._skip and number < self._sieve.count and self._sieve.line(number) == line
        skip = min(self._skip, self._rows_of(number) - 1) if exact else 0
        return min((number, skip), bottom)

    def rows(self) -> list[Place]:
        """Every row on the screen."""
        number, skip = self.top()
        count = self._sieve.count
        if not self.wraps:
            return [(each, 0) for each in range(number, min(count, number + self.height))]
        found: list[Place] = []
        while number < count and len(found) < self.height:
            found += [(number, row) for row in range(skip, self._rows_of(number))]
            number, skip = number + 1, 0
        return found[: self.height]

    def mark_seen(self, last: int) -> None:
        """The last line on the screen has this number."""
        if self.follow:
            self._seen = self._directory.last
        elif last < self._sieve.count:
            self._seen = max(self._seen, self._directory.position(self._sieve.line(last)))

    # ------------------------------------------------------------ moving

    def move(self, rows: int) -> None:
        """Go so many rows down, or up, which lets go of the end."""
        before = self.top()
        self._settle(self._down(before, rows) if rows > 0 else self._up(before, -rows), before)

    def show(self, number: int, *, above: int = 0) -> None:
        """Bring a line to the top of the screen, or below so many rows."""
        before = self.top()
        self._settle(self._up((number, 0), above), before)

    def reveal(self, number: int) -> None:
        """Bring a line onto the screen if it is not there, a third of the way down."""
        if not any(shown == number for shown, _ in self.rows()):
            self.show(number, above=self.height // 3)

    def end(self) -> None:
        """Pin to the end."""
        self.follow = True
        self._seen = self._directory.last

    def hold(self) -> None:
        """Stay where it is, whatever comes."""
        self._settle(self.top(), None)

    def _settle(self, place: Place, before: Place | None) -> None:
        """Stand at a place, but not behind the bottom. Pinned to the end it stays so unless this leads up."""
        place = max((0, 0), min(place, self.bottom()))
        if self.follow and place == before:
            return
        if self.follow:
            self._seen = self._directory.last
        self.follow = False
        number, self._skip = place
        if number < self._sieve.count:
            self._top = self._directory.position(self._sieve.line(number))

    def _down(self, place: Place, rows: int) -> Place:
        number, skip = place
        if not self.wraps:
            return number + rows, 0
        count = self._sieve.count
        while number < count and rows >= (left := self._rows_of(number) - skip):
            number, skip, rows = number + 1, 0, rows - left
        return number, skip + rows

    def _up(self, place: Place, rows: int) -> Place:
        number, skip = place
        if not self.wraps:
            return max(0, number - rows), 0
        while number > 0 and rows > skip:
            rows -= skip + 1
            number -= 1
            skip = self._rows_of(number) - 1
        return number, max(0, skip - rows)
