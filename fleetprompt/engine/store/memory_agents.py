"""Executions of agents in the memory store."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from fleetprompt.engine.core.query import Query
from fleetprompt.engine.ports import Page
from fleetprompt.engine.ports.agents import AgentSession, AgentStatistics
from fleetprompt.engine.store import paging, projection
from fleetprompt.engine.store.memory_queries import select_page
from fleetprompt.engine.store.memory_state import State


class MemoryAgentSessions:
    """See `ports.agents.AgentSessions`."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[AgentSession], str]:
        return select_page(self._of(tenant), _row, _begun, query, page, now, self._zone)

    async def statistics(
        self, since: float, tenant: str = "default", own: Collection[tuple[str, str]] = ()
    ) -> builtins.list[AgentStatistics]:
        found: dict[tuple[str, str], list[AgentSession]] = {}
        for each in self._of(tenant):
            if each.ended_at is None or each.ended_at >= since:
                home = each.workflow if (each.agent, each.workflow) in own else ""
                found.setdefault((each.agent, home), []).append(each)
        return [_statistics(*by, found[by]) for by in sorted(found)]

    def _of(self, tenant: str) -> builtins.list[AgentSession]:
        every = (each for sessions in self._state.agent_sessions.values() for each in sessions.values())
        return [each for each in every if each.tenant == tenant]


def _row(session: AgentSession) -> Mapping[str, Any]:
    """An execution as the filter language sees it (`AGENT_SESSION_FIELDS`)."""
    return msgspec.structs.asdict(session) | {"created_at": session.started_at}


def _begun(session: AgentSession) -> paging.Position:
    return session.started_at, session.id


def _statistics(name: str, home: str, sessions: Sequence[AgentSession]) -> AgentStatistics:
    seconds = sorted(each.active for each in sessions if each.status == "completed" and not each.unreal)
    return AgentStatistics(
        agent=name,
        workflow=home,
        statuses=Counter(each.status for each in sessions),
        requests=sum(each.requests for each in sessions),
        tool_calls=sum(each.tool_calls for each in sessions),
        tokens=sum(each.tokens for each in sessions),
        cost_nano=sum(each.cost_nano for each in sessions),
        uncertain_nano=sum(each.uncertain_nano for each in sessions),
        retries=sum(each.retries for each in sessions),
        mean=sum(seconds) / len(seconds) if seconds else None,
        p95=seconds[projection.rank(95, len(seconds)) - 1] if seconds else None,
        unreal=sum(each.unreal for each in sessions),
        last=max(sessions, key=_begun),
    )
