"""Filtered lists: a page of rows, or how many there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any

import sqlalchemy as sa

from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store.dialect import Row, Rows
from fleetprompt.engine.store.filters import Filter, View
from fleetprompt.engine.store.paging import Order, Position, cut, select_page, write_cursor
from fleetprompt.engine.store.reading import Reader

AT_A_TIME = 500
"""Rows read at a time where a regular expression is tried here and not in the database."""


class Listing:
    """The rows of one table in one order. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, view: View, order: Order, zone: tzinfo) -> None:
        self._reader = reader
        self._view = view
        self._order = order
        self._zone = zone

    async def page(self, statement: Rows, query: Query, page: Page, now: float) -> tuple[list[Row], str]:
        """Matching rows, and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        where, tests = self._filter(now).where(query)
        statement = statement.where(*where)
        if tests:
            test = self._filter(now).passes(tests)
            rows = await self._reader.run(lambda c: self._search(c, statement, page, test, page.limit + 1))
        else:
            rows = [*await self._reader.rows(select_page(statement, self._order, page))]
        return cut(rows, page.limit, self._position)

    async def every(self, statement: Rows, query: Query, now: float, *, oldest_first: bool = False) -> list[Any]:
        """Of all matching rows what breaks ties in their order, in that order. Raises `InvalidInput`."""
        where, tests = self._filter(now).where(query)
        statement = statement.where(*where)
        if tests:
            test, whole = self._filter(now).passes(tests), Page(oldest_first=oldest_first)
            rows = await self._reader.run(lambda c: self._search(c, statement, whole, test, None))
            return [self._position(row)[1] for row in rows]
        order = [column.asc() if oldest_first else column.desc() for column in self._order]
        found = await self._reader.rows(statement.with_only_columns(self._order[1]).order_by(*order))
        return [row[0] for row in found]

    async def count(self, statement: Rows, query: Query, now: float) -> int:
        """How many rows match. Raises `InvalidInput` for a bad filter."""
        where, tests = self._filter(now).where(query)
        statement = statement.where(*where)
        if tests:
            test = self._filter(now).passes(tests)
            return len(await self._reader.run(lambda c: self._search(c, statement, Page(), test, None)))
        counted = sa.select(sa.func.count()).select_from(statement.with_only_columns(self._order[0]).subquery())
        return (await self._reader.rows(counted))[0][0]

    def _filter(self, now: float) -> Filter:
        return Filter(self._reader.dialect, self._view, now, self._zone)

    def _position(self, row: Row) -> Position:
        number, last = (getattr(row, column.name) for column in self._order)
        return number, last

    def _search(
        self, connection: sa.Connection, statement: Rows, page: Page, test: Callable[[Row], bool], most: int | None
    ) -> list[Row]:
        """Rows that pass a test, read in portions."""
        searched = statement.add_columns(*(column.label(name) for name, column in self._view.searched.items()))
        found: list[Row] = []
        cursor = page.cursor
        while True:
            portion = Page(limit=AT_A_TIME, cursor=cursor, oldest_first=page.oldest_first)
            rows = connection.execute(select_page(searched, self._order, portion)).all()
            found += [row for row in rows[:AT_A_TIME] if test(row)]
            if len(rows) <= AT_A_TIME or (most is not None and len(found) >= most):
                return found if most is None else found[:most]
            cursor = write_cursor(self._position(rows[AT_A_TIME - 1]))
