"""A list that is read as a whole and filtered here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.tui.state.lines import Cell, Column, Key

if TYPE_CHECKING:
    from fleetprompt.engine.core.query_fields import FieldSet


class Filterable(Protocol):
    """What a line stands for."""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        ...

    @property
    def row(self) -> Mapping[str, Any]:
        """What filters ask about, by the columns of their fields."""
        ...


E = TypeVar("E", bound=Filterable)


class EntryList(ABC, Generic[E]):
    """Entries that match a filter. `now` gives the time in epoch seconds."""

    FIELDS: ClassVar[FieldSet]
    """What can be asked about them."""
    columns: Sequence[Column]

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.filter = ""
        self.loaded = False
        self.entries: list[E] = []
        """Those that match, in their order."""
        self._every: list[E] = []

    @abstractmethod
    async def read(self) -> list[E]:
        """All of them, in their order. Raises `FleetError`."""

    @abstractmethod
    def cells(self, index: int) -> Sequence[Cell] | None:
        """One of them as a line."""

    async def load(self) -> None:
        """Read them anew. Raises `FleetError`."""
        self._every = await self.read()
        self.loaded = True
        self.arrange()

    def arrange(self) -> None:
        """Filter anew. A filter that cannot be understood raises `InvalidInput`."""
        fits = matcher(parse(self.filter, self.FIELDS).require(), self.now())
        self.entries = [entry for entry in self._every if fits(entry.row)]

    def values(self, name: str) -> list[tuple[str, int]]:
        """What there is in a field, the most frequent first."""
        field = self.FIELDS.find(name)
        if field is None:
            return []
        found: Counter[str] = Counter()
        for entry in self._every:
            value = entry.row[field.column]
            found.update(value if field.many else [str(value)] if value else [])
        return found.most_common()

    @property
    def count(self) -> int:
        """How many are listed."""
        return len(self.entries)

    def key(self, index: int) -> Key | None:
        """The key of one of them."""
        return self.entries[index].key if 0 <= index < len(self.entries) else None

    def find(self, key: Key) -> int | None:
        """Where one of them stands: by its key, else by what people call it."""
        for called in (lambda entry: entry.key, self.called):
            at = next((at for at, each in enumerate(self.entries) if called(each) == key), None)
            if at is not None:
                return at
        return None

    @abstractmethod
    def called(self, entry: E) -> str:
        """What people call it where they look for it."""

    def entry(self, key: Key | None) -> E | None:
        """One that is listed."""
        return next((each for each in self.entries if each.key == key), None)

    def show(self, first: int, last: int) -> None:
        """All of them are there already."""
