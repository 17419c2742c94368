"""The lists of the memory store: runs, signals, approvals."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import TypeVar

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.facts import WaitingOn
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_match import Row, matcher
from fleetprompt.engine.core.signal import VOTE, Result, Signal, type_matches
from fleetprompt.engine.ports import Approval, Lineage, Page, Publication, RunHead, Unheard, Vote, Wait
from fleetprompt.engine.store import memory_tables, paging, projection
from fleetprompt.engine.store.lineage import STARTING, trace
from fleetprompt.engine.store.memory_index import MemoryIndex
from fleetprompt.engine.store.memory_state import State

T = TypeVar("T")
M = TypeVar("M", RunHead, Signal, Approval)


def select_page(
    items: Iterable[T],
    row: Callable[[T], Row],
    position: Callable[[T], paging.Position],
    query: Query,
    page: Page,
    now: float,
    zone: tzinfo,
    tie: Callable[[str], str | int] = str,
) -> tuple[list[T], str]:
    holds = matcher(query.require(), now, zone)
    found = sorted((item for item in items if holds(row(item))), key=position, reverse=not page.oldest_first)
    if page.cursor:
        at = paging.read_cursor(page.cursor, tie)
        found = [item for item in found if (position(item) > at if page.oldest_first else position(item) < at)]
    return paging.cut(found, page.limit, position)


class MemoryRuns(MemoryIndex):
    """The `runs` projection and the wait rows."""

    async def get(self, run: str, tenant: str | None = None) -> RunHead | None:
        return _mine(self._state.runs.get(run), tenant)

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        return projection.prefix_or_suffix(text, (head.id for head in self._of(tenant)))

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[RunHead], str]:
        return select_page(self._of(tenant), projection.run_row, _created, query, page, now, self._zone, int)

    async def count(self, query: Query, *, now: float, tenant: str = "default") -> int:
        holds = matcher(query.require(), now, self._zone)
        return sum(1 for head in self._of(tenant) if holds(projection.run_row(head)))

    async def unfinished(self, *, now: float, limit: int = 10_000) -> builtins.list[RunHead]:
        ready = {run for (run, _), wait in self._state.waits.items() if self._is_ready(run, wait)}
        found = (
            head
            for head in self._state.runs.values()
            if head.status in ("pending", "running")
            or (
                head.status == "waiting"
                and (head.waiting_on == "slot" or head.id in ready or (head.wake_at or now + 1) <= now)
            )
        )
        return sorted(found, key=_created)[:limit]

    def _is_ready(self, run: str, wait: Wait) -> bool:
        if wait.on == "child":
            parent, child = self._state.runs[run], self._state.runs.get(wait.ref)
            return child is not None and child.tenant == parent.tenant and child.status in projection.FINAL
        return wait.on == "slot"

    async def due(self, now: float, limit: int = 1000) -> tuple[builtins.list[str], float | None]:
        parked = [
            (head.wake_at, head.id)
            for head in self._state.runs.values()
            if head.wake_at is not None and head.status in ("pending", "waiting")
        ]
        come = sorted(entry for entry in parked if entry[0] <= now)
        return [run for _, run in come[:limit]], min((at for at, _ in parked if at > now), default=None)

    async def waiting(
        self, on: WaitingOn, ref: str, *, key: str | None = None, tenant: str = "default"
    ) -> builtins.list[tuple[str, Wait]]:
        return sorted(
            (
                (run, wait)
                for (run, _), wait in self._state.waits.items()
                if wait.on == on
                and self._state.runs[run].tenant == tenant
                and (type_matches(wait.ref, ref) if on == "signal" else wait.ref == ref)
                and (key is None or wait.key in ("", key))
            ),
            key=lambda found: (found[0], found[1].path),
        )

    async def last_completed(self, workflow: str, tenant: str = "default") -> str | None:
        ended = [
            (head.finished_at or 0.0, head.id)
            for head in self._of(tenant)
            if head.workflow == workflow and head.status == "completed"
        ]
        return max(ended)[1] if ended else None


class MemorySignals:
    """Signals, their results and their routing state."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def publish(self, signal: Signal, *, unheard: Unheard | None = None) -> Publication:
        """Store a signal as new, or find the earlier one with its id or key.

        Raises `Refused` for a vote that does not count, and `InvalidInput` for a vote that is none.
        """
        state = self._state
        earlier = state.signals.get(signal.id)
        if earlier is None and signal.key:
            earlier = state.signals.get(state.keys.get((signal.tenant, signal.key), ""))
        if earlier is not None:
            if earlier.tenant != signal.tenant:
                raise Refused(f"signal id {signal.id} is taken")
            return Publication(signal=earlier, duplicate=True)
        if signal.type == VOTE:
            memory_tables.insert_vote(state, signal, projection.ballot(signal))
        stored = memory_tables.insert_signal(state, signal)
        assert stored is not None
        waited = signal.type == VOTE or any(
            wait.on == "signal" and ("*" in wait.ref or wait.ref == signal.type)
            for (run, _), wait in state.waits.items()
            if state.runs[run].tenant == signal.tenant
        )
        if unheard is None or waited:
            return Publication(signal=stored, waited=waited)
        del state.unrouted[signal.id]
        if unheard.reason:
            state.results[signal.id] = {"": Result(signal=signal.id, status="accepted", reason=unheard.reason)}
        for firing in unheard.firings:
            memory_tables.insert_firing(state, firing)
        return Publication(signal=stored, routed=True, waited=False)

    async def unrouted(self, limit: int = 1000) -> builtins.list[Signal]:
        found = [self._state.signals[id_] for id_ in self._state.unrouted]
        return sorted(found, key=lambda signal: signal.sequence)[:limit]

    async def backlog(self, most: int = 1000) -> int:
        return min(most, len(self._state.unrouted))

    async def close(
        self,
        signal: str,
        results: Iterable[Result] = (),
        *,
        dead: Iterable[DeadLetter] = (),
        revived: Sequence[str] = (),
    ) -> None:
        """Raises `NotFound` for a signal that is not in the store."""
        if signal not in self._state.signals:
            raise NotFound(f"there is no signal {signal}")
        memory_tables.bury(self._state, dead)
        memory_tables.revive(self._state, revived, self._state.signals[signal].tenant)
        for result in results:
            memory_tables.insert_result(self._state, result)
        self._state.unrouted.pop(signal, None)

    async def get(self, signal: str, tenant: str | None = None) -> Signal | None:
        return _mine(self._state.signals.get(signal), tenant)

    async def of_key(self, key: str, tenant: str = "default") -> Signal | None:
        id_ = self._state.keys.get((tenant, key)) if key else None
        return self._state.signals.get(id_) if id_ is not None else None

    async def results(self, signal: str, tenant: str | None = None) -> tuple[bool, builtins.list[Result]]:
        known = _mine(self._state.signals.get(signal), tenant) is not None
        found = self._state.results.get(signal, {}) if known or tenant is None else {}
        return known and signal not in self._state.unrouted, [found[run] for run in sorted(found)]

    async def answers(
        self, ids: Sequence[str], tenant: str = "default"
    ) -> dict[str, tuple[bool, builtins.list[Result]]]:
        known = self._state.signals
        return {id_: await self.results(id_) for id_ in ids if id_ in known and known[id_].tenant == tenant}

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Signal], str]:
        return select_page(self._of(tenant), self._row, _sent, query, page, now, self._zone)

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        holds = matcher(query.require(), now, self._zone)
        found = sorted((each for each in self._of(tenant) if holds(self._row(each))), key=_sent, reverse=True)
        return [signal.id for signal in found]

    async def several(self, ids: Sequence[str], tenant: str = "default") -> builtins.list[Signal]:
        wanted = set(ids)
        return _oldest(signal for signal in self._of(tenant) if signal.id in wanted)

    def _of(self, tenant: str) -> Iterable[Signal]:
        return (signal for signal in self._state.signals.values() if signal.tenant == tenant)

    def _row(self, signal: Signal) -> Row:
        results = self._state.results.get(signal.id, {}).values()
        letters = (each for each in self._state.dead_letters.values() if each.tenant == signal.tenant)
        dead = [each.target for each in letters if each.signal == signal.id and each.status == "dead"]
        return projection.signal_row(signal, results, dead, routed=signal.id not in self._state.unrouted)

    async def lineage(self, signal: str, tenant: str = "default") -> Lineage | None:
        found = _mine(self._state.signals.get(signal), tenant)
        return await trace(_Relations(self._state, tenant), found) if found is not None else None


