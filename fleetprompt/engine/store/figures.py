"""What was spent, and what happened when, added up by the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fleetprompt.engine.core.mode import UNREAL
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports import Bucket, CostBy, CostRow, Outstanding, Spend, WorkflowStatistics
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.days import Day, days
from fleetprompt.engine.store.dialect import Row, Rows
from fleetprompt.engine.store.filters import Condition, Filter
from fleetprompt.engine.store.outstanding import outstanding
from fleetprompt.engine.store.reading import Reader
from fleetprompt.engine.store.run_rows import run_view
from fleetprompt.engine.store.statistics import Statistics
from fleetprompt.engine.store.tables import costs, runs

DAYS = 60
"""Days that one statement adds up: making it takes two milliseconds of the loop."""
SUMS = 6
"""Figures of a row."""
_KEYS: dict[CostBy, tuple[sa.Column[str], ...]] = {
    "workflow": (costs.c.workflow,),
    "step": (costs.c.step, costs.c.workflow),
    "model": (costs.c.model,),
    "run": (costs.c.run, costs.c.workflow),
}


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """A sum that is 0 where there is nothing, and an integer on every database."""
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


_ACTIVITY = (
    (("started",), runs, runs.c.created_at, (sa.func.count(),)),
    (
        ("completed", "failed"),
        runs,
        runs.c.finished_at,
        tuple(sa.func.sum(sa.case((runs.c.status.in_(of), 1), else_=0)) for of in (("completed",), projection.FAILED)),
    ),
    (("cost_nano",), costs, costs.c.at, (_sum(costs.c.cost_nano),)),
)
"""Names of figures, and of which rows, by which of their times, they are sums."""


class SqlFigures:
    """Sums over the projections of runs and costs. `zone` is where days begin."""

    def __init__(self, reader: Reader, zone: tzinfo) -> None:
        self._reader = reader
        self._zone = zone
        self._view = run_view(reader.dialect)
        self._statistics = Statistics(reader)

    async def spend(self, since: float, tenant: str = "default") -> Spend:
        """What was spent since a time."""
        found = sa.select(_sum(costs.c.cost_nano), _sum(costs.c.tokens), _sum(costs.c.uncertain_nano))
        (row,) = await self._reader.rows(found.where(costs.c.tenant == tenant, costs.c.at >= since))
        return Spend(*row)

    async def costs(
        self,
        by: CostBy,
        *,
        now: float,
        since: float | None = None,
        until: float | None = None,
        query: Query | None = None,
        limit: int = 1000,
        tenant: str = "default",
    ) -> list[CostRow]:
        """What was spent in a period, by runs that match a query. Raises `InvalidInput` for a bad filter."""
        period = [costs.c.tenant == tenant]
        period += [costs.c.at >= since] if since is not None else []
        period += [costs.c.at < until] if until is not None else []
        bill = self._bill(period, query, now)
        if by == "day":
            return await self._reader.run(lambda connection: bill.by_day(connection, self._zone, limit))
        return await self._reader.run(lambda connection: bill.by(connection, _KEYS[by], limit))

    async def statistics(self, since: float, tenant: str = "default") -> list[WorkflowStatistics]:
        """How each workflow does, by name."""
        return await self._statistics.read(since, tenant)

    async def activity(self, since: float, until: float, buckets: int, tenant: str = "default") -> list[Bucket]:
        """What happened in a period, in equal parts. Raises `ValueError` for parts that make no sense."""
        projection.check_parts(since, until, buckets)
        width = (until - since) / buckets
        counted: dict[str, Counter[int]] = {}
        for names, table, at, sums in _ACTIVITY:
            number = self._reader.dialect.whole((at - since) / width).label("number")
            query = sa.select(number, *sums).where(table.c.tenant == tenant, at >= since, at < until)
            rows = await self._reader.rows(query.group_by(number))
            for column, name in enumerate(names, 1):
                counted[name] = Counter()
                for row in rows:
                    # The quotient of what is just below the end may be rounded up to it.
                    counted[name][min(row[0], buckets - 1)] += row[column]
        return [
            Bucket(at=since + n * width, **{name: counts[n] for name, counts in counted.items()})
            for n in range(buckets)
        ]

    async def outstanding(self) -> Outstanding:
        """What is open at the moment, of every tenant."""
        return await self._reader.run(outstanding)

    def _bill(self, period: list[Condition], query: Query | None, now: float) -> _Bill:
        if query is None or not (query.terms or query.problems):
            return _Bill(period)
        filter_ = Filter(self._reader.dialect, self._view, now, self._zone)
        conditions, left = filter_.where(query)
        if not left:
            return _Bill(period, conditions)
        searched = [column.label(name) for name, column in self._view.searched.items()]
        return _Bill(period, conditions, searched, filter_.passes(left))


class _Bill:
    """The rows of `costs` of a period, and of runs under some conditions. `test` is tried on the runs here, where the
    database cannot do it; it needs the columns in `searched`."""

    def __init__(
        self,
        period: Sequence[Condition],
        conditions: Sequence[Condition] | None = None,
        searched: Sequence[sa.Label[Any]] = (),
        test: Callable[[Row], bool] | None = None,
    ) -> None:
        self._period = period
        self._where = [*period, *(conditions or ())]
        self._searched = searched
        self._test = test
        same = sa.and_(runs.c.id == costs.c.run, runs.c.tenant == costs.c.tenant)
        self._source = costs.join(runs, same) if conditions is not None else costs

    def by(self, connection: sa.Connection, keys: Sequence[sa.Column[str]], limit: int) -> list[CostRow]:
        """Added up by some columns, the most expensive first."""
        statement = self._sums(keys, self._source)
        if self._test is None:
            statement = statement.order_by(sa.desc("cost_nano"), sa.desc("tokens"), *keys).limit(limit)
        return sorted(self._rows(connection, statement, len(keys)), key=projection.most_expensive)[:limit]

    def by_day(self, connection: sa.Connection, zone: tzinfo, limit: int) -> list[CostRow]:
        """Added up by day, the newest first."""
        ends = [sa.select(end(costs.c.at)).where(*self._period) for end in (sa.func.min, sa.func.max)]
        first, last = (connection.execute(end).scalar() for end in ends)
        left = iter(()) if first is None or last is None else days(first, last, zone)
        found: list[CostRow] = []
        while len(found) < limit and (some := [*islice(left, DAYS)]):
            given = _given(some)
            held = sa.and_(costs.c.at >= given.c.low, costs.c.at < given.c.high)
            statement = self._sums([given.c.name], self._source.join(given, held))
            found += sorted(self._rows(connection, statement, 1), key=lambda row: row.key, reverse=True)
        return found[:limit]

    def _sums(self, keys: Sequence[sa.ColumnElement[str]], source: sa.FromClause) -> Rows:
        columns: list[sa.ColumnElement[Any]] = [*keys]
        if self._test is not None:
            columns += [costs.c.run.label("spender"), *self._searched]
        statement = sa.select(
            *columns,
            _sum(costs.c.cost_nano).label("cost_nano"),
            _sum(costs.c.tokens).label("tokens"),
            _sum(costs.c.uncertain_nano).label("uncertain_nano"),
            sa.func.count(costs.c.run.distinct()).label("runs"),
            sa.func.count().label("calls"),
            _sum(sa.case((costs.c.mode.in_(UNREAL), 1), else_=0)).label("unreal"),
        )
        return statement.select_from(source).where(*self._where).group_by(*columns)

    def _rows(self, connection: sa.Connection, statement: Rows, keys: int) -> Iterator[CostRow]:
        rows = connection.execute(statement).all()
        if self._test is None:
            return (_row(row[:keys], row[-SUMS:]) for row in rows)
        sums: dict[tuple[Any, ...], Sequence[int]] = {}
        for row in filter(self._test, rows):
            before = sums.get(tuple(row[:keys]), (0,) * SUMS)
            sums[tuple(row[:keys])] = [one + more for one, more in zip(before, row[-SUMS:], strict=True)]
        return (_row(key, figures) for key, figures in sums.items())


def _row(key: Sequence[str], figures: Sequence[int]) -> CostRow:
    cost_nano, tokens, uncertain_nano, of_runs, calls, unreal = figures
    return CostRow(
        key=key[0],
        workflow=key[1] if len(key) > 1 else "",
        cost_nano=cost_nano,
        tokens=tokens,
        uncertain_nano=uncertain_nano,
        runs=of_runs,
        calls=calls,
        unreal=unreal,
    )


def _given(some: Sequence[Day]) -> sa.CTE:
    at = costs.c.at.type
    columns = (sa.column("name", costs.c.step.type), sa.column("low", at), sa.column("high", at))
    return sa.values(*columns, name="given").data([*some]).cte("given")
