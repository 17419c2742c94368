"""A SQLite file as a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import Health
from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store import schema
from fleetprompt.engine.store.backup import backup
from fleetprompt.engine.store.checking import examine
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.reading_sqlite import SqliteReader
from fleetprompt.engine.store.room import GivingBack, Room, compact, measure
from fleetprompt.engine.store.writer_sqlite import SqliteWriter


class SqliteBackend:
    """One file. `patience` is how many seconds a write waits for another process that holds it."""

    def __init__(self, path: Path, patience: float) -> None:
        self.path = path
        self.dialect = SqliteDialect()
        self.reader = SqliteReader(self.dialect, str(path))
        self.writer = SqliteWriter(str(path), patience)

    async def upgrade(self) -> str:
        """Make or upgrade the file."""
        await asyncio.to_thread(schema.prepare, self.path, self.dialect)
        return schema.HEAD

    async def open(self) -> None:
        """Make or upgrade the file, start the pool and the writer."""
        await self.upgrade()
        await self.reader.open(sqlite.reading_engine(str(self.path)))
        self.writer.open()

    async def close(self) -> None:
        """Stop the writer when it has written, then the pool."""
        await self.writer.close()
        await self.reader.close()

    def lease(self) -> None:
        """None: the lock is a file beside the store."""

    async def examine(self) -> Health:
        """Read everything, in a thread of its own."""
        return await asyncio.to_thread(self._examine)

    def _examine(self) -> Health:
        engine = sqlite.checking_engine(str(self.path))
        try:
            with engine.connect() as connection:
                return examine(connection, self.dialect)
        except DBAPIError as error:
            raise self.dialect.explain(error, str(self.path)) or error from error
        finally:
            engine.dispose()

    async def size(self) -> tuple[int, int]:
        """Of the file, and of the write-ahead log beside it."""
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            return self.path.stat().st_size, log.stat().st_size if log.exists() else 0
        except OSError as error:
            raise StoreUnavailable(f"its size cannot be told: {error.strerror}", where=str(self.path)) from error

    async def shrink(self, *, whole: bool) -> Room:
        """Give back what is unused, in slices beside other work, or write the whole file anew."""
        before, _ = await asyncio.to_thread(measure, self.path)
        await (asyncio.to_thread(compact, self.path) if whole else self.writer.between(GivingBack()))
        after, unused = await asyncio.to_thread(measure, self.path)
        return Room(max(0, before - after), unused)

    async def backup(self, target: Path) -> int:
        """Copy the file while it is in use."""
        return await asyncio.to_thread(backup, self.path, target)
