"""Deliveries on disk."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.delivery import Delivery, ended, letter_id_of, letter_of
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import DELIVERY_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store.dead_letters import bury, revive
from fleetprompt.engine.store.dialect import Row
from fleetprompt.engine.store.filters import Condition, View
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session
from fleetprompt.engine.store.tables import UNDELIVERED, dead_letters, deliveries, signals
from fleetprompt.engine.store.writer import Writer

_NAMES = list(Delivery.__struct_fields__)
_COLUMNS = [deliveries.c[name] for name in _NAMES]
_decode = msgspec.json.Decoder(Signal).decode


class SqlDeliveries:
    """See `ports.delivery.Deliveries`. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, writer: Writer, zone: tzinfo) -> None:
        self._reader = reader
        self._writer = writer
        self._listing = Listing(reader, _VIEW, (deliveries.c.seq, deliveries.c.id), zone)

    async def due(self) -> dict[tuple[str, str], float]:
        """When the first delivery of each subscription can be tried."""
        c = deliveries.c
        free = sa.case((c.leased_until > c.due, c.leased_until), else_=c.due)
        query = sa.select(c.tenant, c.subscription, sa.func.min(free).label("first")).where(UNDELIVERED)
        rows = await self._reader.rows(query.group_by(c.tenant, c.subscription))
        return {(row.tenant, row.subscription): row.first for row in rows}

    async def lease(
        self, subscription: str, *, lease: str, now: float, until: float, most: int, tenant: str = "default"
    ) -> builtins.list[tuple[Delivery, Signal]]:
        """Take some that are due."""
        c = deliveries.c
        free = sa.and_(UNDELIVERED, c.tenant == tenant, c.subscription == subscription, c.leased_until <= now)
        wanted = sa.select(c.seq).where(free, c.due <= now).order_by(c.due, c.seq).limit(most)

        def take(session: Session) -> builtins.list[tuple[Delivery, Signal]]:
            connection = session.connection
            found = [*connection.execute(wanted).scalars()]
            # Once more what makes it free: another engine may have been faster.
            mine = sa.update(deliveries).where(c.seq.in_(found), free).values(lease=lease, leased_until=until)
            connection.execute(mine)
            same = sa.and_(signals.c.id == c.signal, signals.c.tenant == c.tenant)
            of = sa.select(*_COLUMNS, signals.c.data, signals.c.seq.label("sequence")).join(signals, same)
            rows = connection.execute(of.where(c.seq.in_(found), c.lease == lease).order_by(c.due, c.seq)).all()
            return [(_delivery(row), _signal(row)) for row in rows]

        return await self._writer.work(take)

    async def settle(self, delivery: Delivery, *, lease: str, gone: bool = False) -> bool:
        """Store what came of an attempt."""
        c = deliveries.c
        held = sa.and_(c.id == delivery.id, c.tenant == delivery.tenant, c.lease == lease, UNDELIVERED)

        def settle(session: Session) -> bool:
            connection = session.connection
            if connection.execute(_changed(delivery, held)).rowcount != 1:
                return False
            if delivery.status == "delivered":
                revive(connection, [letter_id_of(delivery)], delivery.tenant)
            elif delivery.status == "dead":
                bury(connection, [letter_of(delivery)])
            if gone:
                _end(connection, delivery)
            return True

        return await self._writer.work(settle)

    async def leases(self) -> builtins.list[str]:
        """Who holds deliveries."""
        held = sa.select(deliveries.c.lease).where(UNDELIVERED, deliveries.c.lease != "").distinct()
        return [row.lease for row in await self._reader.rows(held)]

    async def release(self, leases: Collection[str]) -> None:
        """Give back what these hold."""
        held = sa.and_(UNDELIVERED, deliveries.c.lease.in_([*leases]))

        def release(session: Session) -> None:
            session.connection.execute(sa.update(deliveries).where(held).values(lease="", leased_until=0.0))

        await self._writer.work(release)

    async def again(self, letters: Sequence[str], *, now: float, tenant: str = "default") -> int:
        """Have deliveries that are dead tried anew."""
        c = deliveries.c
        about = sa.select(dead_letters.c.signal, dead_letters.c.target).where(
            dead_letters.c.tenant == tenant, dead_letters.c.id.in_(letters), dead_letters.c.kind == "subscription"
        )
        dead = sa.and_(c.tenant == tenant, c.status == "dead", sa.tuple_(c.signal, c.subscription).in_(about))
        anew = (
            sa.update(deliveries).where(dead).values(status="pending", attempts=0, due=now, lease="", leased_until=0.0)
        )
        return await self._writer.work(lambda session: session.connection.execute(anew).rowcount)

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Delivery], str]:
        """Matching deliveries, and the cursor of the next page."""
        rows, cursor = await self._listing.page(
            sa.select(*_COLUMNS).where(deliveries.c.tenant == tenant), query, page, now
        )
        return [_delivery(row) for row in rows], cursor


def _changed(delivery: Delivery, where: Condition) -> sa.Update:
    names = ("status", "attempts", "due", "at", "http", "code", "reason")
    values = {name: getattr(delivery, name) for name in names}
    return sa.update(deliveries).where(where).values(**values, lease="", leased_until=0.0)


def _end(connection: sa.Connection, delivery: Delivery) -> None:
    """Give up all that is on its way to a receiver that is gone."""
    c = deliveries.c
    left = sa.and_(UNDELIVERED, c.tenant == delivery.tenant, c.subscription == delivery.subscription)
    found = [_delivery(row) for row in connection.execute(sa.select(*_COLUMNS).where(left)).all()]
    for each in ended(found, delivery.reason, delivery.at):
        connection.execute(_changed(each, sa.and_(c.id == each.id, c.tenant == each.tenant)))
    bury(connection, map(letter_of, ended(found, delivery.reason, delivery.at)))


def _delivery(row: Row) -> Delivery:
    values: dict[str, Any] = {name: getattr(row, name) for name in _NAMES}
    return Delivery(**values)


def _signal(row: Row) -> Signal:
    return msgspec.structs.replace(_decode(row.data), sequence=row.sequence)


_VIEW = View(
    columns={name: deliveries.c[name] for name in _NAMES},
    search=DELIVERY_FIELDS.search,
)
