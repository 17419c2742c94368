"""What agents have done: each time that one of them worked on a goal in a run, and what that comes to."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports.lists import Page

AgentStatus = Literal["running", "waiting", "completed", "failed", "cancelled"]


class AgentSession(Struct, frozen=True, kw_only=True):
    """One execution of an agent: the time from when it got a goal until it had a result, failed, handed the task over
    or was called off. Further attempts at its step belong to it: what they use adds up, and it ends as the last of them
    does. Its requests and calls are those that it made itself; those of agents that it has delegated to are theirs."""

    id: str
    tenant: str
    run: str
    workflow: str
    path: str
    """Of the step in which it worked."""
    key: str
    """Where its notes stand among those of the step: `sre`, `billing#1` after a hand-over, `sre/tool/0.1/policy` for
    one that a call has delegated to."""
    agent: str
    """Its name; `chat` for a step of that type."""
    attempt: int
    """At the step: the last one."""
    parent: str
    """Name of the agent that has delegated to it; empty for one that has the whole task."""
    goal: str
    """The beginning of what it was given, in one line."""
    status: AgentStatus
    """`completed` also where it has handed the task over."""
    started_at: float
    ended_at: float | None = None
    since: float | None = None
    """Until when `active` is counted, while it is active; None while it waits and when it is over."""
    active: float = 0.0
    """Seconds in which it was active: without those in which it waited for people, child runs, slots or an engine."""
    requests: int = 0
    """To models, failed ones included."""
    tool_calls: int = 0
    tokens: int = 0
    cost_nano: int = 0
    """Nano-USD."""
    uncertain_nano: int = 0
    """What may have been spent besides, in nano-USD."""
    mode: str = ""
    """How its words came about, see `core.mode`; empty before its first request."""
    error_code: str = ""
    retries: int = 0
    """How many further attempts it took."""

    @property
    def unreal(self) -> bool:
        """Whether no model has said any of it: it cost nothing, which is no price, and its duration says nothing."""
        return is_unreal(self.mode)


class AgentStatistics(Struct, frozen=True, kw_only=True):
    """What the executions of an agent come to that ended in a period, together with those that are not over yet."""

    agent: str
    workflow: str = ""
    """The one whose own agent it is, where agents of its name were to be told apart."""
    statuses: Mapping[AgentStatus, int]
    """How many executions have each status; statuses of none are left out."""
    requests: int
    tool_calls: int
    tokens: int
    cost_nano: int
    """Nano-USD."""
    uncertain_nano: int
    mean: float | None
    """Seconds in which a completed execution was active, on average; None without any whose words a model has said."""
    p95: float | None
    """Seconds that 95 of a hundred of the same did not exceed."""
    retries: int
    """How many further attempts they took."""
    unreal: int
    """How many of the executions were simulated or replayed."""
    last: AgentSession
    """The one that began last."""

    @property
    def executions(self) -> int:
        """How many are counted."""
        return sum(self.statuses.values())

    @property
    def success(self) -> float | None:
        """The part that completed of those that came to their end, from 0 to 1; None without any. What was cancelled
        says nothing about the agent and is left out."""
        completed = self.statuses.get("completed", 0)
        ended = completed + self.statuses.get("failed", 0)
        return completed / ended if ended else None

    @property
    def mean_cost_nano(self) -> int | None:
        """Nano-USD for each execution that was neither simulated nor replayed; None without any."""
        real = self.executions - self.unreal
        return self.cost_nano // real if real > 0 else None


class AgentSessions(Protocol):
    """The projection of executions of agents. Times are epoch seconds."""

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[list[AgentSession], str]:
        """Matching executions (`AGENT_SESSION_FIELDS`), those that began last first, and the cursor of the next page.
        Raises `InvalidInput` for a bad filter or cursor."""
        ...

    async def statistics(
        self, since: float, tenant: str = "default", own: Collection[tuple[str, str]] = ()
    ) -> builtins.list[AgentStatistics]:
        """Of every agent with executions that ended since then or are not over yet, by name. `own` are agents (name
        and workflow) that have their name in common with others: what has worked in that workflow is counted apart.
        """
        ...
