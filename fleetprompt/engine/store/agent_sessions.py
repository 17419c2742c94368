"""Executions of agents on disk: written with the facts that tell of them, listed, and added up by the database."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Any

import sqlalchemy as sa
from msgspec.structs import astuple

from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_fields import AGENT_SESSION_FIELDS
from fleetprompt.engine.ports import Append, Page
from fleetprompt.engine.ports.agents import AgentSession, AgentStatistics, AgentStatus
from fleetprompt.engine.store import agent_book
from fleetprompt.engine.store.dialect import Rows
from fleetprompt.engine.store.filters import View
from fleetprompt.engine.store.listing import Listing
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import UNENDED, agent_sessions

_NAMES = [column.name for column in agent_sessions.c]
_SUMS = ("requests", "tool_calls", "tokens", "cost_nano", "uncertain_nano", "retries")
PERCENT = 95
"""The percentile of durations that is told."""


def write_sessions(statements: Statements, session: Session, entries: Sequence[Append]) -> None:
    """Let the rows follow the facts of appends, in the transaction that brings them."""
    old = [entry for entry in entries if entry.after]
    places = dict.fromkeys(place for entry in old for place in agent_book.places(entry))
    over = dict.fromkeys((entry.run, entry.tenant) for entry in old if agent_book.ends(entry))
    rows = [
        *(statements.sessions_at.fetch(session, [*places]) if places else ()),
        *(statements.sessions_open.fetch(session, [*over]) if over else ()),
    ]
    book = agent_book.AgentBook(map(_read, rows))
    for entry in entries:
        book.fold(entry)
    statements.sessions_upsert.execute(session, [astuple(each) for each in book.changed])


class SqlAgentSessions:
    """See `ports.agents.AgentSessions`. `zone` is where the days of filters begin."""

    def __init__(self, reader: Reader, zone: tzinfo) -> None:
        self._reader = reader
        columns: dict[str, Any] = {column.name: column for column in agent_sessions.c}
        view = View(columns | {"created_at": agent_sessions.c.started_at}, search=AGENT_SESSION_FIELDS.search)
        self._listing = Listing(reader, view, (agent_sessions.c.started_at, agent_sessions.c.id), zone)

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[AgentSession], str]:
        """Matching executions and the cursor of the next page. Raises `InvalidInput` for a bad filter or cursor."""
        of_tenant = sa.select(agent_sessions).where(agent_sessions.c.tenant == tenant)
        rows, cursor = await self._listing.page(of_tenant, query, page, now)
        return [_read(row) for row in rows], cursor

    async def statistics(
        self, since: float, tenant: str = "default", own: Collection[tuple[str, str]] = ()
    ) -> builtins.list[AgentStatistics]:
        """Of every agent with executions that ended since then or are not over yet, by name."""
        counted = _counted(since, tenant, own)
        sums = {row[:2]: row for row in await self._reader.rows(_sums(counted))}
        statuses: dict[tuple[str, str], dict[AgentStatus, int]] = {}
        for agent, home, status, number in await self._reader.rows(_statuses(counted)):
            statuses.setdefault((agent, home), {})[status] = number
        p95 = {row[:2]: row[2] for row in await self._reader.rows(_high(counted))}
        return [
            AgentStatistics(
                agent=row[0],
                workflow=row[1],
                statuses=statuses[row[:2]],
                mean=sums[row[:2]].mean,
                p95=p95.get(row[:2]),
                unreal=sums[row[:2]].unreal,
                last=_read(row[2:]),
                **{name: getattr(sums[row[:2]], name) for name in _SUMS},
            )
            for row in map(tuple, await self._reader.rows(_last(counted)))
            if row[:2] in sums and row[:2] in statuses
        ]


def _counted(since: float, tenant: str, own: Collection[tuple[str, str]]) -> sa.Subquery:
    """The executions that count, with the workflow whose own agent has worked."""
    c = agent_sessions.c
    of_workflow = sa.tuple_(c.agent, c.workflow).in_(sorted(own))
    home = sa.case((of_workflow, c.workflow), else_="") if own else sa.literal("")
    counted = (c.tenant == tenant, sa.or_(UNENDED, c.ended_at >= since))
    return sa.select(agent_sessions, home.label("home")).where(*counted).subquery()


def _is_unreal(counted: sa.Subquery) -> sa.ColumnElement[bool]:
    return counted.c.mode.in_(("simulated", "replay"))


def _is_timed(counted: sa.Subquery) -> sa.ColumnElement[bool]:
    """Executions whose duration says something."""
    return sa.and_(counted.c.status == "completed", sa.not_(_is_unreal(counted)))


def _by(counted: sa.Subquery) -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    return counted.c.agent, counted.c.home


def _sums(counted: sa.Subquery) -> Rows:
    figures = [sa.cast(sa.func.sum(counted.c[name]), sa.BigInteger).label(name) for name in _SUMS]
    mean = sa.func.avg(sa.case((_is_timed(counted), counted.c.active))).label("mean")
    unreal = sa.cast(sa.func.sum(sa.case((_is_unreal(counted), 1), else_=0)), sa.BigInteger).label("unreal")
    return sa.select(*_by(counted), *figures, mean, unreal).group_by(*_by(counted))


def _statuses(counted: sa.Subquery) -> Rows:
    by = (*_by(counted), counted.c.status)
    return sa.select(*by, sa.func.count()).group_by(*by)


def _high(counted: sa.Subquery) -> Rows:
    """The duration of each agent that so many per cent do not exceed; the database sorts."""
    by, active = _by(counted), counted.c.active
    rank = sa.func.row_number().over(partition_by=by, order_by=active).label("rank")
    number = sa.func.count().over(partition_by=by).label("number")
    ranked = sa.select(*by, active, rank, number).where(_is_timed(counted)).subquery()
    wanted = (ranked.c.number * PERCENT + 99) // 100
    return sa.select(ranked.c.agent, ranked.c.home, ranked.c.active).where(ranked.c.rank == wanted)


def _last(counted: sa.Subquery) -> Rows:
    order = (counted.c.started_at.desc(), counted.c.id.desc())
    place = sa.func.row_number().over(partition_by=_by(counted), order_by=order).label("place")
    ranked = sa.select(counted, place).subquery()
    columns = (ranked.c.agent, ranked.c.home, *(ranked.c[name] for name in _NAMES))
    # Columns of the same name are told apart by their place.
    named = [column.label(f"c{at}") for at, column in enumerate(columns)]
    return sa.select(*named).where(ranked.c.place == 1).order_by(ranked.c.agent, ranked.c.home)


def _read(row: Sequence[Any]) -> AgentSession:
    """The execution in a row that begins with every column."""
    return AgentSession(**dict(zip(_NAMES, row, strict=False)))
