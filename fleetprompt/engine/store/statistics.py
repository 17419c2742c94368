"""What the runs of each workflow come to: counts, durations, money, the last ones.

An index holds all that is asked of the runs that are over. Their durations are sorted by the database, one workflow
after the other: the loop is never kept for long.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from fleetprompt.engine.core.facts import RunStatus
from fleetprompt.engine.core.query_values import fold
from fleetprompt.engine.ports import LastFailure, RecentRun, Spend, WorkflowStatistics
from fleetprompt.engine.store.dialect import Dialect, Rows
from fleetprompt.engine.store.projection import FAILED, FINAL, GOING_ON, RECENT, rank
from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.tables import OVER, UNREAL_RUNS, costs, runs


class _Counted(Struct):
    """What is known of a workflow after its runs have been counted."""

    statuses: dict[RunStatus, int] = {}
    timed: int = 0
    """Completed runs of which it is known how long they took."""
    failed_at: float = 0.0
    unreal: int = 0


class Statistics:
    """How the figures of workflows are read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._recent = Question(reader.dialect, _recent(reader.dialect))
        self._took = Question(reader.dialect, _took())
        self._failed = Question(reader.dialect, _failed())

    async def read(self, since: float, tenant: str) -> list[WorkflowStatistics]:
        """The statistics of every workflow that has runs, by name."""
        counted = await self._counted(since, tenant)
        spend = await self._spend(since, tenant)
        return [await self._of(name, counted[name], spend, since, tenant) for name in sorted(counted)]

    async def _counted(self, since: float, tenant: str) -> dict[str, _Counted]:
        counts = (sa.func.count(), sa.func.count(runs.c.started_at), sa.func.max(runs.c.finished_at))
        query = sa.select(runs.c.workflow, runs.c.status, *counts).where(runs.c.tenant == tenant)
        query = query.group_by(runs.c.workflow, runs.c.status)
        found: dict[str, _Counted] = {}
        for asked, statuses in (
            (query.where(OVER, runs.c.finished_at >= since), FINAL),
            (query.where(runs.c.status.in_(GOING_ON)), GOING_ON),
        ):
            for workflow, status, number, timed, last in await self._reader.rows(asked):
                if status not in statuses:
                    continue
                counted = found.setdefault(workflow, _Counted())
                counted.statuses[status] = number
                if status == "completed":
                    counted.timed = timed
                elif status in FAILED:
                    counted.failed_at = max(counted.failed_at, last)
        unreal = sa.select(runs.c.workflow, sa.func.count()).where(runs.c.tenant == tenant, UNREAL_RUNS)
        ended = sa.and_(runs.c.status.in_(FINAL), OVER, runs.c.finished_at >= since)
        unreal = unreal.where(sa.or_(runs.c.status.in_(GOING_ON), ended))
        for workflow, number in await self._reader.rows(unreal.group_by(runs.c.workflow)):
            if workflow in found:
                found[workflow].unreal = number
        return found

    async def _spend(self, since: float, tenant: str) -> dict[str, Spend]:
        sums = [sa.cast(sa.func.sum(column), sa.BigInteger) for column in (costs.c.cost_nano, costs.c.tokens)]
        query = sa.select(costs.c.workflow, *sums).where(costs.c.tenant == tenant, costs.c.at >= since)
        return {row[0]: Spend(row[1], row[2]) for row in await self._reader.rows(query.group_by(costs.c.workflow))}

    async def _of(
        self, name: str, counted: _Counted, spend: dict[str, Spend], since: float, tenant: str
    ) -> WorkflowStatistics:
        newest = await self._reader.ask(self._recent, tenant, fold(name), name, RECENT)
        took: Any = ()
        if counted.timed:
            ranks = (rank(50, counted.timed), rank(95, counted.timed))
            took = await self._reader.ask(self._took, tenant, name, since, *ranks)
        failed: Any = ()
        if counted.failed_at:
            failed = await self._reader.ask(self._failed, tenant, counted.failed_at, name, 1)
        money = spend.get(name, Spend(0, 0))
        return WorkflowStatistics(
            workflow=name,
            statuses=counted.statuses,
            # Both have one rank where there are few runs.
            p50=took[0][0] if took else None,
            p95=took[-1][0] if took else None,
            cost_nano=money.cost_nano,
            tokens=money.tokens,
            recent=tuple(RecentRun(*row) for row in newest),
            failure=LastFailure(*failed[0]) if failed else None,
            unreal=counted.unreal,
        )


def _took() -> Rows:
    """How long the completed runs of a workflow took that have one of two ranks among them; the database sorts."""
    seconds = runs.c.finished_at - runs.c.started_at
    place = (runs.c.tenant == sa.bindparam("whose"), runs.c.workflow == sa.bindparam("name"))
    timed = (runs.c.finished_at >= sa.bindparam("since"), runs.c.started_at.is_not(None), OVER)
    order = sa.func.row_number().over(order_by=seconds).label("rank")
    completed = runs.c.status == sa.literal_column("'completed'")
    ranked = sa.select(seconds.label("seconds"), order).where(*place, completed, *timed).subquery()
    one_of = sa.or_(*(ranked.c.rank == sa.bindparam(name, type_=sa.BigInteger) for name in ("middle", "high")))
    return sa.select(ranked.c.seconds).where(one_of).order_by(ranked.c.rank)


def _recent(dialect: Dialect) -> Rows:
    """The newest runs of a workflow. The index knows its name in lower case."""
    folded = dialect.fold(runs.c.workflow) == sa.bindparam("folded", type_=runs.c.workflow.type)
    named = (runs.c.tenant == sa.bindparam("whose"), folded, runs.c.workflow == sa.bindparam("name"))
    columns = (runs.c.id, runs.c.status, runs.c.created_at, runs.c.started_at, runs.c.finished_at, runs.c.seq)
    newest = sa.select(*columns).where(*named).order_by(runs.c.created_at.desc(), runs.c.seq.desc())
    return newest.limit(sa.bindparam("most")).offset(sa.literal_column("0"))


def _failed() -> Rows:
    """The run of a workflow that failed at a time; of several, the newest."""
    wrong = sa.or_(*(runs.c.status == sa.literal_column(f"'{status}'") for status in FAILED))
    place = (runs.c.tenant == sa.bindparam("whose"), runs.c.finished_at == sa.bindparam("at"))
    found = sa.select(runs.c.id, runs.c.finished_at, runs.c.error_code, runs.c.seq)
    found = found.where(*place, runs.c.workflow == sa.bindparam("name"), wrong).order_by(runs.c.seq.desc())
    return found.limit(sa.bindparam("most")).offset(sa.literal_column("0"))
