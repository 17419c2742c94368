"""A Postgres database, or one schema of it, as a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] (it has none)
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fleetprompt.engine.core.errors import InvalidInput, Refused
from fleetprompt.engine.ports import Health
from fleetprompt.engine.store import schema
from fleetprompt.engine.store.checking import examine
from fleetprompt.engine.store.dialect_postgres import PostgresDialect
from fleetprompt.engine.store.lease import EngineLease
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.room import Room
from fleetprompt.engine.store.writer_postgres import PostgresWriter

READERS = 5


class PostgresBackend:
    """A database; `?schema=NAME` keeps several stores apart in one. Its pools live from `open` to `close`."""

    def __init__(self, url: sa.URL, patience: float) -> None:
        self._schema = str(url.query.get("schema", ""))
        if self._schema and not re.fullmatch("[a-z_][a-z0-9_]{0,62}", self._schema):
            raise InvalidInput(f"`{self._schema}` cannot name a schema", hint="use a to z, 0 to 9 and _")
        self._url = url.set(drivername="postgresql+asyncpg").difference_update_query(["schema"])
        self._patience = patience
        self.dialect = PostgresDialect()
        where = url.render_as_string()
        self.reader = Reader(self.dialect, where)
        self.writer = PostgresWriter(self.dialect, where, patience)
        self._writing: AsyncEngine | None = None

    async def upgrade(self) -> str:
        """Create or upgrade the tables."""
        engine = self._engine(pool_size=1)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(schema.prepare_postgres, self.dialect, self._schema, self.reader.where)
        except (DBAPIError, OSError, asyncpg.PostgresError) as error:
            raise self.dialect.explain(error, self.reader.where) or error from error
        finally:
            await engine.dispose()
        return schema.HEAD

    async def open(self) -> None:
        """Connect; create or upgrade the tables. Raises `StoreUnavailable`."""
        await self.upgrade()
        self._writing = self._engine(pool_size=1, max_overflow=0)
        self.writer.open(self._writing)
        await self.reader.open(self._engine(pool_size=READERS, pool_pre_ping=True, isolation_level="AUTOCOMMIT"))

    def _engine(self, **options: Any) -> AsyncEngine:
        # Planning by just-in-time compilation costs more than any query here.
        settings = {"jit": "off", "lock_timeout": f"{round(self._patience * 1000)}"}
        settings["application_name"] = f"fleetprompt {self._schema}".strip()
        if self._schema:
            settings["search_path"] = self._schema
        return create_async_engine(self._url, connect_args={"server_settings": settings}, **options)

    async def close(self) -> None:
        """Stop the writer when it has written, then close all connections."""
        await self.writer.close()
        await self.reader.close()
        if self._writing is not None:
            await self._writing.dispose()
            self._writing = None

    def lease(self) -> EngineLease:
        """The right to drive the runs of this store."""
        dsn = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return EngineLease(dsn, self._schema, lambda error: self.dialect.explain(error, self.reader.where))

    async def examine(self) -> Health:
        """Read everything."""
        return await self.reader.run(lambda connection: examine(connection, self.dialect))

    async def size(self) -> tuple[int, int]:
        """The tables with their indexes."""
        return await self.reader.run(self.dialect.size), 0

    async def shrink(self, *, whole: bool) -> Room:
        """Nothing: the server looks after its own room. Refused, if it is to write everything anew."""
        if whole:
            raise Refused("a Postgres store is not written anew from here", hint="use VACUUM FULL")
        return Room()

    async def backup(self, target: Path) -> int:
        """Refused: Postgres has its own means."""
        raise Refused(f"a Postgres store is not copied to {target}", hint="use pg_dump")
