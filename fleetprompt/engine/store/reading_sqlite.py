"""Reads of a SQLite file: a question is one call into the thread of a connection that is kept for it.

SQLAlchemy's adapter makes four such calls for a query, and more of its own: together five times as much.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.reading import Question, Reader

T = TypeVar("T")

AGAIN_SECONDS = 0.05
"""How long a read that was given up may go on before it is told again."""


class SqliteReader(Reader):
    """The read side of an open file."""

    _kept: AsyncConnection | None = None
    _driver: aiosqlite.Connection | None = None

    def __init__(self, dialect: Dialect, where: str) -> None:
        super().__init__(dialect, where)
        self._reads: dict[asyncio.Task[Any], _Asked[Any]] = {}
        """Whatever is being read, also where nobody waits for it any more."""

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
        """Close every connection, once nothing is read any more."""
        kept, self._kept, self._driver = self._kept, None, None
        if kept is not None:
            await kept.close()
        while self._reads:
            for asked in [*self._reads.values()]:
                await asked.stop()
            await asyncio.wait(self._reads, timeout=AGAIN_SECONDS)
        await super().close()

    async def run(self, query: Callable[[sa.Connection], T]) -> T:
        """See `Reader.run`. If nobody waits any more, what is read is given up, and the connection goes back whole."""
        # Cancelled in the middle, SQLAlchemy throws the connection away; cancelled once more while it does so, as at
        # the end of the loop, it leaves a task behind that never ends: it waits for a thread that has stopped.
        asked = _Asked(query)
        reading = asyncio.get_running_loop().create_task(super().run(asked))
        self._reads[reading] = asked
        reading.add_done_callback(self._put_away)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            asked.given_up = True
            while await asked.stop():
                await asyncio.wait([reading], timeout=AGAIN_SECONDS)
            raise

    def _put_away(self, reading: asyncio.Task[Any]) -> None:
        del self._reads[reading]
        # How it ended is known to whoever waits; else nobody asks, and asyncio would complain.
        if not reading.cancelled():
            reading.exception()

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


class _Asked(Generic[T]):
    """A query that can be given up while a connection is at it."""

    def __init__(self, query: Callable[[sa.Connection], T]) -> None:
        self.given_up = False
        """Nobody waits for it any more."""
        self._query = query
        self._at: aiosqlite.Connection | None = None
        """What is at it now: nobody else's query runs there meanwhile."""

    def __call__(self, connection: sa.Connection) -> T:
        if self.given_up:
            raise asyncio.CancelledError
        driver = connection.connection.driver_connection
        assert isinstance(driver, aiosqlite.Connection)
        self._at = driver
        try:
            return self._query(connection)
        finally:
            self._at = None

    async def stop(self) -> bool:
        """If it is given up, read no further; whether a connection is at it still. What is on its way to the thread of
        the connection does not hear of it."""
        if self.given_up and self._at is not None:
            await self._at.interrupt()
        return self._at is not None
