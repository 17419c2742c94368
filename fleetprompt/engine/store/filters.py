"""The filter language as SQL. What a filter means is said in `core/query_match.py`; tests compare the two.

A term is never unknown: where SQL would say NULL it is false, and under a minus true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, assert_never

import sqlalchemy as sa
from msgspec import Struct

from fleetprompt.engine.core.query import Compare, Match, OneOf, Operator, Query, Regex, Term
from fleetprompt.engine.core.query_fields import Field
from fleetprompt.engine.core.query_match import Bound, bounds
from fleetprompt.engine.core.query_regex import found
from fleetprompt.engine.core.query_values import Text, fold
from fleetprompt.engine.store.dialect import Dialect, Row

Condition = sa.ColumnElement[bool]
Expression = sa.ColumnElement[Any]
Texts = Callable[[Callable[[Expression], Condition]], Condition]
"""Given a test for one text, whether any text of a list passes it."""


class View(Struct, frozen=True):
    """Where the columns of a field table are found."""

    columns: Mapping[str, Expression]
    lists: Mapping[str, Texts] = {}
    search: tuple[str, ...] = ()
    """Columns in which regular expressions look."""

    @property
    def searched(self) -> dict[str, Expression]:
        """These columns, by the name under which `Filter.passes` reads them."""
        return {f"searched_{name}": self.columns[name] for name in self.search}


def json_list(dialect: Dialect, column: Expression) -> Texts:
    """The texts of a JSON list in a column."""

    def any_of(test: Callable[[Expression], Condition]) -> Condition:
        each = dialect.json_items(column)
        return sa.exists(sa.select(each.c.value).where(test(each.c.value)))

    return any_of


def like_prefix(dialect: Dialect, column: Expression, prefix: str) -> Condition:
    """Whether a text begins with another, in any case of the letters A to Z."""
    return dialect.like(column, _escape(fold(prefix)) + "%")


class Filter:
    """One query at one moment."""

    def __init__(self, dialect: Dialect, view: View, now: float, zone: tzinfo) -> None:
        self._dialect = dialect
        self._search = dialect.searching()
        self._view = view
        self._now = now
        self._zone = zone

    def where(self, query: Query) -> tuple[list[Condition], list[Regex]]:
        """The conditions that must all hold, and the terms that the database cannot try: see `passes`.

        Raises `InvalidInput` for a query with problems.
        """
        left = [term for term in query.require().terms if isinstance(term, Regex) and self._search is None]
        return [self._term(term) for term in query.terms if term not in left], left

    def passes(self, terms: Sequence[Regex]) -> Callable[[Row], bool]:
        """The test of a row that holds `View.searched`, too."""
        names = [*self._view.searched]

        def test(row: Row) -> bool:
            texts = [getattr(row, name) for name in names]
            return all(any(found(term.pattern, text) for text in texts) != term.negated for term in terms)

        return test

    def _term(self, term: Term) -> Condition:
        holds = self._holds(term)
        return sa.not_(sa.func.coalesce(holds, sa.false())) if term.negated else holds

    def _holds(self, term: Term) -> Condition:
        match term:
            case Compare(field=field, op=op, value=value):
                return self._within(field, [bounds(field, op, value, self._now, self._zone)])
            case OneOf(field=field, values=values, key=key):
                texts = [value for value in values if isinstance(value, Text)]
                if texts:
                    return self._one_of(field, key, texts)
                found = [value for value in values if not isinstance(value, Text)]
                return self._within(field, [bounds(field, "=", value, self._now, self._zone) for value in found])
            case Match(text=text, columns=columns):
                return sa.or_(*(self._fits(self._view.columns[column], text) for column in columns))
            case Regex(pattern=pattern, columns=columns):
                assert self._search is not None
                return sa.or_(*(self._search(self._view.columns[column], pattern) for column in columns))
            case _:
                assert_never(term)

    def _one_of(self, field: Field, key: str, texts: Sequence[Text]) -> Condition:
        if field.many:
            return self._view.lists[field.column](lambda item: sa.or_(*(self._fits(item, text) for text in texts)))
        column = self._view.columns[field.column]
        if field.kind == "enum":
            # Stored in lower case, like the values: plain equality, which an index serves.
            plain = [text.parts[0] for text in texts if len(text.parts) == 1]
            wild = [self._fits(column, text) for text in texts if len(text.parts) > 1]
            return sa.or_(column.in_(plain), *wild) if plain else sa.or_(*wild)
        if key:
            column = self._dialect.json_text(column, key)
        return sa.or_(*(self._fits(column, text) for text in texts))

    def _fits(self, column: Expression, text: Text) -> Condition:
        if len(text.parts) == 1:
            return self._dialect.equals(column, fold(text.parts[0]))
        if not any(text.parts):
            return column != ""
        return self._dialect.like(column, "%".join(_escape(fold(part)) for part in text.parts))

    def _within(self, field: Field, ranges: Sequence[tuple[Bound, ...]]) -> Condition:
        column = self._view.columns[field.column]
        if field.kind == "duration":
            column = sa.func.coalesce(self._view.columns[field.until_column], _number(self._now)) - column
        return sa.or_(*(sa.and_(*(_compare(column, op, bound) for op, bound in every)) for every in ranges))


def _compare(column: Expression, op: Operator, bound: float) -> Condition:
    return column.bool_op("=" if op == "=" else op)(_number(bound))


def _number(value: float) -> sa.BindParameter[Any]:
    return sa.literal(value, sa.Double() if isinstance(value, float) else sa.BigInteger())


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
