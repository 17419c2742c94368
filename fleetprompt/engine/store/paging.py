"""Cursors: where a page of a list ends, as an opaque text.

A position is a number to sort by, and an id or another number that breaks ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query_values import LARGEST
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store.dialect import Rows

T = TypeVar("T")
Position = tuple[float, str | int]
Order = tuple[sa.Column[Any], sa.Column[Any]]


def write_cursor(position: Position) -> str:
    """The cursor for a position."""
    return f"{position[0]!r}~{position[1]}"


def read_cursor(cursor: str, tie: Callable[[str], str | int]) -> Position:
    """The position in a cursor; `tie` reads what breaks ties. Raises `InvalidInput` for text that no list gave out."""
    number, mark, last = cursor.partition("~")
    try:
        position = float(number), tie(last)
    except ValueError:
        mark = ""
        position = math.nan, ""
    if not mark or not math.isfinite(position[0]) or (isinstance(position[1], int) and abs(position[1]) > LARGEST):
        raise InvalidInput(f"`{cursor}` is not a cursor of this list", hint="use the one that the previous page gave")
    return position


def cut(rows: Sequence[T], limit: int, position: Callable[[T], Position]) -> tuple[list[T], str]:
    """The page in rows that were read with one row too many, and the cursor of the next one."""
    page = list(rows[:limit])
    return page, write_cursor(position(page[-1])) if len(rows) > limit and page else ""


def select_page(query: Rows, order: Order, page: Page) -> Rows:
    """The query for a page, with one row too many, by which `cut` knows that there is more."""
    if page.cursor:
        position = read_cursor(page.cursor, order[1].type.python_type)
        at = sa.tuple_(*(sa.literal(part, column.type) for part, column in zip(position, order, strict=True)))
        here = sa.tuple_(*order)
        query = query.where(here > at if page.oldest_first else here < at)
    return query.order_by(*(column.asc() if page.oldest_first else column.desc() for column in order)).limit(
        page.limit + 1
    )
