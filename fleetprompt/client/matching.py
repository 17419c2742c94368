"""Filters of runs that are held against rows that are there: what is followed live does not ask the store for each."""

from __future__ import annotations

from collections.abc import Iterable

from fleetprompt.engine.core.query import Compare, Match, OneOf, Term, parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.core.query_match import matches
from fleetprompt.engine.core.query_values import Moment
from fleetprompt.engine.ports import RunHead

FIXED = frozenset(
    {"id", "workflow", "owner", "labels", "project", "session", "tenant", "root", "parent", "retry_of", "plan"}
)
"""Columns that never change while a run lasts."""


class RunFilter:
    """A filter of runs. Raises `InvalidInput` for one that cannot be understood."""

    def __init__(self, text: str) -> None:
        self._query = parse(text, RUN_FIELDS).require()
        self.text = text
        self.fixed = all(FIXED.issuperset(_columns(term)) for term in self._query.terms)
        """Whether what it says of a run is so for good."""
        self.has_days = any(isinstance(value, Moment) for term in self._query.terms for value in _values(term))
        """It names times: only the store knows where the operator's days begin."""

    def holds(self, head: RunHead, now: float) -> bool:
        """Whether a run matches, for a filter that names no times."""
        # The store's tables take long to import, and most who name filters show no streams.
        from fleetprompt.engine.store.projection import run_row

        return matches(self._query, run_row(head), now)


def _columns(term: Term) -> Iterable[str]:
    return (term.field.column,) if isinstance(term, Compare | OneOf) else term.columns


def _values(term: Term) -> Iterable[object]:
    if isinstance(term, Compare):
        return (term.value,)
    return () if isinstance(term, Match) or not isinstance(term, OneOf) else term.values
