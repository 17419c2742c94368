"""What every list is made of: lines of cells in columns, found by index and by key; a cursor and marks over them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

Part = tuple[str, str]
"""Text, already inert, and the name of its style."""
Line = Sequence[Part]
"""A line of a text."""
CONTINUED: Part = ("", "continued")
"""First part of a line that goes on with the one before, without a break."""


class Exact(tuple[Part, ...]):
    """A line of code or data: where it is too long it goes on below after any character, not only after a word."""

    __slots__ = ()


Cell = Part | tuple[Part, ...]
Key = Hashable

GAP = 1
"""Cells between two columns."""


class Column(Struct, frozen=True, kw_only=True):
    """One column of a list."""

    title: str
    width: int
    """Cells that it needs."""
    grow: int = 0
    """Its share of the room that is left."""
    most: int = 0
    """Cells that it takes at most when it grows; 0 for any number."""
    right: bool = False
    drop: int = 0
    """Where there is no room, the column with the highest number is left out first; 0: never."""
    sort: str = ""
    """What the list is sorted by when its title is chosen."""


class Place(Struct, frozen=True):
    """Where a column stands: its number, its first cell and its width."""

    column: int
    x: int
    width: int


def layout(columns: Sequence[Column], width: int) -> list[Place]:
    """The columns that fit into a width, from left to right; what is left goes to those that grow."""
    kept = list(range(len(columns)))
    while len(kept) > 1 and _needed(columns, kept) > width:
        last = max(kept, key=lambda at: (columns[at].drop, at))
        if not columns[last].drop:
            break
        kept.remove(last)
    widths = {at: columns[at].width for at in kept}
    spare = width - _needed(columns, kept)
    _grow(columns, widths, spare)
    places: list[Place] = []
    x = 0
    for at in kept:
        if x < width:
            places.append(Place(at, x, min(widths[at], width - x)))
        x += widths[at] + GAP
    return places


def _needed(columns: Sequence[Column], kept: Sequence[int]) -> int:
    return sum(columns[at].width for at in kept) + GAP * (len(kept) - 1)


def _grow(columns: Sequence[Column], widths: dict[int, int], spare: int) -> None:
    growing = [at for at in widths if columns[at].grow]
    while spare > 0 and growing:
        shares = sum(columns[at].grow for at in growing)
        given = 0
        for at in list(growing):
            column = columns[at]
            more = min(max(1, spare * column.grow // shares), spare - given)
            if column.most:
                more = min(more, column.most - widths[at])
                if widths[at] + more >= column.most:
                    growing.remove(at)
            widths[at] += more
            given += more
        if not given:
            return
        spare -= given


class Source(Protocol):
    """A list of lines, some of which may not be there yet."""

    @property
    def columns(self) -> Sequence[Column]: ...
    @property
    def count(self) -> int: ...
    def cells(self, index: int) -> Sequence[Cell] | None:
        """A line's cells, one for each column; None while they are on their way."""
        ...

    def key(self, index: int) -> Key | None:
        """What tells this line from all others for good."""
        ...

    def find(self, key: Key) -> int | None:
        """Where the line of that key is now."""
        ...

    def show(self, first: int, last: int) -> None:
        """The lines from `first` to before `last` are looked at."""
        ...


class Selection:
    """A cursor and marks, by key: lines may come and go around them."""

    def __init__(self) -> None:
        self.key: Key | None = None
        self.index = 0
        self.marks: dict[Key, None] = {}
        self._range: Key | None = None

    @property
    def ranging(self) -> bool:
        """A range has been begun and not ended."""
        return self._range is not None

    def place(self, source: Source, index: int) -> None:
        """Put the cursor on a line, or on the nearest one there is."""
        self.index = max(0, min(index, source.count - 1))
        self.key = source.key(self.index) if source.count else None

    def settle(self, source: Source, *, top: bool = False) -> None:
        """Find the cursor's line again after the list has changed; one that has gone leaves it where it was.

        `top`: it stands on the newest line and stays there.
        """
        found = source.find(self.key) if self.key is not None and not top else None
        self.place(source, 0 if top else self.index if found is None else found)

    def toggle(self, source: Source) -> None:
        """Mark the cursor's line, or take its mark away."""
        key = source.key(self.index) if source.count else None
        if key is None:
            return
        if key in self.marks:
            del self.marks[key]
        else:
            self.marks[key] = None

    def range(self, source: Source) -> None:
        """Begin a range at the cursor; the second time, mark all from there to the cursor."""
        if self._range is None:
            self._range = source.key(self.index) if source.count else None
            return
        for index in self.spanned(source):
            key = source.key(index)
            if key is not None:
                self.marks[key] = None
        self._range = None

    def spanned(self, source: Source) -> range:
        """The lines of the range that was begun."""
        start = source.find(self._range) if self._range is not None else None
        if start is None:
            return range(0)
        return range(min(start, self.index), max(start, self.index) + 1)

    def mark(self, keys: Iterable[Key]) -> None:
        """Mark all of these."""
        self.marks |= dict.fromkeys(keys)

    def clear(self) -> bool:
        """Take every mark and the range away; whether there was any."""
        had = bool(self.marks) or self._range is not None
        self.marks.clear()
        self._range = None
        return had


class Rows:
    """A short list that is there as a whole: rows in columns, each with its key."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns: Sequence[Column] = columns
        self._keys: list[Key] = []
        self._cells: list[Sequence[Cell]] = []
        self._index: dict[Key, int] = {}

    def set(self, rows: Iterable[tuple[Key, Sequence[Cell]]]) -> None:
        """Show these rows from now on."""
        listed = list(rows)
        self._keys = [key for key, _ in listed]
        self._cells = [cells for _, cells in listed]
        self._index = {key: at for at, key in enumerate(self._keys)}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._keys)

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A row's cells."""
        return self._cells[index]

    def key(self, index: int) -> Key | None:
        """A row's key."""
        return self._keys[index] if 0 <= index < len(self._keys) else None

    def find(self, key: Key) -> int | None:
        """Where the row of that key is."""
        return self._index.get(key)

    def show(self, first: int, last: int) -> None:
        """All rows are there already."""
