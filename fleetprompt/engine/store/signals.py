"""Signals on disk: published once, routed with the facts they cause, answered by result rows."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS
from fleetprompt.engine.core.signal import VOTE, Result, Signal
from fleetprompt.engine.ports import Lineage, Page, Publication, RunHead, Unheard
from fleetprompt.engine.store import audit, projection
from fleetprompt.engine.store.approvals import insert_vote
from fleetprompt.engine.store.dead_letters import bury, revive
from fleetprompt.engine.store.extras import Extras, signal_row
from fleetprompt.engine.store.filters import Condition, Expression, View
from fleetprompt.engine.store.lineage import STARTING, trace
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.publishing import Publisher, earlier
from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.run_rows import read_head
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import CAUSED, CORRELATED, KEYED, dead_letters, results, runs, signals
from fleetprompt.engine.store.writer import Writer

_decode = msgspec.json.Decoder(Signal).decode


class SqlSignals:
    """Signals, their results and their routing state. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, writer: Writer, zone: tzinfo) -> None:
        self._reader = reader
        self._writer = writer
        self._listing = Listing(reader, _VIEW, (signals.c.seq, signals.c.id), zone)
        self._statements = Statements(reader.dialect)
        self._publisher = Publisher(reader.dialect, writer)
        given = signals.c.id == sa.bindparam("given")
        of_signal = results.c.signal == sa.bindparam("given")
        unrouted = sa.select(signals.c.seq, signals.c.data).where(sa.not_(signals.c.routed)).order_by(signals.c.seq)
        whose: sa.BindParameter[str] = sa.bindparam("whose")
        one = sa.select(signals.c.seq, signals.c.data).where(given)
        self._get = Question(reader.dialect, one)
        self._get_of = Question(reader.dialect, one.where(signals.c.tenant == whose))
        of_key = (signals.c.tenant == sa.bindparam("tenant"), signals.c.key == sa.bindparam("key"), KEYED)
        self._of_key = Question(reader.dialect, sa.select(signals.c.seq, signals.c.data).where(*of_key))
        routed, came = sa.select(signals.c.routed).where(given), sa.select(*_RESULT).where(of_signal)
        self._routed = Question(reader.dialect, routed)
        self._results = Question(reader.dialect, came.order_by(results.c.run))
        self._routed_of = Question(reader.dialect, routed.where(signals.c.tenant == whose))
        self._results_of = Question(reader.dialect, came.where(results.c.tenant == whose).order_by(results.c.run))
        self._unrouted = Question(reader.dialect, unrouted.limit(sa.bindparam("most")).offset(sa.literal_column("0")))
        left = sa.select(signals.c.seq).where(sa.not_(signals.c.routed)).limit(sa.bindparam("most"))
        counted = sa.select(sa.func.count()).select_from(left.offset(sa.literal_column("0")).subquery())
        self._backlog = Question(reader.dialect, counted)

    async def publish(self, signal: Signal, *, unheard: Unheard | None = None) -> Publication:
        """Store a signal as new, or find the earlier one with its id or key.

        Raises `Refused` for a vote that does not count, and `InvalidInput` for a vote that is none.
        """
        if signal.type == VOTE:
            ballot = projection.ballot(signal)
            return await self._writer.work(lambda session: self._vote(session, signal, ballot))
        return await self._publisher.publish(signal, unheard)

    def _vote(self, session: Session, signal: Signal, ballot: projection.Ballot) -> Publication:
        if self._statements.signals_insert.execute(session, [signal_row(signal)]):
            insert_vote(session.connection, signal, ballot)
            ((seq, _),) = self._statements.signal_rows.fetch(session, [(signal.id,)])
            if signal.audit is not None:
                audit.write(session, self._statements.dialect, [signal.audit])
            return Publication(signal=msgspec.structs.replace(signal, sequence=seq, audit=None))
        found = earlier(session, signal)
        if isinstance(found, Refused):
            raise found
        return found

    async def unrouted(self, limit: int = 1000) -> builtins.list[Signal]:
        """Signals nobody has routed yet, oldest first."""
        return [_read(*row) for row in await self._reader.ask(self._unrouted, limit)]

    async def backlog(self, most: int = 1000) -> int:
        """How many signals nobody has routed yet."""
        return int((await self._reader.ask(self._backlog, most))[0][0])

    async def close(
        self,
        signal: str,
        results: Iterable[Result] = (),
        *,
        dead: Iterable[DeadLetter] = (),
        revived: Sequence[str] = (),
    ) -> None:
        """Mark a signal routed, with results that belong to no run, and what is dead of it. Raises `NotFound`."""
        given, letters = list(results), list(dead)
        await self._writer.work(lambda session: self._close(session, signal, given, letters, revived))

    def _close(
        self,
        session: Session,
        signal: str,
        given: builtins.list[Result],
        dead: builtins.list[DeadLetter],
        revived: Sequence[str],
    ) -> None:
        rows = self._statements.signal_rows.fetch(session, [(signal,)])
        if not rows:
            raise NotFound(f"there is no signal {signal}")
        tenant = rows[0][1]
        bury(session.connection, dead)
        revive(session.connection, revived, tenant)
        extras = Extras()
        for result in given:
            extras.add_result(result, tenant)
        extras.add_routed(signal, tenant)
        extras.write(self._statements, session, alone=True)

    async def get(self, signal: str, tenant: str | None = None) -> Signal | None:
        """The signal of that id, if it is the tenant's."""
        ask = self._reader.ask
        rows = await (ask(self._get, signal) if tenant is None else ask(self._get_of, signal, tenant))
        return _read(*rows[0]) if rows else None

    async def of_key(self, key: str, tenant: str = "default") -> Signal | None:
        """The signal that has this key."""
        found = await self._reader.ask(self._of_key, tenant, key)
        return _read(*found[0]) if found else None

    async def results(self, signal: str, tenant: str | None = None) -> tuple[bool, builtins.list[Result]]:
        """Whether it is routed, and what came of it so far, by run."""
        routed_by, came_of = (self._routed, self._results) if tenant is None else (self._routed_of, self._results_of)
        given = (signal,) if tenant is None else (signal, tenant)
        # In this order: what is routed has all its results, and a result may come between the two questions.
        routed = await self._reader.ask(routed_by, *given)
        found = await self._reader.ask(came_of, *given)
        return bool(routed and routed[0][0]), [_result(*row) for row in found]

    async def answers(
        self, ids: Sequence[str], tenant: str = "default"
    ) -> dict[str, tuple[bool, builtins.list[Result]]]:
        """Whether each of many is routed, and what came of it so far, by run."""
        wanted = sa.select(signals.c.id, signals.c.routed).where(signals.c.tenant == tenant, signals.c.id.in_(ids))
        found = {row.id: (bool(row.routed), list[Result]()) for row in await self._reader.rows(wanted)}
        came = sa.select(*_RESULT).where(results.c.tenant == tenant, results.c.signal.in_(ids))
        for row in await self._reader.rows(came.order_by(results.c.run)):
            if row.signal in found:
                found[row.signal][1].append(_result(*row))
        return found

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Signal], str]:
        """Matching signals and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        of_tenant = sa.select(signals.c.seq, signals.c.data, signals.c.id).where(signals.c.tenant == tenant)
        rows, cursor = await self._listing.page(of_tenant, query, page, now)
        return [_read(row.seq, row.data) for row in rows], cursor

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        """The ids of all matching signals, the newest first. Raises `InvalidInput` for a bad filter."""
        of_tenant = sa.select(signals.c.seq, signals.c.data, signals.c.id).where(signals.c.tenant == tenant)
        return await self._listing.every(of_tenant, query, now)

    async def several(self, ids: Sequence[str], tenant: str = "default") -> builtins.list[Signal]:
        """The signals of these ids, the oldest first."""
        wanted = sa.select(signals.c.seq, signals.c.data).where(signals.c.tenant == tenant, signals.c.id.in_(ids))
        return [_read(row.seq, row.data) for row in await self._reader.rows(wanted.order_by(signals.c.seq))]

    async def lineage(self, signal: str, tenant: str = "default") -> Lineage | None:
        """Where a signal came from and what came of it; None for one that the tenant does not have."""
        found = await self.get(signal, tenant)
        return await trace(_Relations(self._reader, tenant), found) if found is not None else None


class _Relations:
    """What lineages ask of the database, each answered from an index."""

    def __init__(self, reader: Reader, tenant: str) -> None:
        self._reader = reader
        self._tenant = tenant

    async def signals_of(self, ids: Sequence[str]) -> dict[str, Signal]:
        """By id."""
        return {each.id: each for each in await self._select(signals.c.id.in_(ids))}

    async def runs_of(self, ids: Sequence[str]) -> dict[str, RunHead]:
        """By id."""
        query = sa.select(runs).where(runs.c.tenant == self._tenant, runs.c.id.in_(ids))
        return {row.id: read_head(row) for row in await self._reader.rows(query)}

    async def caused(self, causes: Sequence[str], after: int, most: int) -> builtins.list[Signal]:
        """In the order of the index: for any other, the database would rather walk through all signals."""
        return await self._select(CAUSED, signals.c.causation.in_(causes), signals.c.seq > after, most=most)

    async def reached(self, signals: Sequence[str], most: int) -> Sequence[tuple[str, str]]:
        """By signal and run."""
        place = (results.c.tenant == self._tenant, results.c.signal.in_(signals))
        query = sa.select(results.c.signal, results.c.run).where(*place, *_TOOK_IT)
        rows = await self._reader.rows(query.order_by(results.c.signal, results.c.run).limit(most))
        return [(row.signal, row.run) for row in rows]

    async def starter(self, run: str) -> Signal | None:
        """The oldest of those that start runs and that it has accepted."""
        same = sa.and_(results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant)
        started = sa.and_(results.c.run == run, *_TOOK_IT, signals.c.type.in_(STARTING))
        found = await self._select(started, source=results.join(signals, same))
        return found[0] if found else None

    async def correlated(self, correlation: str, most: int) -> builtins.list[Signal]:
        """With the signal whose id names the correlation."""
        family = await self._select(CORRELATED, signals.c.correlation == correlation, most=most, order=signals.c.seq)
        first = await self.signals_of([correlation])
        both = {each.id: each for each in (*first.values(), *family)}
        return _oldest(both.values())[:most]

    async def _select(
        self,
        *where: Condition,
        source: sa.FromClause = signals,
        most: int | None = None,
        order: Expression | None = None,
    ) -> builtins.list[Signal]:
        query = sa.select(signals.c.seq, signals.c.data).select_from(source)
        query = query.where(signals.c.tenant == self._tenant, *where).order_by(order).limit(most)
        return _oldest(_read(row.seq, row.data) for row in await self._reader.rows(query))


def _oldest(found: Iterable[Signal]) -> builtins.list[Signal]:
    return sorted(found, key=lambda signal: signal.sequence)


_TOOK_IT = (results.c.run != "", results.c.status == "accepted")


def _read(seq: int, data: bytes) -> Signal:
    return msgspec.structs.replace(_decode(data), sequence=seq)


_RESULT = (results.c.signal, results.c.status, results.c.run, results.c.reason, results.c.data)


def _result(signal: str, status: Any, run: str, reason: str, data: bytes) -> Result:
    return Result(signal=signal, status=status, run=run, reason=reason, data=msgspec.json.decode(data))


def _answered(status: str | None = None) -> Condition:
    where = [results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant]
    return sa.exists().where(*where, *([results.c.status == status] if status else []))


def _any_run(test: Callable[[Expression], Condition]) -> Condition:
    return sa.exists().where(
        results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant, test(results.c.run)
    )


def _any_dead(test: Callable[[Expression], Condition]) -> Condition:
    of_it = (dead_letters.c.signal == signals.c.id, dead_letters.c.tenant == signals.c.tenant)
    return sa.exists().where(*of_it, dead_letters.c.status == "dead", test(dead_letters.c.target))


_VIEW = View(
    columns={
        **{name: signals.c[name] for name in ("id", "type", "source", "key", "correlation")},
        "created_at": signals.c.at,
        "status": sa.case(
            (_answered("accepted"), "accepted"),
            (_answered(), "refused"),
            (signals.c.routed, "accepted"),
            else_="pending",
        ),
    },
    lists={"run": _any_run, "dead": _any_dead},
    search=SIGNAL_FIELDS.search,
)
