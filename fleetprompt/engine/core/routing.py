"""Which workflows a signal starts: the triggers of those that are active, evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.condition import compile_condition
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.firing import alone
from fleetprompt.engine.core.plan import Plan, Trigger, trigger_ids
from fleetprompt.engine.core.signal import (
    AGENT_FINISHED,
    FINISHED,
    RESERVED,
    TRIGGER_CHAT,
    TRIGGER_SCHEDULE,
    TRIGGER_WATCH,
    TRIGGER_WEBHOOK,
    Signal,
    type_matches,
)
from fleetprompt.engine.core.template import compile_value

KINDS = {
    TRIGGER_SCHEDULE: "schedule",
    TRIGGER_WEBHOOK: "webhook",
    TRIGGER_WATCH: "watch",
    TRIGGER_CHAT: "chat",
}
"""The kind of trigger that each of these types of signals is for, which their subject names."""


class Start(Struct, frozen=True):
    """A run that a signal starts."""

    workflow: str
    plan: str
    trigger: str
    """Id of the trigger in its workflow."""
    kind: str
    inputs: dict[str, Any]
    key: str = ""
    session: str = ""
    """The conversation that the run belongs to."""
    project: str = ""
    alone: str = ""
    """Name of the claim that a run has to hold which must not overlap others of its trigger."""


class Missed(Struct, frozen=True):
    """A trigger that could not be evaluated."""

    workflow: str
    trigger: str
    kind: str
    reason: str


class Passed(Struct, frozen=True):
    """A trigger that a signal was meant for, and that starts nothing: that is no fault, but somebody may wonder."""

    workflow: str
    trigger: str
    kind: str
    reason: str
    gone: bool = False
    """There is no such trigger: what it was to start is missing."""


class Active(Struct, frozen=True):
    """An active workflow."""

    digest: str
    plan: Plan
    tenant: str = "default"
    since: float = 0.0
    """When it was made active: of two that want the same, the first has it."""


class Hook(Struct, frozen=True):
    """A trigger of type `webhook` of an active workflow: the one that has its path."""

    tenant: str
    workflow: str
    id: str
    trigger: Trigger

    @property
    def path(self) -> str:
        """The last part of its URL."""
        return str(self.trigger.config.get("path"))

    @property
    def signed(self) -> bool:
        """Whether its senders sign; others show a token."""
        return bool(self.trigger.config.get("secret"))


class _Entry(Struct, frozen=True):
    workflow: Active
    id: str
    trigger: Trigger


class Routes:
    """The triggers of all active workflows."""

    def __init__(self, workflows: Iterable[Active] = ()) -> None:
        self._signals: dict[str, list[_Entry]] = {}
        """Those of type `signal`, by tenant."""
        self._ends: dict[tuple[str, str, str], list[_Entry]] = {}
        """Those of type `completion`, by tenant, what ends (`workflow` or `agent`) and its name."""
        self._meant: dict[tuple[str, str, str], list[_Entry]] = {}
        """Those that a signal names, by tenant, kind and subject."""
        self._hooks: dict[str, list[Hook]] = {}
        """Webhooks by path: of each tenant one."""
        self.doubled: list[tuple[Hook, Hook]] = []
        """Webhooks whose path another one has, and that one: nothing reaches them."""
        for workflow in sorted(workflows, key=lambda each: each.since):
            plan = workflow.plan
            for id_, trigger in zip(trigger_ids(plan.triggers), plan.triggers, strict=True):
                self._add(_Entry(workflow, id_, trigger))

    def _add(self, entry: _Entry) -> None:
        tenant, trigger, name = entry.workflow.tenant, entry.trigger, entry.workflow.plan.name
        match trigger.type:
            case "signal":
                self._signals.setdefault(tenant, []).append(entry)
            case "completion":
                for what in ("workflow", "agent"):
                    if trigger.config.get(what):
                        self._ends.setdefault((tenant, what, str(trigger.config[what])), []).append(entry)
            case "webhook":
                self._add_hook(entry)
            case "chat":
                self._meant.setdefault((tenant, "chat", name), []).append(entry)
            case "schedule" | "watch":
                self._meant.setdefault((tenant, trigger.type, f"{name}/{entry.id}"), []).append(entry)
            case _:
                pass

    def _add_hook(self, entry: _Entry) -> None:
        """One path is one trigger: who knows the secret of one must not start another."""
        hook = Hook(entry.workflow.tenant, entry.workflow.plan.name, entry.id, entry.trigger)
        holder = next((each for each in self._hooks.get(hook.path, ()) if each.tenant == hook.tenant), None)
        if holder is None:
            self._hooks.setdefault(hook.path, []).append(hook)
            self._meant[hook.tenant, "webhook", hook.path] = [entry]
        elif (holder.workflow, holder.id) != (hook.workflow, hook.id):
            self.doubled.append((hook, holder))

    def hooks(self, path: str | None = None) -> list[Hook]:
        """The webhooks of a path, or all: of every tenant."""
        found = self._hooks.values() if path is None else (self._hooks.get(path, []),)
        return [hook for hooks in found for hook in hooks]

    def listens(self, workflow: str, status: str, tenant: str = "default") -> bool:
        """Whether the end of a run of this workflow starts another."""
        return any(status in _statuses(each.trigger) for each in self._ends.get((tenant, "workflow", workflow), ()))

    def listens_to_agent(self, agent: str, status: str, tenant: str = "default") -> bool:
        """Whether the end of this agent's work starts a run."""
        return any(status in _statuses(each.trigger) for each in self._ends.get((tenant, "agent", agent), ()))

    @property
    def agents(self) -> bool:
        """Whether the end of any agent's work starts a run."""
        return any(what == "agent" for _, what, _ in self._ends)

    def find(self, kind: str, subject: str, tenant: str = "default") -> list[tuple[Active, str, Trigger]]:
        """The triggers of a kind that signals with this subject are meant for: with their workflow and their id."""
        return [(each.workflow, each.id, each.trigger) for each in self._meant.get((tenant, kind, subject), ())]

    def route(self, signal: Signal) -> list[Start | Missed | Passed]:
        """The runs that a signal starts. Each trigger starts at most one."""
        kind = KINDS.get(signal.type)
        if kind is not None:
            meant = self._meant.get((signal.tenant, kind, signal.subject), [])
            if not meant:
                workflow, _, trigger = signal.subject.partition("/") if kind != "webhook" else ("", "", "")
                return [Passed(workflow, trigger, kind, "no active workflow has this trigger any more", gone=True)]
            return [_started(signal, each) or _passed(each) for each in _once(meant)]
        return [_started(signal, each) or _passed(each) for each in _once(self._heard(signal))]

    def _heard(self, signal: Signal) -> list[_Entry]:
        """The triggers that hear a signal, as far as its type and what it is about matter."""
        if signal.type in (FINISHED, AGENT_FINISHED):
            data, what = mapping(signal.data), "workflow" if signal.type == FINISHED else "agent"
            ends = self._ends.get((signal.tenant, what, str(data.get(what))), ())
            return [each for each in ends if data.get("status") in _statuses(each.trigger)]
        if signal.type.startswith(RESERVED):
            return []
        known = self._signals.get(signal.tenant, ())
        return [each for each in known if type_matches(str(each.trigger.config.get("match")), signal.type)]


