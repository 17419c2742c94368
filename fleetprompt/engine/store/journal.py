"""The journal on disk: appends go to the writer, reads to the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.ports import Append, Appended, Corrupt, Stored
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.dialect import Rows
from fleetprompt.engine.store.reading import Question, Reader, of_tenant
from fleetprompt.engine.store.tables import PRUNED, counters, journal
from fleetprompt.engine.store.tables import runs as heads
from fleetprompt.engine.store.writer import Writer, into

ALL = 2**63 - 1
"""`upto` of whoever wants every fact: the largest number that a database can compare with."""
AT_A_TIME = 200
"""Runs that one query asks for."""


def _text(literal: str) -> sa.ColumnElement[str]:
    return sa.literal_column(literal, sa.Text())


class SqlJournal:
    """The one log."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        of_run = _facts().where(
            journal.c.run == sa.bindparam("wanted"),
            journal.c.n > sa.bindparam("after"),
            journal.c.n <= sa.bindparam("upto"),
        )
        self._of_run = Question(reader.dialect, of_run.order_by(journal.c.n))
        mine = of_run.where(journal.c.tenant == sa.bindparam("whose"))
        self._of_run_of = Question(reader.dialect, mine.order_by(journal.c.n))
        highest = sa.select(sa.func.max(journal.c.seq)).scalar_subquery()
        floor = sa.select(counters.c.value).where(counters.c.tenant == _text("''"), counters.c.name == _text("'seq'"))
        self._position = Question(reader.dialect, sa.select(highest, floor.scalar_subquery()))
        whose: sa.BindParameter[str] = sa.bindparam("whose")
        pruned = sa.select(counters.c.value).where(counters.c.tenant == whose, counters.c.name == _text(f"'{PRUNED}'"))
        self._pruned = Question(reader.dialect, pruned)

    @property
    def commits(self) -> int:
        """Transactions committed by this process."""
        return self._writer.commits

    def post(self, entry: Append, then: Callable[[Appended | Exception], None]) -> None:
        """Make an entry durable, see the port. Raises `ValueError` for an entry that contradicts itself."""
        projection.check(entry)
        self._writer.post(entry, then)

    def append(self, entry: Append) -> asyncio.Future[Appended]:
        """The same for who waits."""
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self.post(entry, into(future))
        return future

    async def facts(
        self, run: str, *, after: int = 0, upto: int | None = None, tenant: str | None = None
    ) -> list[Stored | Corrupt]:
        """A run's facts in order, from n > after to n <= upto."""
        given = (run, after, ALL if upto is None else upto)
        ask = self._reader.ask
        rows = await (ask(self._of_run, *given) if tenant is None else ask(self._of_run_of, *given, tenant))
        return [_read(*row) for row in rows]

    async def last(self, runs: Sequence[str], *, tenant: str | None = None) -> dict[str, Stored | Corrupt]:
        """The last fact of each of these runs, by run."""
        found: dict[str, Stored | Corrupt] = {}
        # Its number stands in the run's row: to look for the highest would go through all that a run has.
        ends = sa.and_(journal.c.run == heads.c.id, journal.c.n == heads.c.n, journal.c.tenant == heads.c.tenant)
        for at in range(0, len(runs), AT_A_TIME):
            wanted = _facts().join(heads, ends).where(heads.c.id.in_(runs[at : at + AT_A_TIME]))
            for row in await self._reader.rows(wanted.where(*of_tenant(heads, tenant))):
                read = _read(*row)
                found[read.run] = read
        return found

    async def histories(self, runs: Sequence[str]) -> dict[str, list[AnyFact] | Corrupt]:
        """Whole histories; an unknown run has an empty one, one with a hole or an unreadable fact is `Corrupt`."""
        found: dict[str, list[AnyFact] | Corrupt] = {run: [] for run in runs}
        if len(runs) == 1:
            for row in await self._reader.ask(self._of_run, runs[0], 0, ALL):
                self._add(found, _read(*row))
            return found
        for at in range(0, len(runs), AT_A_TIME):
            query = _facts().where(journal.c.run.in_(runs[at : at + AT_A_TIME])).order_by(journal.c.run, journal.c.n)
            for row in await self._reader.rows(query):
                self._add(found, _read(*row))
        return found

    def _add(self, found: dict[str, list[AnyFact] | Corrupt], read: Stored | Corrupt) -> None:
        facts = found[read.run]
        if isinstance(facts, Corrupt):
            return
        if isinstance(read, Corrupt):
            found[read.run] = read
        elif read.n != len(facts) + 1:
            found[read.run] = Corrupt(seq=read.seq, run=read.run, n=len(facts) + 1, reason="the fact is missing")
        else:
            facts.append(read.fact)

    async def since(self, seq: int, limit: int = 1000, *, tenant: str | None = None) -> list[Stored | Corrupt]:
        """Facts of all runs of a tenant after a position; never one below a position that was seen."""
        wanted = _facts().where(journal.c.seq > seq, *of_tenant(journal, tenant))
        rows = await self._reader.rows(wanted.order_by(journal.c.seq).limit(limit))
        return [_read(*row) for row in rows]

    async def position(self) -> int:
        """The highest `seq` ever given."""
        return max(value or 0 for value in (await self._reader.ask(self._position))[0])

    async def pruned(self, tenant: str = "default") -> int:
        """The highest `seq` of the tenant's that was pruned."""
        return max((value for (value,) in await self._reader.ask(self._pruned, tenant)), default=0)


def _facts() -> Rows:
    return sa.select(journal.c.seq, journal.c.run, journal.c.n, journal.c.data)


def _read(seq: int, run: str, n: int, data: Any) -> Stored | Corrupt:
    try:
        return Stored(seq=seq, run=run, n=n, fact=codec.decode(data))
    except codec.CorruptFact as error:
        return Corrupt(seq=seq, run=run, n=n, reason=str(error))
