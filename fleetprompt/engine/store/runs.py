"""Runs on disk: lists, what to wake and when, who waits for what."""

from __future__ import annotations

import builtins
from datetime import tzinfo

import sqlalchemy as sa

from fleetprompt.engine.core.facts import WaitingOn
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import type_matches
from fleetprompt.engine.ports import Page, RunHead, Wait
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.dialect import Rows
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Question, Reader, find_ids
from fleetprompt.engine.store.run_index import RunIndex
from fleetprompt.engine.store.run_rows import read_head
from fleetprompt.engine.store.tables import LIVE, OVER, runs, waits

_NEWEST = (runs.c.created_at, runs.c.seq)


class SqlRuns(RunIndex):
    """The `runs` projection and the wait rows. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, zone: tzinfo) -> None:
        super().__init__(reader, zone)
        self._listing = Listing(reader, self._view, _NEWEST, zone)
        given = sa.select(runs).where(runs.c.id == sa.bindparam("id"))
        self._get = Question(reader.dialect, given)
        self._get_of = Question(reader.dialect, given.where(runs.c.tenant == sa.bindparam("whose")))
        self._by_signal = Question(reader.dialect, _waits(sa.or_(_EXACT, waits.c.wild)))
        self._by_ref = Question(reader.dialect, _waits(_EXACT))

    async def get(self, run: str, tenant: str | None = None) -> RunHead | None:
        """The run of that id, if it is the tenant's."""
        asked = self._reader.ask(self._get, run) if tenant is None else self._reader.ask(self._get_of, run, tenant)
        rows = await asked
        return read_head(rows[0]) if rows else None

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        """Ids that equal, begin or end with a text: the equal one first, then newest first; at most ten."""
        return await self._reader.run(lambda connection: find_ids(connection, runs, text, tenant))

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[RunHead], str]:
        """Matching runs and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        rows, cursor = await self._listing.page(sa.select(runs).where(runs.c.tenant == tenant), query, page, now)
        return [read_head(row) for row in rows], cursor

    async def count(self, query: Query, *, now: float, tenant: str = "default") -> int:
        """How many runs match. Raises `InvalidInput` for a bad filter."""
        of_tenant = self._reader.dialect.mostly(runs.c.tenant == tenant)
        return await self._listing.count(sa.select(runs).where(of_tenant), query, now)

    async def unfinished(self, *, now: float, limit: int = 10_000) -> builtins.list[RunHead]:
        """What an engine has to take up at start, oldest first."""
        found = sa.union(*_unfinished(now)).subquery()
        query = sa.select(runs).join(found, runs.c.seq == found.c.seq)
        return [read_head(row) for row in await self._reader.rows(query.order_by(*_NEWEST).limit(limit))]

    async def due(self, now: float, limit: int = 1000) -> tuple[builtins.list[str], float | None]:
        """Parked runs whose `wake_at` has come, earliest first, and the next `wake_at` after now."""
        parked = runs.c.status.in_(("pending", "waiting"))
        come = sa.select(runs.c.id).where(runs.c.wake_at <= now, parked).order_by(runs.c.wake_at, runs.c.id)
        coming = sa.select(runs.c.wake_at).where(runs.c.wake_at > now, parked).order_by(runs.c.wake_at).limit(1)
        return await self._reader.run(
            lambda connection: (
                [*connection.execute(come.limit(limit)).scalars()],
                connection.execute(coming).scalar(),
            )
        )

    async def waiting(
        self, on: WaitingOn, ref: str, *, key: str | None = None, tenant: str = "default"
    ) -> builtins.list[tuple[str, Wait]]:
        """Steps that wait, by run and path."""
        question = self._by_signal if on == "signal" else self._by_ref
        found = [
            (run, Wait(path=path, on=on, ref=pattern, key=its_key))
            for run, path, pattern, its_key, wild in await self._reader.ask(question, on, tenant, ref)
            if (pattern == ref or (wild and type_matches(pattern, ref))) and (key is None or its_key in ("", key))
        ]
        return sorted(found, key=lambda each: (each[0], each[1].path))

    async def last_completed(self, workflow: str, tenant: str = "default") -> str | None:
        """Id of the last completed run of a workflow."""
        query = (
            sa.select(runs.c.id)
            .where(runs.c.tenant == tenant, runs.c.workflow == workflow, runs.c.status == "completed", OVER)
            .order_by(runs.c.finished_at.desc(), runs.c.id.desc())
            .limit(1)
        )
        rows = await self._reader.rows(query)
        return rows[0].id if rows else None


_EXACT = sa.and_(sa.not_(waits.c.wild), waits.c.ref == sa.bindparam("wanted"))


def _waits(condition: sa.ColumnElement[bool]) -> Rows:
    of = sa.select(waits.c.run, waits.c.path, waits.c.ref, waits.c.key, waits.c.wild)
    return of.where(waits.c.on == sa.bindparam("reason"), waits.c.tenant == sa.bindparam("whose"), condition)


def _unfinished(now: float) -> list[Rows]:
    """One query per reason, each served by an index."""
    child = runs.alias("child")
    waiting = runs.c.status == "waiting"
    numbers = sa.select(runs.c.seq)
    on_child = sa.select(waits.c.run, waits.c.tenant).join(
        child, sa.and_(child.c.id == waits.c.ref, child.c.tenant == waits.c.tenant)
    )
    of_waits = sa.union_all(
        sa.select(waits.c.run, waits.c.tenant).where(waits.c.on == "slot"),
        on_child.where(waits.c.on == "child", child.c.status.in_(projection.FINAL)),
    ).subquery()
    return [
        numbers.where(LIVE),
        numbers.where(waiting, runs.c.wake_at <= now),
        numbers.join(of_waits, sa.and_(runs.c.id == of_waits.c.run, runs.c.tenant == of_waits.c.tenant)).where(waiting),
    ]
