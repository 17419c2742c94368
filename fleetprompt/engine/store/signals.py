"""Signals on disk: published once, routed with the facts they cause, answered by result rows."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from datetime import tzinfo

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS
from fleetprompt.engine.core.signal import VOTE, Result, Signal
from fleetprompt.engine.ports import Page, Publication, Vote
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.approvals import insert_vote
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.extras import Extras, signal_row
from fleetprompt.engine.store.filters import Condition, Expression, View
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import results, signals
from fleetprompt.engine.store.writer import Writer

_decode = msgspec.json.Decoder(Signal).decode


class SqlSignals:
    """Signals, their results and their routing state. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, writer: Writer, zone: tzinfo) -> None:
        self._reader = reader
        self._writer = writer
        self._listing = Listing(reader, _VIEW, (signals.c.seq, signals.c.id), zone)
        self._statements = Statements(reader.dialect)

    async def publish(self, signal: Signal) -> Publication:
        """Store a signal as new, or find the earlier one with its id or key.

        Raises `Refused` for a vote that does not count, and `InvalidInput` for a vote that is none.
        """
        vote = projection.ballot(signal) if signal.type == VOTE else None
        return await self._writer.work(lambda session: self._publish(session, signal, vote))

    def _publish(self, session: Session, signal: Signal, vote: Vote | None) -> Publication:
        connection = session.connection
        if self._statements.signals_insert.execute(session, [signal_row(signal)]):
            if vote is not None:
                insert_vote(connection, signal, vote)
            seq = connection.execute(sa.select(signals.c.seq).where(signals.c.id == signal.id)).scalar_one()
            return Publication(signal=_read(seq, msgspec.json.encode(signal)))
        same_key = sa.and_(signals.c.tenant == signal.tenant, signals.c.key == signal.key, signals.c.key != "")
        query = sa.select(signals.c.seq, signals.c.data).where(sa.or_(signals.c.id == signal.id, same_key))
        seq, data = connection.execute(query.order_by(signals.c.id != signal.id)).first() or (0, b"")
        earlier = _read(seq, data)
        if earlier.tenant != signal.tenant:
            raise Refused(f"signal id {signal.id} is taken")
        return Publication(signal=earlier, duplicate=True)

    async def unrouted(self, limit: int = 1000) -> builtins.list[Signal]:
        """Signals nobody has routed yet, oldest first."""
        query = sa.select(signals.c.seq, signals.c.data).where(sa.not_(signals.c.routed)).order_by(signals.c.seq)
        return [_read(*row) for row in await self._reader.rows(query.limit(limit))]

    async def close(self, signal: str, results: Iterable[Result] = ()) -> None:
        """Mark a signal routed, with results that belong to no run. Raises `NotFound`."""
        given = list(results)
        await self._writer.work(lambda session: self._close(session, signal, given))

    def _close(self, session: Session, signal: str, given: builtins.list[Result]) -> None:
        tenant = session.connection.execute(sa.select(signals.c.tenant).where(signals.c.id == signal)).scalar()
        if tenant is None:
            raise NotFound(f"there is no signal {signal}")
        extras = Extras()
        for result in given:
            extras.add_result(result, tenant)
        extras.add_routed(signal, tenant)
        extras.write(self._statements, session, alone=True)

    async def get(self, signal: str) -> Signal | None:
        """The signal of that id."""
        rows = await self._reader.rows(sa.select(signals.c.seq, signals.c.data).where(signals.c.id == signal))
        return _read(*rows[0]) if rows else None

    async def results(self, signal: str) -> tuple[bool, builtins.list[Result]]:
        """Whether it is routed, and what came of it so far, by run."""
        routed = sa.select(signals.c.routed).where(signals.c.id == signal)
        answers = sa.select(results).where(results.c.signal == signal).order_by(results.c.run)

        def query(connection: sa.Connection) -> tuple[bool, list[Result]]:
            return bool(connection.execute(routed).scalar()), [_result(row) for row in connection.execute(answers)]

        return await self._reader.run(query)

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Signal], str]:
        """Matching signals and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        of_tenant = sa.select(signals.c.seq, signals.c.data, signals.c.id).where(signals.c.tenant == tenant)
        rows, cursor = await self._listing.page(of_tenant, query, page, now)
        return [_read(row.seq, row.data) for row in rows], cursor


def _read(seq: int, data: bytes) -> Signal:
    return msgspec.structs.replace(_decode(data), sequence=seq)


def _result(row: Row) -> Result:
    return Result(
        signal=row.signal, status=row.status, run=row.run, reason=row.reason, data=msgspec.json.decode(row.data)
    )


def _answered(status: str | None = None) -> Condition:
    where = [results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant]
    return sa.exists().where(*where, *([results.c.status == status] if status else []))


def _any_run(test: Callable[[Expression], Condition]) -> Condition:
    return sa.exists().where(
        results.c.signal == signals.c.id, results.c.tenant == signals.c.tenant, test(results.c.run)
    )


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
    lists={"run": _any_run},
    search=SIGNAL_FIELDS.search,
)
