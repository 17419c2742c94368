"""Executions of agents, folded from the facts of runs. Pure, and shared by every store.

An execution begins with the note of its session. What its own notes tell of counts for it; what happens to its step
makes it wait, go on and end. A further attempt at the step goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from msgspec.structs import replace

from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunFinished,
    RunForked,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSkipped,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.mode import joined
from fleetprompt.engine.core.spending import spending
from fleetprompt.engine.ports import Append, RunHead
from fleetprompt.engine.ports.agents import AgentSession, AgentStatus

GOAL = 200
"""Characters of a goal that a row keeps."""
OPEN: tuple[AgentStatus, ...] = ("running", "waiting")
_Fact = (
    StepNoted
    | StepWaiting
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | StepCancelled
    | StepInDoubt
    | StepResolved
    | ApprovalRequested
    | RunForked
    | RunFinished
)
_FACTS: tuple[type, ...] = get_args(_Fact)
Place = tuple[str, str, str]
"""Run, path of a step, tenant."""


def concerns(entry: Append) -> bool:
    """Whether an append may change executions of agents."""
    if not entry.head.agents and not any(isinstance(fact, StepNoted) and _begins(fact) for fact in entry.facts):
        return False
    return any(isinstance(fact, _FACTS) for fact in entry.facts)


def places(entry: Append) -> Iterator[Place]:
    """The steps whose executions have to be known to fold an append."""
    for path in dict.fromkeys(getattr(fact, "path", "") for fact in entry.facts if isinstance(fact, _FACTS)):
        if path:
            yield entry.run, path, entry.tenant


def ends(entry: Append) -> bool:
    """Whether all that is not over in its run has to be known, too."""
    return any(isinstance(fact, RunFinished) for fact in entry.facts)


def _begins(fact: StepNoted) -> bool:
    return fact.kind == kinds.BEGUN


class AgentBook:
    """The executions of some runs, as far as they are known, and what appends make of them."""

    def __init__(self, known: Iterable[AgentSession] = ()) -> None:
        self._steps: dict[Place, dict[str, AgentSession]] = {}
        """By step and id, the latest last."""
        self._changed: dict[tuple[str, str], Place] = {}
        for each in sorted(known, key=lambda each: each.id):
            self._at((each.run, each.path, each.tenant))[each.id] = each

    @property
    def changed(self) -> list[AgentSession]:
        """What has to be written."""
        return [self._steps[place][id_] for (id_, _), place in self._changed.items()]

    def fold(self, entry: Append) -> None:
        """Take up the facts of an append."""
        for n, fact in enumerate(entry.facts, entry.after + 1):
            if isinstance(fact, _FACTS):
                self._fold(entry, n, fact)

    def _fold(self, entry: Append, n: int, fact: AnyFact) -> None:
        if isinstance(fact, RunForked):
            self._forked(entry, fact.at)
        elif isinstance(fact, RunFinished):
            for place in [place for place in self._steps if (place[0], place[2]) == (entry.run, entry.tenant)]:
                self._end(place, fact.at, "cancelled")
        else:
            place = (entry.run, getattr(fact, "path", ""), entry.tenant)
            if isinstance(fact, StepNoted):
                self._noted(entry, n, place, fact)
            else:
                self._happened(place, fact)

    def _happened(self, place: Place, fact: AnyFact) -> None:
        """Something else than a note about a step."""
        match fact:
            case StepWaiting() | StepInDoubt():
                self._wait(place, fact.at)
            case ApprovalRequested() if fact.call:
                self._wait(place, fact.at)
            case StepSucceeded():
                self._end(place, fact.at, "completed")
            case StepFailed():
                self._end(place, fact.at, "failed", fact.error.code)
            case StepCancelled() | StepSkipped():
                self._end(place, fact.at, "cancelled")
            case StepResolved() if fact.answer == "abort":
                self._end(place, fact.at, "failed", "IN_DOUBT")
            case _:
                pass

    def _noted(self, entry: Append, n: int, place: Place, fact: StepNoted) -> None:
        if fact.kind == kinds.RESUMED:
            for each in self._open(place):
                self._put(place, replace(each, status="running", since=fact.at))
            return
        for each in self._open(place):
            if each.status == "running":
                self._put(place, _active(each, fact.at))
        if _begins(fact):
            self._begin(entry, n, place, fact)
        elif (mine := self._of(place, fact.key)) is not None:
            self._put(place, _told(mine, fact))

    def _begin(self, entry: Append, n: int, place: Place, fact: StepNoted) -> None:
        value = mapping(fact.value)
        goal = " ".join(str(value.get("goal", ""))[: 4 * GOAL].split())[:GOAL]
        known = next((each for each in self._at(place).values() if each.key == fact.key), None)
        if known is not None:
            self._put(place, replace(_again(known, fact), goal=goal))
            return
        above = str(value.get("parent") or "")
        parent = self._of(place, above) if above else None
        session = AgentSession(
            id=f"{entry.run}.{n:06}",
            tenant=entry.tenant,
            run=entry.run,
            workflow=entry.head.workflow,
            path=place[1],
            key=fact.key,
            agent=str(value.get("agent_id", "")),
            attempt=fact.attempt,
            parent=parent.agent if parent is not None else above,
            goal=goal,
            status="running",
            started_at=fact.at,
            since=fact.at,
        )
        self._put(place, session)

    def _of(self, place: Place, key: str) -> AgentSession | None:
        """Whose note it is: of the executions above its key the deepest."""
        found: AgentSession | None = None
        for each in self._at(place).values():
            above = key == each.key or key.startswith(f"{each.key}/")
            if above and (found is None or len(each.key) > len(found.key)):
                found = each
        return found

    def _wait(self, place: Place, at: float) -> None:
        for each in self._open(place):
            if each.status == "running":
                self._put(place, replace(_active(each, at), status="waiting", since=None))

    def _end(self, place: Place, at: float, status: AgentStatus, code: str = "") -> None:
        for each in self._open(place):
            self._put(place, _ended(each, at, status, code))

    def _forked(self, entry: Append, at: float) -> None:
        """What stands before was copied: it is counted where it happened. What is not over goes on here."""
        for place in [place for place in self._steps if (place[0], place[2]) == (entry.run, entry.tenant)]:
            for each in [*self._steps[place].values()]:
                if each.status in OPEN:
                    self._put(place, _anew(each, at))
                else:
                    del self._steps[place][each.id]
                    self._changed.pop((each.id, entry.tenant), None)

    def _open(self, place: Place) -> list[AgentSession]:
        return [each for each in self._at(place).values() if each.status in OPEN]

    def _at(self, place: Place) -> dict[str, AgentSession]:
        return self._steps.setdefault(place, {})

    def _put(self, place: Place, session: AgentSession) -> None:
        self._at(place)[session.id] = session
        self._changed[session.id, session.tenant] = place


def _active(session: AgentSession, at: float) -> AgentSession:
    """Count the time until now."""
    since = session.since if session.since is not None else at
    return replace(session, active=session.active + max(0.0, at - since), since=max(at, since))


def _ended(session: AgentSession, at: float, status: AgentStatus, code: str = "") -> AgentSession:
    if session.status == "running":
        session = _active(session, at)
    return replace(session, status=status, ended_at=at, since=None, error_code=code)


def _again(session: AgentSession, fact: StepNoted) -> AgentSession:
    """An execution that goes on, in a further attempt at its step as well. One that a retry of its run goes on with is
    tried there for the first time: it has done nothing there, and has not ended."""
    further = fact.attempt > session.attempt
    tried = session.ended_at is not None or session.requests or session.tool_calls
    return replace(
        session,
        attempt=max(session.attempt, fact.attempt),
        retries=session.retries + (1 if further and tried else 0),
        status="running",
        since=fact.at,
        ended_at=None,
        error_code="",
    )


def _anew(session: AgentSession, at: float) -> AgentSession:
    since = at if session.status == "running" else None
    return replace(
        session,
        started_at=at,
        since=since,
        active=0.0,
        requests=0,
        tool_calls=0,
        tokens=0,
        cost_nano=0,
        uncertain_nano=0,
        mode="",
        retries=0,
    )


def _told(session: AgentSession, fact: StepNoted) -> AgentSession:
    """An execution after one of its notes."""
    value = mapping(fact.value)
    changed: dict[str, Any] = {}
    if session.status not in OPEN and (fact.kind in kinds.REQUESTS or fact.kind == kinds.CALLED):
        # A later attempt goes on with it without having been given the goal anew.
        session = _again(session, fact)
    if fact.kind in kinds.REQUESTS:
        changed["requests"] = session.requests + 1
        changed["mode"] = joined(session.mode, str(value.get("mode") or ""))
    elif fact.kind == kinds.CALLED:
        changed["tool_calls"] = session.tool_calls + (not value.get("again_by"))
    elif fact.kind in (kinds.FINISHED, kinds.HANDED_OVER):
        return _ended(session, fact.at, "completed")
    elif fact.kind == kinds.GAVE_UP:
        return _ended(session, fact.at, "failed", str(value.get("code", "")))
    if (spent := spending(fact)) is not None:
        changed["tokens"] = session.tokens + spent.tokens
        changed["cost_nano"] = session.cost_nano + spent.cost_nano
        changed["uncertain_nano"] = session.uncertain_nano + spent.uncertain_nano
    return replace(session, **changed) if changed else session


def of_history(run: str, tenant: str, workflow: str, facts: Iterable[AnyFact]) -> list[AgentSession]:
    """The executions in the whole history of a run."""
    told = tuple(facts)
    head = RunHead(
        id=run,
        tenant=tenant,
        workflow=workflow,
        plan="",
        status="running",
        n=len(told),
        created_at=0.0,
        updated_at=0.0,
    )
    book = AgentBook()
    book.fold(Append(run=run, tenant=tenant, after=0, facts=told, head=head))
    return book.changed
