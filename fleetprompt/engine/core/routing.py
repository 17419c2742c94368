"""Which workflows a signal starts: their triggers of type `signal` and `completion`, evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.condition import compile_condition
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.plan import Plan, Trigger
from fleetprompt.engine.core.signal import FINISHED, RESERVED, Signal, type_matches
from fleetprompt.engine.core.template import compile_value


class Start(Struct, frozen=True):
    """A run that a signal starts."""

    workflow: str
    plan: str
    trigger: int
    """Position of the trigger in the workflow file."""
    kind: str
    inputs: dict[str, Any]
    key: str = ""


class Missed(Struct, frozen=True):
    """A trigger that could not be evaluated."""

    workflow: str
    trigger: int
    reason: str


class Routes:
    """The triggers of all active workflows."""

    def __init__(self, plans: Iterable[tuple[str, Plan]] = ()) -> None:
        self._signals: list[tuple[str, Plan, int, Trigger]] = []
        self._completions: dict[str, list[tuple[str, Plan, int, Trigger]]] = {}
        for digest, plan in plans:
            for index, trigger in enumerate(plan.triggers):
                entry = (digest, plan, index, trigger)
                if trigger.type == "signal":
                    self._signals.append(entry)
                elif trigger.type == "completion":
                    self._completions.setdefault(str(trigger.config.get("workflow")), []).append(entry)

    def listens(self, workflow: str, status: str) -> bool:
        """Whether the end of a run of this workflow starts another."""
        entries = self._completions.get(workflow, ())
        return any(status in _statuses(trigger) for *_, trigger in entries)

    def route(self, signal: Signal) -> list[Start | Missed]:
        """The runs that a signal starts."""
        found: list[Start | Missed] = []
        if signal.type == FINISHED:
            data = mapping(signal.data)
            for digest, plan, index, trigger in self._completions.get(str(data.get("workflow")), ()):
                if data.get("status") in _statuses(trigger):
                    found += _started(signal, digest, plan, index, trigger)
        elif not signal.type.startswith(RESERVED):
            for digest, plan, index, trigger in self._signals:
                if type_matches(str(trigger.config.get("match")), signal.type):
                    found += _started(signal, digest, plan, index, trigger)
        return found


def _statuses(trigger: Trigger) -> list[str]:
    return trigger.config.get("status") or ["completed"]


def _started(signal: Signal, digest: str, plan: Plan, index: int, trigger: Trigger) -> list[Start | Missed]:
    names = {"data": signal.data, "signal": msgspec.to_builtins(signal)}
    try:
        test = trigger.config.get("if")
        if test is not None and not compile_condition(test).evaluate(names):
            return []
        wanted = trigger.config.get("inputs")
        if wanted:
            inputs = mapping(compile_value(wanted).render(names).value)
        else:
            data = mapping(signal.data)
            inputs = {name: data[name] for name in plan.inputs if name in data}
        key = trigger.config.get("key")
        rendered = str(compile_value(key).render(names).value) if key else ""
    except ExpressionError as error:
        return [Missed(plan.name, index, str(error))]
    return [Start(plan.name, digest, index, trigger.type, inputs, rendered)]
