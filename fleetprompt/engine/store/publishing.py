"""Publishing: the signals that come while the last lot is made durable are the next one, written in a few statements.

Many processes, requests and hooks publish one signal each; row by row, the statements of a lot would cost more than its
commit. What is known already, which is seldom, is found out one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Publication, Unheard
from fleetprompt.engine.store import audit
from fleetprompt.engine.store.dialect import Dialect, Rows
from fleetprompt.engine.store.extras import firing_row, result_row, signal_row
from fleetprompt.engine.store.statements import Bulk, Session, Statements
from fleetprompt.engine.store.tables import signals, waits
from fleetprompt.engine.store.writer import Writer

MOST = 500
"""Signals in a lot."""
_ROUTED = [column.name for column in signals.c if column.name != "seq"].index("routed")
_decode = msgspec.json.Decoder(Signal).decode


class _Asked(NamedTuple):
    signal: Signal
    row: tuple[Any, ...]
    unheard: Unheard | None
    answer: asyncio.Future[Publication]


class Publisher:
    """Puts signals into the store."""

    def __init__(self, dialect: Dialect, writer: Writer) -> None:
        self._writer = writer
        self._statements = Statements(dialect)
        self._waited = Bulk(dialect, [waits.c.tenant, waits.c.ref], _waited_for)
        self._asked: list[_Asked] = []
        self._busy = False

    def publish(self, signal: Signal, unheard: Unheard | None) -> asyncio.Future[Publication]:
        """Store a signal as new, or find the earlier one with its id or key; see `ports.Signals.publish`."""
        answer: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()
        # Made here: one that is no JSON is refused, and those that come with it are not.
        self._asked.append(_Asked(signal, signal_row(signal), unheard, answer))
        if not self._busy:
            self._next()
        return answer

    def _next(self) -> None:
        lot, self._asked = self._asked[:MOST], self._asked[MOST:]
        self._busy = bool(lot)
        if lot:
            stored = self._writer.work(lambda session: self._store(session, lot))
            stored.add_done_callback(lambda done: self._done(lot, done))

    def _done(self, lot: Sequence[_Asked], stored: asyncio.Future[list[Publication | Refused]]) -> None:
        self._next()
        error = asyncio.CancelledError() if stored.cancelled() else stored.exception()
        for at, asked in enumerate(lot):
            if asked.answer.done():
                continue
            found = error or stored.result()[at]
            if isinstance(found, BaseException):
                asked.answer.set_exception(found)
            else:
                asked.answer.set_result(found)

    def _store(self, session: Session, lot: Sequence[_Asked]) -> list[Publication | Refused]:
        waited = self._waited_for(session, lot)
        found = self._together(session, lot, waited)
        return found or [self._alone(session, asked, heard) for asked, heard in zip(lot, waited, strict=True)]

    def _waited_for(self, session: Session, lot: Sequence[_Asked]) -> list[bool]:
        """Of each whether a step may wait for it."""
        types = {(asked.signal.tenant, asked.signal.type) for asked in lot}
        heard = {(tenant, type_) for tenant, type_ in self._waited.fetch(session, [*types])}
        return [(asked.signal.tenant, asked.signal.type) in heard for asked in lot]

    def _together(
        self, session: Session, lot: Sequence[_Asked], waited: Sequence[bool]
    ) -> list[Publication | Refused] | None:
        """Store all of them; None, and nothing is stored, where some are known."""
        if len({asked.signal.id for asked in lot}) < len(lot) or len(lot) == 1:
            return None
        rows = [_row(asked, heard) for asked, heard in zip(lot, waited, strict=True)]
        session.execute("SAVEPOINT lot", ())
        if self._statements.signals_insert.execute(session, rows) != len(rows):
            session.execute("ROLLBACK TO SAVEPOINT lot", ())
            session.execute("RELEASE SAVEPOINT lot", ())
            return None
        session.execute("RELEASE SAVEPOINT lot", ())
        ids = [(asked.signal.id,) for asked in lot]
        self._beside(session, lot, waited)
        places = {str(id_): int(seq) for id_, seq in self._statements.signal_places.fetch(session, ids)}
        return [_published(asked, places[asked.signal.id], heard) for asked, heard in zip(lot, waited, strict=True)]

    def _alone(self, session: Session, asked: _Asked, waited: bool) -> Publication | Refused:
        signal = asked.signal
        if self._statements.signals_insert.execute(session, [_row(asked, waited)]):
            ((_, seq),) = self._statements.signal_places.fetch(session, [(signal.id,)])
            self._beside(session, [asked], [waited])
            return _published(asked, seq, waited)
        return earlier(session, signal)

    def _beside(self, session: Session, lot: Sequence[_Asked], waited: Sequence[bool]) -> None:
        """Write what belongs to signals that are stored now."""
        notes = [asked.signal.audit for asked in lot if asked.signal.audit is not None]
        audit.write(session, self._statements.dialect, notes)
        passed = [
            (asked.signal, asked.unheard)
            for asked, heard in zip(lot, waited, strict=True)
            if asked.unheard is not None and asked.unheard.reason and not heard
        ]
        results = [Result(signal=signal.id, status="accepted", reason=why.reason) for signal, why in passed]
        rows = [result_row(each, signal.tenant) for each, (signal, _) in zip(results, passed, strict=True)]
        self._statements.results_upsert.execute(session, rows)
        firings = [firing_row(firing) for _, why in passed for firing in why.firings]
        self._statements.firings_insert.execute(session, firings)


def _published(asked: _Asked, seq: int, waited: bool) -> Publication:
    stored = msgspec.structs.replace(asked.signal, sequence=seq, audit=None)
    return Publication(stored, routed=_is_done(asked, waited), waited=waited)


def _row(asked: _Asked, waited: bool) -> tuple[Any, ...]:
    """Its row: it is done with where nobody hears it and no step waits for it."""
    return (*asked.row[:_ROUTED], _is_done(asked, waited), *asked.row[_ROUTED + 1 :])


def _is_done(asked: _Asked, waited: bool) -> bool:
    return asked.unheard is not None and not waited


def earlier(session: Session, signal: Signal) -> Publication | Refused:
    """The signal that has the id or the key of this one; a refusal where that is another tenant's."""
    same_key = sa.and_(signals.c.tenant == signal.tenant, signals.c.key == signal.key, signals.c.key != "")
    query = sa.select(signals.c.seq, signals.c.data).where(sa.or_(signals.c.id == signal.id, same_key))
    seq, data = session.connection.execute(query.order_by(signals.c.id != signal.id)).first() or (0, b"")
    found = msgspec.structs.replace(_decode(data), sequence=seq)
    if found.tenant != signal.tenant:
        return Refused(f"signal id {signal.id} is taken")
    return Publication(found, duplicate=True)


def _waited_for(given: sa.CTE) -> Rows:
    """Those of these types for which a step waits, as far as an index can tell: any pattern may be theirs."""
    place = (waits.c.on == sa.literal_column("'signal'"), waits.c.tenant == given.c.tenant)
    mine = sa.or_(waits.c.wild, waits.c.ref == given.c.ref)
    return sa.select(given.c.tenant, given.c.ref).where(sa.exists().where(*place, mine))
