"""The store on a database: opens it, hands out its parts, looks after it."""

from __future__ import annotations

import asyncio
from datetime import UTC, tzinfo
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from fleetprompt.engine.ports import Health
from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store import lines, schema, writer
from fleetprompt.engine.store.approvals import SqlApprovals
from fleetprompt.engine.store.backup import backup
from fleetprompt.engine.store.blobs import SqlBlobs
from fleetprompt.engine.store.catalog import SqlCatalog
from fleetprompt.engine.store.checking import examine
from fleetprompt.engine.store.claims import SqlClaims
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.journal import SqlJournal
from fleetprompt.engine.store.logs import SqlLogs
from fleetprompt.engine.store.pruning import Pruning
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.runs import SqlRuns
from fleetprompt.engine.store.signals import SqlSignals
from fleetprompt.engine.store.writer import SqliteWriter


class SqlStore:
    """A whole store in one SQLite file.

    `zone` is where the days of filters such as `since:today` begin, `log_cap` how many bytes of log an attempt at a
    step may leave, `patience` how many seconds a write waits for another process that holds the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        zone: tzinfo = UTC,
        log_cap: int = lines.STEP_CAP,
        patience: float = writer.PATIENCE,
    ) -> None:
        self.path = Path(path)
        dialect = SqliteDialect()
        self._reader = Reader(dialect, str(path))
        self._writer = SqliteWriter(str(path), patience=patience)
        self.journal = SqlJournal(self._reader, self._writer)
        self.runs = SqlRuns(self._reader, zone)
        self.signals = SqlSignals(self._reader, self._writer, zone)
        self.approvals = SqlApprovals(self._reader, zone)
        self.catalog = SqlCatalog(self._reader, self._writer)
        self.blobs = SqlBlobs(self._reader, self._writer)
        self.claims = SqlClaims(self._reader)
        self.logs = SqlLogs(self._reader, self._writer, log_cap)

    async def open(self) -> None:
        """Connect, create or upgrade the schema. Raises `StoreUnavailable`."""
        await asyncio.to_thread(schema.prepare, self.path, self._reader.dialect)
        self._reader.open(sqlite.reading_engine(str(self.path)))
        self._writer.open()

    async def close(self) -> None:
        """Write what is queued and disconnect."""
        await self.logs.close()
        await self._writer.close()
        await self._reader.close()

    async def changed(self, token: int) -> int:
        """A number that differs from `token` once another process has written."""
        return await self._writer.version()

    async def prune(
        self, *, before: float, logs_before: float | None = None, tenant: str = "default"
    ) -> dict[str, int]:
        """Delete finished runs that ended before a time, with all that is theirs, and routed signals as old; counts
        by table. What a parent still waits for stays. Raises `StoreUnavailable`, with a part of it done."""
        pruning = Pruning(self._reader.dialect, tenant, before, logs_before)
        await self._writer.between(pruning)
        return dict(pruning.counts)

    async def check(self) -> Health:
        """Read the whole store and say what is wrong with it. Raises `StoreUnavailable` if it cannot be read."""
        return await asyncio.to_thread(self._examine)

    def _examine(self) -> Health:
        engine = sqlite.checking_engine(str(self.path))
        try:
            with engine.connect() as connection:
                return examine(connection, self._reader.dialect)
        except DBAPIError as error:
            raise self._reader.dialect.explain(error, str(self.path)) or error from error
        finally:
            engine.dispose()

    async def backup(self, target: Path) -> int:
        """Copy the store to a new file while it is in use; its size in bytes. Raises `Refused`, `StoreUnavailable`."""
        return await asyncio.to_thread(backup, self.path, target)