def _once(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Two triggers of a workflow that say exactly the same are one."""
    seen: set[tuple[str, str]] = set()
    for each in entries:
        key = each.workflow.plan.name, each.id
        if key not in seen:
            seen.add(key)
            yield each


def _statuses(trigger: Trigger) -> list[Any]:
    return items(trigger.config.get("status")) or ["completed"]


def _passed(entry: _Entry) -> Passed:
    return Passed(entry.workflow.plan.name, entry.id, entry.trigger.type, "its `if` does not hold")


def told(signal: Signal, kind: str, id_: str) -> dict[str, Any]:
    """What a run is told of what has started it: its `trigger`."""
    found = {"kind": kind, "id": id_, "signal": signal.id, "type": signal.type, "data": signal.data}
    if signal.chain:
        found["chain"] = signal.chain
    return found | {"replay_of": signal.replay_of} if signal.replay_of else found


def names(signal: Signal, kind: str, id_: str) -> dict[str, Any]:
    """What the expressions of a trigger see."""
    request = mapping(signal.data) if kind == "webhook" else {"body": signal.data}
    return {
        "data": signal.data,
        "signal": msgspec.to_builtins(msgspec.structs.replace(signal, audit=None)),
        "trigger": told(signal, kind, id_),
        "body": request.get("body"),
        "headers": mapping(request.get("headers")),
        "query": mapping(request.get("query")),
    }


def _started(signal: Signal, entry: _Entry) -> Start | Missed | None:
    """The run that a trigger starts on a signal; None where its condition does not hold."""
    plan, trigger = entry.workflow.plan, entry.trigger
    seen = names(signal, trigger.type, entry.id)
    try:
        test = trigger.config.get("if")
        if test is not None and not compile_condition(test).evaluate(seen):
            return None
        wanted = trigger.config.get("inputs")
        given = mapping(seen["body"])
        # A message can bring inputs by their names besides.
        inputs = {name: given[name] for name in plan.inputs if name in given and (not wanted or trigger.type == "chat")}
        if wanted:
            inputs |= mapping(compile_value(wanted).render(seen).value)
        # A webhook's key is that of its signal.
        key = trigger.config.get("key") if trigger.type == "signal" else None
        rendered = str(compile_value(key).render(seen).value) if key else ""
    except ExpressionError as error:
        return Missed(plan.name, entry.id, trigger.type, str(error))
    return Start(
        plan.name,
        entry.workflow.digest,
        entry.id,
        trigger.type,
        inputs,
        rendered,
        session=str(mapping(signal.data).get("session") or "") if trigger.type == "chat" else "",
        project=str(mapping(signal.data).get("project") or "") if trigger.type == "chat" else "",
        alone=alone(plan.name, entry.id, trigger),
    )
