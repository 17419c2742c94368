"""The store on a database: its parts, and the care that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path

import sqlalchemy as sa

from fleetprompt.engine.ports import Health, Lease, Store
from fleetprompt.engine.store import lines, url
from fleetprompt.engine.store.agent_sessions import SqlAgentSessions
from fleetprompt.engine.store.approvals import SqlApprovals
from fleetprompt.engine.store.audit import SqlAudit
from fleetprompt.engine.store.blobs import SqlBlobs
from fleetprompt.engine.store.budgets import SqlBudgets
from fleetprompt.engine.store.catalog import SqlCatalog
from fleetprompt.engine.store.claims import SqlClaims
from fleetprompt.engine.store.dead_letters import SqlDeadLetters
from fleetprompt.engine.store.deliveries import SqlDeliveries
from fleetprompt.engine.store.figures import SqlFigures
from fleetprompt.engine.store.firings import SqlFirings
from fleetprompt.engine.store.grants import SqlGrants
from fleetprompt.engine.store.journal import SqlJournal
from fleetprompt.engine.store.kept_answers import SqlKeptAnswers
from fleetprompt.engine.store.logs import SqlLogs
from fleetprompt.engine.store.memories import SqlMemories
from fleetprompt.engine.store.memory import MemoryStore
from fleetprompt.engine.store.operations import SqlOperations
from fleetprompt.engine.store.pruning import Pruning
from fleetprompt.engine.store.room import Room
from fleetprompt.engine.store.runs import SqlRuns
from fleetprompt.engine.store.signals import SqlSignals
from fleetprompt.engine.store.tables import runs, signals, tokens, workflows
from fleetprompt.engine.store.tokens import SqlTokens

PATIENCE = 15.0
"""Seconds that a write waits for another process, by default."""


def store_at(target: str | Path, *, zone: tzinfo = UTC) -> Store:
    """The store that a path, a database URL or `memory:` means; not open yet. Raises `InvalidInput`."""
    return MemoryStore(zone=zone) if target == "memory:" else SqlStore(target, zone=zone)


class SqlStore:
    """A whole store in a SQLite file or a Postgres database, see `url.backend` for how to say which.

    `zone` is where the days of filters such as `since:today` begin, `log_cap` how many bytes of log an attempt at a
    step may leave, `patience` how many seconds a write waits for another process that holds the database.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        zone: tzinfo = UTC,
        log_cap: int = lines.STEP_CAP,
        patience: float = PATIENCE,
    ) -> None:
        self._backend = url.backend(target, patience)
        reader, writer = self._backend.reader, self._backend.writer
        self.where = reader.where
        """How people call it: its path, or its URL without the password."""
        self.journal = SqlJournal(reader, writer)
        self.runs = SqlRuns(reader, zone)
        self.signals = SqlSignals(reader, writer, zone)
        self.approvals = SqlApprovals(reader, zone)
        self.catalog = SqlCatalog(reader, writer)
        self.blobs = SqlBlobs(reader, writer)
        self.claims = SqlClaims(reader)
        self.budgets = SqlBudgets(reader)
        self.grants = SqlGrants(reader, writer)
        self.firings = SqlFirings(reader, writer, zone)
        self.deliveries = SqlDeliveries(reader, writer, zone)
        self.dead_letters = SqlDeadLetters(reader, writer, zone)
        self.memories = SqlMemories(reader, writer)
        self.tokens = SqlTokens(reader, writer)
        self.operations = SqlOperations(reader, writer)
        self.audit = SqlAudit(reader, writer)
        self.kept_answers = SqlKeptAnswers(reader, writer)
        self.agents = SqlAgentSessions(reader, zone)
        self.figures = SqlFigures(reader, zone)
        self.logs = SqlLogs(reader, writer, log_cap)

    def lease(self) -> Lease | None:
        """The right to drive its runs, where the database gives it; None where a lock on a file beside it does."""
        return self._backend.lease()

    async def upgrade(self) -> str:
        """Create the schema or bring it to this version, without opening the store; `open` does so, too.

        The version. Raises `StoreUnavailable`, and then nothing has changed.
        """
        return await self._backend.upgrade()

    async def open(self) -> None:
        """Connect, create or upgrade the schema. Raises `StoreUnavailable`."""
        await self._backend.open()

    async def close(self) -> None:
        """Write what is queued and disconnect."""
        await self.logs.close()
        await self._backend.close()

    async def changed(self, token: int) -> int:
        """A number that differs from `token` once another process has written; on Postgres also for what this one
        wrote. Raises `StoreUnavailable`."""
        return await self._backend.writer.version()

    async def prune(
        self,
        *,
        before: float,
        logs_before: float | None = None,
        tenant: str = "default",
        workflows: Mapping[str, float] | None = None,
    ) -> dict[str, int]:
        """Delete finished runs that ended before a time, with all that is theirs, and routed signals as old; counts
        by table. What a parent still waits for stays. `workflows`: times of their own for the runs of some. Raises
        `StoreUnavailable`, with a part of it done."""
        pruning = Pruning(self._backend.reader.dialect, tenant, before, logs_before, workflows or {})
        await self._backend.writer.between(pruning)
        return dict(pruning.counts)

    async def shrink(self, *, whole: bool = False) -> Room:
        """Give back to the disk what deleted rows took. `whole` writes everything anew: nobody else can write
        meanwhile, and twice the room is needed. Raises `StoreUnavailable`, `Refused`."""
        return await self._backend.shrink(whole=whole)

    async def size(self) -> tuple[int, int]:
        """Bytes that it takes: of the data, and of the log that is written ahead of it (on Postgres that belongs to the
        server, and is 0). Raises `StoreUnavailable`."""
        return await self._backend.size()

    async def alone(self, tenant: str) -> bool:
        """Whether nobody else has a workflow, a run, a signal or a token here. Raises `StoreUnavailable`."""
        # Two ranges, each found by an index: rows that are not of a tenant would be looked for among all that are.
        others = (
            sa.select(sa.literal(1)).where(beside).limit(1)
            for table in (workflows, runs, signals, tokens)
            for beside in (table.c.tenant < tenant, table.c.tenant > tenant)
        )
        found = sa.select(sa.or_(*(sa.exists(other) for other in others)).label("others"))
        return not (await self._backend.reader.rows(found))[0].others

    async def check(self) -> Health:
        """Read the whole store and say what is wrong with it. Raises `StoreUnavailable` if it cannot be read."""
        return await self._backend.examine()

    async def backup(self, target: Path) -> int:
        """Copy the store to a new file while it is in use; its size in bytes. Raises `Refused`, `StoreUnavailable`."""
        return await self._backend.backup(target)
