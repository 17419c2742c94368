"""The figures of a console: what was spent, how workflows do, what happened when. The store adds them up."""

from __future__ import annotations

from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Bucket, Clock, CostBy, CostRow, Spend, Store, WorkflowStatistics


class Figures:
    """Sums over many runs. Times are epoch seconds."""

    store: Store
    clock: Clock
    tenant: str

    async def costs(
        self,
        by: CostBy,
        filter_: str = "",
        *,
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
    ) -> list[CostRow]:
        """What was spent in a period, by runs that match a filter. Raises `InvalidInput` for a bad filter."""
        query = parse(filter_, RUN_FIELDS)
        now = self.clock.now()
        return await self.store.figures.costs(
            by, now=now, since=since, until=until, query=query, limit=limit, tenant=self.tenant
        )

    async def spend(self, since: float) -> Spend:
        """What was spent since a time."""
        return await self.store.figures.spend(since, self.tenant)

    async def statistics(self, since: float) -> list[WorkflowStatistics]:
        """Of every workflow with runs that ended since then or are not over yet, by name."""
        return await self.store.figures.statistics(since, self.tenant)

    async def activity(self, since: float, until: float, buckets: int) -> list[Bucket]:
        """What happened in a period, in equal parts, the oldest first."""
        return await self.store.figures.activity(since, until, buckets, self.tenant)
