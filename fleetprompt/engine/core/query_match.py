"""What a filter means: the reference that the SQL of every store is tested against.

1. A term is true or false, never unknown. Null, a missing key, an empty text and an empty list make it false; with
   `-`, `!` or `!=` it is exactly the opposite, so `-session:*` finds the rows without a session.
2. Texts are equal as a whole (a `contains` field: anywhere), the letters A to Z in either case; a `*` stands for any
   characters or none. In a list column one fitting text is enough. Label keys are case-sensitive.
3. Times, `age` and `since` are comparisons of the column itself with the numbers that `bounds` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, tzinfo
from operator import eq, ge, gt, le, lt
from typing import Any, assert_never

from fleetprompt.engine.core import query_regex
from fleetprompt.engine.core.query import Compare, Match, OneOf, Operator, Query, Regex, Term
from fleetprompt.engine.core.query_fields import Field
from fleetprompt.engine.core.query_values import Amount, Moment, Text, fits, fold, span

Row = Mapping[str, Any]
Bound = tuple[Operator, int | float]

_HOLDS: dict[Operator, Callable[[Any, Any], bool]] = {"=": eq, ">": gt, ">=": ge, "<": lt, "<=": le}
_TURNED: dict[Operator, Operator] = {"=": "=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}


def matches(query: Query, row: Row, now: float, zone: tzinfo = UTC) -> bool:
    """Whether a row fulfils every term; `now` in seconds since 1970, `zone` as for `bounds`."""
    return matcher(query, now, zone)(row)


def matcher(query: Query, now: float, zone: tzinfo = UTC) -> Callable[[Row], bool]:
    """`matches` for many rows at one moment."""
    tests = [_test(term, now, zone) for term in query.terms]
    return lambda row: all(test(row) for test in tests)


def bounds(field: Field, op: Operator, value: Amount | Moment, now: float, zone: tzinfo = UTC) -> tuple[Bound, ...]:
    """The comparisons, all of which must hold, that a field's number has to pass, in the unit of its column.

    The number is the value of `field.column`, except for a `duration`: there it is `until_column`, or `now` where that
    is null, minus `column`. A day, minute or second that was named is taken as a whole: `=` is inside it, `>` after
    its end, `<` before its begin. `started:2h` is between two hours ago and now, `expires:10m` between now and then.
    `zone` is where days begin and where times without an offset are meant.
    """
    if isinstance(value, Amount):
        if field.kind == "age":
            return ((_TURNED[op], now - value.number),)
        return ((op, value.number),)
    low, high = span(value, now, zone)
    if value.offset is not None:
        return ((">=", min(low, now)), ("<=", max(low, now))) if op == "=" else ((op, low),)
    if op == "=":
        return ((">=", low), ("<", high))
    return ((">=", high),) if op == ">" else (("<", high),) if op == "<=" else ((op, low),)


def _test(term: Term, now: float, zone: tzinfo) -> Callable[[Row], bool]:
    holds = _holds(term, now, zone)
    return (lambda row: not holds(row)) if term.negated else holds


def _holds(term: Term, now: float, zone: tzinfo) -> Callable[[Row], bool]:
    match term:
        case Compare(field=field, op=op, value=value):
            return _within(field, [bounds(field, op, value, now, zone)], now)
        case OneOf(field=field, values=values):
            texts = [value for value in values if isinstance(value, Text)]
            ranges = [bounds(field, "=", value, now, zone) for value in values if not isinstance(value, Text)]
            return _within(field, ranges, now) if ranges else _fitting(_column(term), texts)
        case Match(text=text, columns=columns):
            return _fitting(lambda row: [row.get(column) for column in columns], [text])
        case Regex(pattern=pattern, columns=columns):
            return lambda row: any(query_regex.found(pattern, row.get(column)) for column in columns)
        case _:
            assert_never(term)


def _column(term: OneOf) -> Callable[[Row], Iterable[str | None]]:
    column, key = term.field.column, term.key

    def label(row: Row) -> Iterable[str | None]:
        labels: Mapping[str, str] = row.get(column) or {}
        return (labels.get(key),)

    if key:
        return label
    if term.field.many:
        return lambda row: row.get(column) or ()
    return lambda row: (row.get(column),)


def _fitting(column: Callable[[Row], Iterable[str | None]], texts: list[Text]) -> Callable[[Row], bool]:
    wanted = [tuple(fold(part) for part in text.parts) for text in texts]

    def holds(row: Row) -> bool:
        present = [fold(text) for text in column(row) if text]
        return any(fits(parts, text) for text in present for parts in wanted)

    return holds


def _within(field: Field, ranges: list[tuple[Bound, ...]], now: float) -> Callable[[Row], bool]:
    def holds(row: Row) -> bool:
        number = row.get(field.column)
        if number is None:
            return False
        if field.kind == "duration":
            ended = row.get(field.until_column)
            number = (now if ended is None else ended) - number
        return any(all(_HOLDS[op](number, bound) for op, bound in every) for every in ranges)

    return holds
