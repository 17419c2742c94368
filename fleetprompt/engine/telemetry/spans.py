"""Spans from facts: what was durable is told when it is over, with the times it had. Nothing is open meanwhile, so
nothing is lost when the process is, and a run that waits for two days costs nothing.

Run > step > agent > request or call. What was given to a model and what it said is never in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core import tracing
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    RunCreated,
    RunFinished,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepStarted,
    StepSucceeded,
)
from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.engine.core.spending import CALLS
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.tracing import Spot
from fleetprompt.engine.ports import Append
from fleetprompt.engine.telemetry import conventions as names
from fleetprompt.engine.telemetry.observing import new_facts

NANO = 1e-9
DOUBT = "in_doubt"
_TOOL_ENDS = kinds.RETURNED | {kinds.BROKEN_OFF}
_AGENT_ENDS = {kinds.FINISHED: "", kinds.GAVE_UP: "AGENT_ERROR", kinds.HANDED_OVER: ""}


class Span(Struct, frozen=True, kw_only=True):
    """Something that is over. Times are epoch seconds."""

    name: str
    spot: Spot
    parent: Spot | None
    """None: the first of its trace."""
    begin: float
    end: float
    attributes: Mapping[str, Any]
    links: tuple[Spot, ...] = ()
    error: str = ""
    """Code of what went wrong."""
    message: str = ""
    client: bool = False
    """It is a call of somebody else."""
    counts: Mapping[str, int] = {}
    """What happened in it how often, by metric."""


class Spans:
    """Turns what is committed into spans. Remembers when what is under way has begun."""

    def __init__(self) -> None:
        self._begun: dict[str, dict[tuple[str, ...], float]] = {}
        """By run: when steps, agents and calls began, by path and key."""

    def of(self, run: Run, entry: Append) -> Iterator[Span]:
        """What is over with these facts."""
        created = run.created
        if created is None:
            return
        for fact in new_facts(entry):
            match fact:
                case StepStarted():
                    self._begin(run, fact.at, fact.path, str(fact.attempt))
                case StepNoted():
                    yield from self._noted(run, created, fact)
                case StepSucceeded() | StepFailed() | StepCancelled() | StepInDoubt():
                    yield from self._ended(run, created, fact)
                case RunFinished():
                    yield _of_run(run, created, fact)
                    self._begun.pop(run.id, None)
                case _:
                    pass

    def _begin(self, run: Run, at: float, *key: str) -> None:
        self._begun.setdefault(run.id, {})[key] = at

    def _began(self, run: Run, otherwise: float, *key: str) -> float:
        """When it began; where that was before this process, as well as it is known."""
        return self._begun.get(run.id, {}).pop(key, otherwise)

    # ------------------------------------------------------------ steps

    def _ended(
        self, run: Run, created: RunCreated, fact: StepSucceeded | StepFailed | StepCancelled | StepInDoubt
    ) -> Iterator[Span]:
        step = run.steps.get(fact.path)
        if step is None or step.started_at is None:
            return
        attempt = step.attempt if isinstance(fact, StepCancelled) else fact.attempt
        if self._began(run, 0.0, fact.path, str(attempt), DOUBT):
            # It was told of already, when nobody knew.
            return
        if isinstance(fact, StepInDoubt):
            self._begin(run, fact.at, fact.path, str(attempt), DOUBT)
        error = ("", "")
        if isinstance(fact, StepFailed):
            error = (fact.error.code, fact.error.message)
        elif not isinstance(fact, StepSucceeded):
            error = ("IN_DOUBT" if isinstance(fact, StepInDoubt) or fact.unknown else "CANCELLED", fact.reason)
        attributes = {names.STEP_TYPE: step.program.node.type, names.ATTEMPT: attempt} | _about(run, created, fact.path)
        yield Span(
            name=f"{step.program.node.type} {step.program.node.id}",
            spot=tracing.of_step(created, step, attempt),
            parent=_above(created, step),
            begin=self._began(run, step.started_at, fact.path, str(attempt)),
            end=fact.at,
            attributes=attributes,
            error=error[0],
            message=error[1],
        )

    # ------------------------------------------------------------ what happens inside

    def _noted(self, run: Run, created: RunCreated, fact: StepNoted) -> Iterator[Span]:
        step = run.steps.get(fact.path)
        if step is None:
            return
        value = mapping(fact.value)
        spot = tracing.of_step(created, step, fact.attempt)
        if fact.kind == kinds.BEGUN:
            self._begin(run, fact.at, fact.path, fact.key)
        elif fact.kind in _AGENT_ENDS:
            began = self._began(run, fact.at, fact.path, fact.key)
            yield _of_agent(run, created, fact, value, began, spot, step)
        elif fact.kind in CALLS:
            yield _of_request(run, created, fact, value, spot)
        elif fact.kind in _TOOL_ENDS:
            yield _of_call(run, created, fact, value, spot, step)


def _about(run: Run, created: RunCreated, path: str = "") -> dict[str, Any]:
    found = {names.RUN: run.id, names.WORKFLOW_NAME: created.workflow, names.TENANT: created.tenant}
    return found | ({names.STEP: path} if path else {})


def _above(created: RunCreated, step: Step) -> Spot:
    owner = step.scope.owner
    return tracing.of_step(created, owner) if owner is not None else tracing.of_run(created)


def _agent(spot: Spot, path: str) -> Spot:
    return tracing.inside(spot, "agent", path) if path else spot


def _of_run(run: Run, created: RunCreated, fact: RunFinished) -> Span:
    failure: Failure | None = fact.error
    attributes: dict[str, Any] = (
        _about(run, created)
        | {
            names.OPERATION: names.INVOKE_WORKFLOW,
            names.STATUS: fact.status,
        }
        | ({names.COST: run.cost_nano * NANO} if not is_unreal(run.mode) else {})
    )
    more = {names.MODE: run.mode, names.CONVERSATION: created.session, names.CORRELATION: created.correlation}
    links = tuple(spot for spot in map(tracing.parse, created.links) if spot is not None)
    return Span(
        name=f"{names.INVOKE_WORKFLOW} {created.workflow}",
        spot=tracing.of_run(created),
        parent=tracing.parse(created.traceparent),
        begin=created.at,
        end=fact.at,
        attributes=attributes | {name: value for name, value in more.items() if value},
        links=links,
        error="" if fact.status == "completed" else failure.code if failure is not None else fact.status.upper(),
        message=failure.message if failure is not None else "",
    )


def _of_agent(
    run: Run, created: RunCreated, fact: StepNoted, value: Mapping[str, Any], began: float, spot: Spot, step: Step
) -> Span:
    sessions = [mapping(told) for kind, key, told, _ in step.notes or () if (kind, key) == (kinds.BEGUN, fact.key)]
    name = str((sessions[0].get("agent_id") if sessions else "") or fact.key)
    return Span(
        name=f"{names.INVOKE_AGENT} {name}",
        spot=_agent(spot, fact.key),
        parent=spot,
        begin=began,
        end=fact.at,
        attributes=_about(run, created, fact.path) | {names.OPERATION: names.INVOKE_AGENT, names.AGENT_NAME: name},
        error=str(value.get("code") or _AGENT_ENDS[fact.kind]) if _AGENT_ENDS[fact.kind] else "",
        message=str(value.get("message") or "") if _AGENT_ENDS[fact.kind] else "",
        counts={
            names.INFERENCE_CALLS: _count(step, CALLS, f"{fact.key}/llm/"),
            names.TOOL_CALLS: _count(step, _TOOL_ENDS, f"{fact.key}/tool/"),
        },
    )


def _count(step: Step, kinds_: Collection[str], begins: str) -> int:
    """How many notes of these kinds are of one agent, and of none that it has called."""
    notes = [(kind, key) for kind, key, _, _ in step.notes or ()]
    return sum(kind in kinds_ and key.startswith(begins) and "/" not in key[len(begins) :] for kind, key in notes)


def _of_request(run: Run, created: RunCreated, fact: StepNoted, value: Mapping[str, Any], spot: Spot) -> Span:
    model = str(value.get("model") or "")
    provider, _, short = model.partition("/")
    operation = names.OPERATIONS.get(fact.kind.partition(".")[0], names.CHAT)
    usage = mapping(value.get("usage"))
    finish = value.get("finish")
    told = {
        names.OPERATION: operation,
        names.PROVIDER: provider if short else "",
        names.REQUEST_MODEL: short or model,
        names.RESPONSE_MODEL: value.get("served_by"),
        names.FINISH_REASONS: [str(finish)] if finish else None,
        names.INPUT_TOKENS: usage.get("input"),
        names.OUTPUT_TOKENS: usage.get("output"),
        names.CACHED_TOKENS: usage.get("cached"),
        names.MODE: value.get("mode"),
        names.COST: (value.get("cost_nano") or 0) * NANO if not is_unreal(str(value.get("mode") or "")) else None,
        names.FIRST_CHUNK: value.get("first"),
        names.CALL: fact.key,
    }
    failed = fact.kind.endswith(".failed")
    return Span(
        name=f"{operation} {short or model}",
        spot=tracing.inside(spot, fact.key, int(value.get("try") or 0)),
        parent=_agent(spot, fact.key.rpartition("/llm/")[0]),
        begin=fact.at - float(value.get("seconds") or 0.0),
        end=fact.at,
        attributes=_about(run, created, fact.path) | {name: said for name, said in told.items() if said is not None},
        error=str(value.get("code") or "AGENT_ERROR") if failed else "",
        message=str(value.get("message") or "") if failed else "",
        client=True,
    )


def _of_call(run: Run, created: RunCreated, fact: StepNoted, value: Mapping[str, Any], spot: Spot, step: Step) -> Span:
    tool = str(value.get("tool") or mapping(kinds.started_by(step, fact.key)).get("tool") or "")
    error = mapping(value.get("error"))
    broken = "IN_DOUBT" if fact.kind == kinds.BROKEN_OFF else ""
    return Span(
        name=f"{names.EXECUTE_TOOL} {tool}",
        spot=tracing.inside(spot, fact.key),
        parent=_agent(spot, fact.key.rpartition("/tool/")[0]) if not fact.key.startswith(kinds.OWN_CALL) else spot,
        begin=fact.at - float(value.get("seconds") or 0.0),
        end=fact.at,
        attributes=_about(run, created, fact.path)
        | {names.OPERATION: names.EXECUTE_TOOL, names.TOOL_NAME: tool, names.TOOL_CALL_ID: fact.key},
        error=str(error.get("code") or broken),
        message=str(error.get("message") or ""),
    )
