"""Sums of the memory store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import tzinfo

from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.engine.ports import (
    Bucket,
    CostBy,
    CostRow,
    LastFailure,
    Outstanding,
    RecentRun,
    RunHead,
    Spend,
    WorkflowStatistics,
)
from fleetprompt.engine.store import projection
from fleetprompt.engine.store.days import days
from fleetprompt.engine.store.memory_state import State
from fleetprompt.engine.store.projection import Cost

_Key = Callable[[Cost], tuple[str, str]]
_KEYS: dict[CostBy, _Key] = {
    "workflow": lambda cost: (cost.workflow, ""),
    "step": lambda cost: (cost.step, cost.workflow),
    "model": lambda cost: (cost.model, ""),
    "run": lambda cost: (cost.run, cost.workflow),
}


class MemoryFigures:
    """Sums over runs and what they have spent. `zone` is where days begin."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def spend(self, since: float, tenant: str = "default") -> Spend:
        found = self._of(tenant, since, None)
        return Spend(
            sum(cost.cost_nano for cost in found),
            sum(cost.tokens for cost in found),
            sum(cost.uncertain_nano for cost in found),
        )

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
        found = self._of(tenant, since, until)
        if query is not None:
            holds = matcher(query.require(), now, self._zone)
            found = [cost for cost in found if holds(projection.run_row(self._state.runs[cost.run]))]
        if by == "day":
            rows = _rows(found, self._day(found))
            return sorted(rows, key=lambda row: row.key, reverse=True)[:limit]
        return sorted(_rows(found, _KEYS[by]), key=projection.most_expensive)[:limit]

    async def outstanding(self) -> Outstanding:
        pending = [each for each in self._state.approvals.values() if each.status == "pending"]
        return Outstanding(
            tuple((each.id, each.about, each.requested_at) for each in pending),
            tuple(head.id for head in self._state.runs.values() if head.waiting_on == "in_doubt"),
            tuple(
                (each.tenant, each.id, each.amounts.cost_nano)
                for each in self._state.reservations.values()
                if each.held
            ),
        )

    async def statistics(self, since: float, tenant: str = "default") -> list[WorkflowStatistics]:
        of_workflow: dict[str, list[RunHead]] = {}
        for head in self._heads(tenant):
            of_workflow.setdefault(head.workflow, []).append(head)
        spent = self._of(tenant, since, None)
        found = [_statistics(name, of_workflow[name], spent, since) for name in sorted(of_workflow)]
        return [each for each in found if each.statuses]

    async def activity(self, since: float, until: float, buckets: int, tenant: str = "default") -> list[Bucket]:
        projection.check_parts(since, until, buckets)
        width = (until - since) / buckets
        counts = [Counter[str]() for _ in range(buckets)]

        def count(name: str, at: float | None, amount: int = 1) -> None:
            if at is not None and since <= at < until:
                counts[min(int((at - since) / width), buckets - 1)][name] += amount

        for head in self._heads(tenant):
            count("started", head.created_at)
            if head.status == "completed" or head.status in projection.FAILED:
                count("completed" if head.status == "completed" else "failed", head.finished_at)
        for cost in self._of(tenant, None, None):
            count("cost_nano", cost.at, cost.cost_nano)
        return [Bucket(at=since + n * width, **counted) for n, counted in enumerate(counts)]

    def _heads(self, tenant: str) -> list[RunHead]:
        return [head for head in self._state.runs.values() if head.tenant == tenant]

    def _of(self, tenant: str, since: float | None, until: float | None) -> list[Cost]:
        return [
            cost
            for cost in self._state.costs.values()
            if cost.tenant == tenant and (since is None or cost.at >= since) and (until is None or cost.at < until)
        ]

    def _day(self, found: list[Cost]) -> _Key:
        times = [cost.at for cost in found]
        spans = [*days(min(times), max(times), self._zone)] if times else []
        return lambda cost: (next(day.name for day in spans if day.low <= cost.at < day.high), "")


def _statistics(name: str, heads: list[RunHead], spent: list[Cost], since: float) -> WorkflowStatistics:
    ended = [head for head in heads if head.status in projection.FINAL and (head.finished_at or -1.0) >= since]
    going_on = [head for head in heads if head.status in projection.GOING_ON]
    seconds = sorted(
        (head.finished_at or 0.0) - head.started_at
        for head in ended
        if head.status == "completed" and head.started_at is not None
    )
    newest = sorted(heads, key=lambda head: (head.created_at, head.seq), reverse=True)[: projection.RECENT]
    failed = [((head.finished_at or 0.0), head.seq, head) for head in ended if head.status in projection.FAILED]
    of_it = [cost for cost in spent if cost.workflow == name]
    return WorkflowStatistics(
        workflow=name,
        statuses=Counter(head.status for head in (*ended, *going_on)),
        p50=seconds[projection.rank(50, len(seconds)) - 1] if seconds else None,
        p95=seconds[projection.rank(95, len(seconds)) - 1] if seconds else None,
        cost_nano=sum(cost.cost_nano for cost in of_it),
        tokens=sum(cost.tokens for cost in of_it),
        recent=tuple(
            RecentRun(head.id, head.status, head.created_at, head.started_at, head.finished_at, head.seq)
            for head in newest
        ),
        failure=_failure(max(failed)[2]) if failed else None,
        unreal=sum(is_unreal(head.mode) for head in (*ended, *going_on)),
    )


def _failure(head: RunHead) -> LastFailure:
    return LastFailure(head.id, head.finished_at or 0.0, head.error_code, head.seq)


def _rows(found: Iterable[Cost], key: _Key) -> list[CostRow]:
    parts: dict[tuple[str, str], list[Cost]] = {}
    for cost in found:
        parts.setdefault(key(cost), []).append(cost)
    return [
        CostRow(
            key=name,
            workflow=workflow,
            cost_nano=sum(cost.cost_nano for cost in part),
            tokens=sum(cost.tokens for cost in part),
            uncertain_nano=sum(cost.uncertain_nano for cost in part),
            runs=len({cost.run for cost in part}),
            calls=len(part),
            unreal=sum(is_unreal(cost.mode) for cost in part),
        )
        for (name, workflow), part in parts.items()
    ]
