"""Firings on disk: recorded with the signals that they send, in one transaction."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import sqlalchemy as sa
from msgspec.structs import astuple, replace

from fleetprompt.engine.core.firing import MOST_GOING, Firing, Standing, unsent
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import FIRING_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Conflict, Page
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.extras import firing_row, signal_row
from fleetprompt.engine.store.filters import Condition, Expression, View
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Bulk, Session, Statements
from fleetprompt.engine.store.tables import firings, results, runs, schedules, signals
from fleetprompt.engine.store.writer import Writer

_NAMES = [column.name for column in firings.c if column.name != "seq"]
_STANDING = [column.name for column in schedules.c]


class SqlFirings:
    """See `ports.firing.Firings`. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, writer: Writer, zone: tzinfo) -> None:
        self._reader = reader
        self._writer = writer
        self._statements = Statements(reader.dialect)
        self._listing = Listing(reader, _VIEW, (firings.c.seq, firings.c.scheduled), zone)
        dialect = reader.dialect
        self._new = Bulk(
            dialect, [*schedules.c], lambda given: dialect.ignore(schedules, sa.select(given).where(sa.true()))
        )

    async def standings(self, tenant: str | None = None) -> builtins.list[Standing]:
        """How far every schedule has come, of a tenant or of all."""
        of = sa.select(schedules)
        rows = await self._reader.rows(of.where(schedules.c.tenant == tenant) if tenant is not None else of)
        return [_standing(row) for row in rows]

    async def standing(self, workflow: str, trigger: str, tenant: str = "default") -> Standing | None:
        """How far a schedule has come."""
        rows = await self._reader.rows(sa.select(schedules).where(_is(workflow, trigger, tenant)))
        return _standing(rows[0]) if rows else None

    async def record(
        self, standing: Standing, firings: Sequence[tuple[Firing, Signal | None]] = (), signals: Sequence[Signal] = ()
    ) -> tuple[Firing, ...]:
        """Store how far a schedule has come, with what became of its times. Raises `Conflict`."""

        def record(session: Session) -> tuple[Firing, ...]:
            if not self._advance(session, standing):
                raise Conflict(f"schedule {standing.workflow}/{standing.trigger} has come further meanwhile")
            stored = [self._store(session, firing, signal) for firing, signal in firings]
            self._statements.signals_insert.execute(session, [signal_row(signal) for signal in signals])
            return tuple(firing for firing in stored if firing is not None)

        return await self._writer.work(record)

    def _advance(self, session: Session, standing: Standing) -> bool:
        """Put the standing in the place of the one before it; False where there is another one."""
        if standing.n == 1:
            return self._new.execute(session, [astuple(standing)]) == 1
        known = sa.and_(_is(standing.workflow, standing.trigger, standing.tenant), schedules.c.n == standing.n - 1)
        values = dict(zip(_STANDING, astuple(standing), strict=True))
        return session.connection.execute(sa.update(schedules).where(known).values(values)).rowcount == 1

    async def add(self, firing: Firing, signal: Signal | None = None) -> Firing | None:
        """Store a firing and its signal; None for one that is known."""
        return await self._writer.work(lambda session: self._store(session, firing, signal))

    def _store(self, session: Session, firing: Firing, signal: Signal | None) -> Firing | None:
        key = [firings.c[name] == getattr(firing, name) for name in ("workflow", "trigger", "scheduled", "tenant")]
        if session.connection.execute(sa.select(firings.c.seq).where(*key)).first() is not None:
            return None
        if signal is not None and not self._statements.signals_insert.execute(session, [signal_row(signal)]):
            firing = unsent(firing)
        if not self._statements.firings_insert.execute(session, [firing_row(firing)]):
            # Only where two engines are as fast as one another: then nothing of this transaction is to stay.
            raise Conflict(f"the firing {firing.scheduled} of {firing.workflow}/{firing.trigger} is known")
        seq = session.connection.execute(sa.select(firings.c.seq).where(*key)).scalar_one()
        return replace(firing, seq=seq)

    async def get(self, workflow: str, trigger: str, tenant: str = "default", *, scheduled: str) -> Firing | None:
        """The firing of one time."""
        c = firings.c
        own = (c.workflow == workflow, c.trigger == trigger, c.tenant == tenant, c.scheduled == scheduled)
        rows = await self._reader.rows(_rows().where(*own))
        return _firing(rows[0]) if rows else None

    async def forget(self, workflow: str, trigger: str, tenant: str = "default") -> None:
        """Delete the standing of a schedule that is gone."""

        def forget(session: Session) -> None:
            session.connection.execute(sa.delete(schedules).where(_is(workflow, trigger, tenant)))

        await self._writer.work(forget)

    async def going(self, workflow: str, trigger: str, tenant: str = "default") -> builtins.list[str]:
        """The runs that a trigger has started and that have not ended, the oldest first."""
        of = sa.select(firings.c.seq, firings.c.run, firings.c.signal, firings.c.tenant).where(
            firings.c.tenant == tenant,
            firings.c.workflow == workflow,
            firings.c.trigger == trigger,
            firings.c.outcome == "fired",
        )
        latest = of.order_by(firings.c.seq.desc()).limit(MOST_GOING).subquery()
        begun = sa.and_(runs.c.id == latest.c.run, runs.c.tenant == latest.c.tenant)
        sent = sa.and_(signals.c.id == latest.c.signal, signals.c.tenant == latest.c.tenant)
        rows = latest.outerjoin(runs, begun).outerjoin(signals, sent)
        not_ended = sa.and_(runs.c.id.is_not(None), runs.c.finished_at.is_(None))
        to_begin = sa.and_(runs.c.id.is_(None), sa.not_(signals.c.routed))
        query = sa.select(latest.c.run).select_from(rows).where(sa.or_(not_ended, to_begin)).order_by(latest.c.seq)
        return [row.run for row in await self._reader.rows(query)]

    async def latest(self, tenant: str = "default") -> builtins.list[Firing]:
        """Of every trigger the firing that was recorded last and that sent a signal."""
        last = (
            sa.select(sa.func.max(firings.c.seq))
            .where(firings.c.tenant == tenant, firings.c.outcome == "fired")
            .group_by(firings.c.workflow, firings.c.trigger)
        )
        query = _rows().where(firings.c.tenant == tenant, firings.c.seq.in_(last)).order_by(firings.c.seq)
        return [_firing(row) for row in await self._reader.rows(query)]

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Firing], str]:
        """Matching firings and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        rows, cursor = await self._listing.page(_rows().where(firings.c.tenant == tenant), query, page, now)
        return [_firing(row) for row in rows], cursor


def _is(workflow: str, trigger: str, tenant: str) -> Condition:
    c = schedules.c
    return sa.and_(c.workflow == workflow, c.trigger == trigger, c.tenant == tenant)


def _standing(row: Row) -> Standing:
    return Standing(**dict(zip(_STANDING, row, strict=True)))


# ---------------------------------------------------------------- with what came of their signals


def _came(*columns: Expression) -> sa.Select[Any]:
    """What came of the signal that a firing has sent without a run: why it could not start one, or was not to."""
    of = [results.c.signal == firings.c.signal, results.c.tenant == firings.c.tenant, firings.c.outcome == "fired"]
    return sa.select(*columns).where(*of).correlate(firings)


_REFUSED = results.c.status == "refused"
_UNWANTED = sa.and_(results.c.status == "accepted", results.c.run == "")
_OUTCOME = sa.case(
    (_came(results.c.run).where(_REFUSED).exists(), "failed"),
    (_came(results.c.run).where(_UNWANTED).exists(), "skipped"),
    else_=firings.c.outcome,
)
_WHY = _came(results.c.reason).where(sa.or_(_REFUSED, _UNWANTED)).order_by(results.c.run).limit(1).scalar_subquery()
_REASON = sa.func.coalesce(_WHY, firings.c.reason)
_VIEW = View(
    columns={
        **{name: firings.c[name] for name in (*_NAMES, "seq")},
        "outcome": _OUTCOME,
        "reason": _REASON,
        "created_at": firings.c.at,
    },
    search=FIRING_FIELDS.search,
)


def _rows() -> sa.Select[Any]:
    told = {"outcome": _OUTCOME, "reason": _REASON}
    return sa.select(*(told[name].label(name) if name in told else firings.c[name] for name in (*_NAMES, "seq")))


def _firing(row: Row) -> Firing:
    return Firing(**{name: getattr(row, name) for name in (*_NAMES, "seq")})
