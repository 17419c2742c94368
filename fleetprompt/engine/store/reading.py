"""Reads: queries are plain functions over a connection, run in a small pool that never blocks the event loop.

What the engine asks all the time is a `Question`: compiled once, its values given by position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.store.dialect import Dialect, Row, Rows

T = TypeVar("T")


class Question:
    """A query that is asked again and again, with a value for each `sa.bindparam` in the order of the statement."""

    def __init__(self, dialect: Dialect, statement: Rows) -> None:
        self._dialect = dialect
        self._statement = statement

    @cached_property
    def sql(self) -> str:
        """Its text; made when it is asked for the first time."""
        return self._dialect.compile(self._statement)


class Reader:
    """The read side of an open store."""

    def __init__(self, dialect: Dialect, where: str) -> None:
        self.dialect = dialect
        self.where = where
        self._engine: AsyncEngine | None = None

    async def open(self, engine: AsyncEngine) -> None:
        """Use this engine from now on."""
        self._engine = engine

    async def close(self) -> None:
        """Close every connection of the pool."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    def closed(self) -> StoreUnavailable:
        """The error of whoever reads a store that is not open."""
        return StoreUnavailable("the store is closed", where=self.where, hint="open it first")

    async def run(self, query: Callable[[sa.Connection], T]) -> T:
        """What a query finds. Raises `StoreUnavailable`."""
        if self._engine is None:
            raise self.closed()
        try:
            async with self._engine.connect() as connection:
                return await connection.run_sync(query)
        except (DBAPIError, OSError) as error:
            explained = self.dialect.explain(error, self.where)
            if explained is None:
                raise
            raise explained from error

    async def rows(self, statement: Rows) -> Sequence[Row]:
        """Every row of a query."""
        return await self.run(lambda connection: connection.execute(statement).all())

    async def ask(self, question: Question, *values: Any) -> Sequence[Sequence[Any]]:
        """Every row that answers a question, its columns as the driver gives them. Raises `StoreUnavailable`."""
        return await self.run(lambda connection: connection.exec_driver_sql(question.sql, values).all())


def of_tenant(table: sa.Table, tenant: str | None) -> list[sa.ColumnElement[bool]]:
    """What tells the rows of a tenant; nothing where they are wanted whosever they are."""
    return [table.c.tenant == tenant] if tenant is not None else []


def find_ids(connection: sa.Connection, table: sa.Table, text: str, tenant: str) -> list[str]:
    """Ids of a table that equal, begin or end with a text: the equal one first, then newest (largest) first."""
    if not text:
        return []
    id_ = table.c.id
    begins = sa.func.substr(id_, 1, len(text)) == text
    ends = sa.func.substr(id_, sa.func.length(id_) - len(text) + 1) == text
    query = (
        sa.select(id_)
        .where(table.c.tenant == tenant, sa.func.length(id_) >= len(text), sa.or_(begins, ends))
        .order_by(id_ != text, id_.desc())
        .limit(10)
    )
    return [*connection.execute(query).scalars()]
