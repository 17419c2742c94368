"""Reads of a SQLite file: a question is one call into the thread of a connection that is kept for it.

SQLAlchemy's adapter makes four such calls for a query, and more of its own: together five times as much.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fleetprompt.engine.store.reading import Question, Reader


class SqliteReader(Reader):
    """The read side of an open file."""

    _kept: AsyncConnection | None = None
    _driver: aiosqlite.Connection | None = None

    async def open(self, engine: AsyncEngine) -> None:
        """Use this engine from now on, and one of its connections for questions."""
        await super().open(engine)
        try:
            self._kept = await engine.connect()
        except DBAPIError as error:
            await super().close()
            raise self.dialect.explain(error, self.where) or error from error
        driver = (await self._kept.get_raw_connection()).driver_connection
        assert isinstance(driver, aiosqlite.Connection)
        self._driver = driver

    async def close(self) -> None:
        """Close every connection."""
        kept, self._kept, self._driver = self._kept, None, None
        if kept is not None:
            await kept.close()
        await super().close()

    async def ask(self, question: Question, *values: Any) -> Sequence[Sequence[Any]]:
        """See `Reader.ask`."""
        if self._driver is None:
            raise self.closed()
        try:
            return [*await self._driver.execute_fetchall(question.sql, values)]
        except (sqlite3.Error, ValueError) as error:
            # ValueError: the driver says so when the store was closed while the question was on its way.
            explained = self.closed() if isinstance(error, ValueError) else self.dialect.explain(error, self.where)
            if explained is None:
                raise
            raise explained from error