class _Relations:
    """What lineages ask of the memory store."""

    def __init__(self, state: State, tenant: str) -> None:
        self._signals = {id_: signal for id_, signal in state.signals.items() if signal.tenant == tenant}
        self._runs = {id_: head for id_, head in state.runs.items() if head.tenant == tenant}
        self._accepted = [
            (signal, run)
            for signal, results in sorted(state.results.items())
            for run, result in sorted(results.items())
            if run in self._runs and result.status == "accepted"
        ]

    async def signals_of(self, ids: Sequence[str]) -> dict[str, Signal]:
        return {id_: self._signals[id_] for id_ in ids if id_ in self._signals}

    async def runs_of(self, ids: Sequence[str]) -> dict[str, RunHead]:
        return {id_: self._runs[id_] for id_ in ids if id_ in self._runs}

    async def caused(self, causes: Sequence[str], after: int, most: int) -> builtins.list[Signal]:
        found = (each for each in self._signals.values() if each.causation in causes and each.sequence > after)
        return _oldest(found)[:most]

    async def reached(self, signals: Sequence[str], most: int) -> builtins.list[tuple[str, str]]:
        return [each for each in self._accepted if each[0] in signals][:most]

    async def starter(self, run: str) -> Signal | None:
        found = (self._signals.get(signal) for signal, reached in self._accepted if reached == run)
        return next(iter(_oldest(each for each in found if each is not None and each.type in STARTING)), None)

    async def correlated(self, correlation: str, most: int) -> builtins.list[Signal]:
        return _oldest(each for each in self._signals.values() if correlation in (each.correlation, each.id))[:most]


