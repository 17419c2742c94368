"""Figures about many runs, which the database adds up: what was spent, how workflows do, what happened when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from fleetprompt.engine.core.facts import RunStatus
from fleetprompt.engine.core.query import Query

CostBy = Literal["workflow", "step", "model", "day", "run"]


class CostRow(Struct, frozen=True, kw_only=True):
    """What was spent on one workflow, step, model, day or run. What a retry has taken over was spent by the original,
    and is counted there alone."""

    key: str
    """Name of the workflow or model, path of the step without iterations and attempts, `2026-11-20`, or id of the
    run. Empty where it is not known which model was called."""
    cost_nano: int
    """Nano-USD."""
    tokens: int
    runs: int
    """How many runs have spent it."""
    calls: int
    """How many facts tell of it: each is a call of a model, or an attempt at a step that has reported what it used."""
    workflow: str = ""
    """Whose step or run it is; empty for the other kinds."""
    uncertain_nano: int = 0
    """What may have been spent besides, in nano-USD: calls of models of which nobody knows whether they are billed."""
    unreal: int = 0
    """How many of the calls were answered by a simulation or a recording: they cost nothing, which is no price."""


class Spend(NamedTuple):
    """Money and tokens, and apart what may have been spent besides."""

    cost_nano: int
    tokens: int
    uncertain_nano: int = 0


class RecentRun(Struct, frozen=True):
    """One of the newest runs of a workflow."""

    id: str
    status: RunStatus
    created_at: float
    started_at: float | None
    finished_at: float | None
    seq: int
    """Number of the run, as in `RunHead`."""


class LastFailure(Struct, frozen=True):
    """The run of a workflow that failed, or ran out of time, last."""

    id: str
    at: float
    code: str
    seq: int


class WorkflowStatistics(Struct, frozen=True, kw_only=True):
    """What the runs of a workflow come to that ended in a period, together with those that are not over yet."""

    workflow: str
    statuses: Mapping[RunStatus, int]
    """How many runs have each status; statuses of none are left out."""
    p50: float | None
    """Seconds from start to end that half of the completed runs did not exceed; None without any."""
    p95: float | None
    """The same for 95 of a hundred."""
    cost_nano: int
    """Nano-USD that was spent in the period, by whatever run of the workflow."""
    tokens: int
    recent: tuple[RecentRun, ...]
    """The newest 20 of all its runs, by creation, the newest first."""
    failure: LastFailure | None
    """Of those that ended in the period."""
    unreal: int = 0
    """How many of the counted runs were simulated or replayed: what they have cost says nothing about others."""

    @property
    def runs(self) -> int:
        """How many runs are counted."""
        return sum(self.statuses.values())

    @property
    def success(self) -> float | None:
        """The part that completed of the runs that came to their end, from 0 to 1; None without any.

        Those that were cancelled say nothing about the workflow and are left out.
        """
        completed = self.statuses.get("completed", 0)
        ended = completed + sum(self.statuses.get(status, 0) for status in ("failed", "timeout"))
        return completed / ended if ended else None

    @property
    def mean_cost_nano(self) -> int:
        """Nano-USD for each run that is counted and was not simulated; 0 without any."""
        real = self.runs - self.unreal
        return self.cost_nano // real if real > 0 else 0


class Bucket(Struct, frozen=True):
    """What happened in a part of a period that began at a time."""

    at: float
    started: int = 0
    """Runs that were created."""
    completed: int = 0
    failed: int = 0
    """Runs that failed or ran out of time."""
    cost_nano: int = 0
    """What was spent, in nano-USD."""


class Outstanding(NamedTuple):
    """What is open in a whole store, of every tenant."""

    approvals: tuple[tuple[str, str, float], ...]
    """Approvals that nobody has decided: id, what they are about, and when they were asked for."""
    doubtful: tuple[str, ...]
    """Ids of runs that wait because a step of theirs is in doubt."""
    reserved: tuple[tuple[str, str, int], ...]
    """Reservations that are held: tenant, id, nano-USD."""


MOST_BUCKETS = 1000
"""Parts that a period can be cut into."""


class Figures(Protocol):
    """Sums over the projections of runs and costs. Times are epoch seconds; `since` is inclusive, `until` is not."""

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
        """What was spent in a period, by runs that match a query: the most expensive first, days newest first.
        Days begin where the store's zone has midnight; days without spending are left out. Raises `InvalidInput`
        for a bad filter."""
        ...

    async def spend(self, since: float, tenant: str = "default") -> Spend:
        """What was spent since a time."""
        ...

    async def statistics(self, since: float, tenant: str = "default") -> list[WorkflowStatistics]:
        """Of every workflow with runs that ended since then or are not over yet, by name."""
        ...

    async def activity(self, since: float, until: float, buckets: int, tenant: str = "default") -> list[Bucket]:
        """What happened in a period, in equal parts, the oldest first. Raises `ValueError` for a period that ends
        before it begins, and for less than 1 or more than `MOST_BUCKETS` parts."""
        ...

    async def outstanding(self) -> Outstanding:
        """What is open at the moment, for who then keeps count of it by the facts."""
        ...
