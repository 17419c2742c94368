"""Lists of runs that a console keeps on its screen: all numbers at once, rows when they are shown, what changed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from fleetprompt.engine.core.query import Query, parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import NEWEST_FIRST, Clock, Order, RunHead, Store


class Listing:
    """The part of a console that keeps lists. Filters that cannot be understood raise `InvalidInput`."""

    store: Store
    clock: Clock
    tenant: str

    async def index(self, filter_: str, order: Order = NEWEST_FIRST) -> array[int]:
        """The numbers (`RunHead.seq`) of all matching runs in an order."""
        return await self.store.runs.index(_query(filter_), order, now=self.clock.now(), tenant=self.tenant)

    async def heads(self, seqs: Sequence[int]) -> list[RunHead | None]:
        """The runs of these numbers, in the order asked; None for one that is gone."""
        return await self.store.runs.heads(seqs, tenant=self.tenant)

    async def matching(self, runs: Sequence[str], filter_: str) -> list[tuple[RunHead, bool]]:
        """The runs of these ids that are still there, each with whether it matches."""
        return await self.store.runs.matching(runs, _query(filter_), now=self.clock.now(), tenant=self.tenant)

    async def tally(self, filter_: str) -> dict[str, int]:
        """How many runs match, by status; a status that none has is left out."""
        return await self.store.runs.tally(_query(filter_), now=self.clock.now(), tenant=self.tenant)

    async def values(self, field: str, filter_: str, *, prefix: str = "", limit: int = 20) -> list[tuple[str, int]]:
        """What the newest matching runs hold in a field and how many hold it, the most frequent first."""
        query = _query(filter_)
        return await self.store.runs.values(field, query, prefix, limit, now=self.clock.now(), tenant=self.tenant)


def _query(filter_: str) -> Query:
    return parse(filter_, RUN_FIELDS).require()
