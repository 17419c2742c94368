"""The facts of a run as rows: what each one says, found by words, and whole as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from fleetprompt.client.telling import told_fact
from fleetprompt.engine.core.facts import AnyFact, StepWaiting
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Stored

LONGEST = 400
"""Characters of what a fact says that a row keeps."""


class FactRow(Struct, frozen=True):
    """One fact. The texts come from outside: whoever draws them makes them inert."""

    n: int
    at: float
    type: str
    path: str
    what: str
    status: str
    """The status that it speaks of, for its sign and colour."""


class FactList:
    """The facts of one run. Rows are made when somebody looks at them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stored: list[Stored] = []
        self._told: dict[int, tuple[str, str]] = {}
        """What was said of a fact that means something only at its moment, by position."""
        self._words = ""
        self._matching: list[int] = []
        self._looked = 0

    def __len__(self) -> int:
        return len(self._stored)

    def add(self, stored: Stored) -> None:
        """One more fact, which the run has just been moved by."""
        if isinstance(stored.fact, StepWaiting):
            self._told[len(self._stored)] = told_fact(stored.fact, self._run)
        self._stored.append(stored)

    def find(self, words: str) -> Sequence[int]:
        """Positions of the facts whose type or path has every one of these words in it; all without a word.

        Asked again with the same words, it looks only at what has come since.
        """
        words = words.casefold().strip()
        if not words:
            return range(len(self._stored))
        if words != self._words:
            self._words, self._matching, self._looked = words, [], 0
        wanted = words.split()
        for position in range(self._looked, len(self._stored)):
            text = _searched(self._stored[position].fact)
            if all(word in text for word in wanted):
                self._matching.append(position)
        self._looked = len(self._stored)
        return self._matching

    def rows(self, positions: Sequence[int]) -> Iterator[FactRow]:
        """The facts at these positions."""
        for position in positions:
            stored = self._stored[position]
            fact = stored.fact
            status, what = self._told.get(position) or told_fact(fact, self._run)
            what = " ".join(what[:LONGEST].split())
            yield FactRow(stored.n, fact.at, type(fact).__name__, getattr(fact, "path", ""), what, status)

    def fact(self, position: int) -> AnyFact:
        """The fact at a position."""
        return self._stored[position].fact

    def object(self, position: int) -> dict[str, object]:
        """The whole fact at a position, as it is recorded."""
        stored = self._stored[position]
        return {"seq": stored.seq, "n": stored.n, **msgspec.to_builtins(stored.fact)}


def _searched(fact: AnyFact) -> str:
    return f"{type(fact).__name__} {getattr(fact, 'path', '')}".casefold()