def _oldest(found: Iterable[Signal]) -> builtins.list[Signal]:
    return sorted(found, key=lambda signal: signal.sequence)


class MemoryApprovals:
    """The approvals projection and the votes."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def get(self, approval: str, tenant: str | None = None) -> Approval | None:
        return _mine(self._state.approvals.get(approval), tenant)

    async def find(self, text: str, tenant: str = "default") -> builtins.list[str]:
        return projection.prefix_or_suffix(text, (approval.id for approval in self._of(tenant)))

    async def votes(self, approval: str, tenant: str | None = None) -> builtins.list[Vote]:
        """Oldest first, over all levels."""
        if await self.get(approval, tenant) is None:
            return []
        found = [vote for (id_, _, _), (vote, _) in self._state.votes.items() if id_ == approval]
        return sorted(found, key=lambda vote: (vote.level, vote.at, vote.by))

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[Approval], str]:
        return select_page(self._of(tenant), projection.approval_row, _asked, query, page, now, self._zone)

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        holds = matcher(query.require(), now, self._zone)
        found = (approval for approval in self._of(tenant) if holds(projection.approval_row(approval)))
        return [approval.id for approval in sorted(found, key=_asked)]

    async def several(
        self, ids: Sequence[str], tenant: str = "default"
    ) -> builtins.list[tuple[Approval, builtins.list[Vote]]]:
        wanted = set(ids)
        found = sorted((each for each in self._of(tenant) if each.id in wanted), key=_asked)
        return [(approval, await self.votes(approval.id)) for approval in found]

    def _of(self, tenant: str) -> Iterable[Approval]:
        return (approval for approval in self._state.approvals.values() if approval.tenant == tenant)


def _mine(found: M | None, tenant: str | None) -> M | None:
    """What was found, if it is the tenant's; None: whosever it is."""
    return found if found is not None and tenant in (None, found.tenant) else None


def _created(head: RunHead) -> paging.Position:
    return head.created_at, head.seq


def _asked(approval: Approval) -> paging.Position:
    return approval.requested_at, approval.id


def _sent(signal: Signal) -> paging.Position:
    return signal.sequence, signal.id
