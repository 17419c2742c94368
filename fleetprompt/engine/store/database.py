"""The store on a database: opens it, hands out its parts, looks after it."""

from __future__ import annotations

import asyncio
from datetime import UTC, tzinfo
from pathlib import Path

from fleetprompt.engine.store import dialect as sqlite
from fleetprompt.engine.store import lines, schema
from fleetprompt.engine.store.approvals import SqlApprovals
from fleetprompt.engine.store.blobs import SqlBlobs
from fleetprompt.engine.store.catalog import SqlCatalog
from fleetprompt.engine.store.claims import SqlClaims
from fleetprompt.engine.store.dialect import SqliteDialect
from fleetprompt.engine.store.journal import SqlJournal
from fleetprompt.engine.store.logs import SqlLogs
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.runs import SqlRuns
from fleetprompt.engine.store.signals import SqlSignals
from fleetprompt.engine.store.writer import SqliteWriter


class SqlStore:
    """A whole store in one SQLite file. `zone` is where the days of filters such as `since:today` begin."""

    def __init__(self, path: str | Path, *, zone: tzinfo = UTC, log_cap: int = lines.STEP_CAP) -> None:
        self.path = Path(path)
        dialect = SqliteDialect()
        self._reader = Reader(dialect, str(path))
        self._writer = SqliteWriter(str(path))
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
