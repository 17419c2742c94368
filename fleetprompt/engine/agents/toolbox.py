"""What an agent can call: tools, workflows that are its functions, other agents, people, and the run's variables.

Models take names of letters, digits, `_` and `-`; ours have dots. Both are known here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.agent import Agent, Function
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inputs import inputs_schema
from fleetprompt.engine.core.plan import Input, Plan
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.tool import ActionType, Tool, ToolInfo
from fleetprompt.engine.tools.workflow import START

Way = Literal["tool", "start", "workflow", "delegate", "handoff", "human", "variable"]
"""How a call is carried out: by the tool itself, or by putting the work aside, or by what is recorded of it."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
MOST_NAME = 64


class Entry(Struct, frozen=True):
    """Something that an agent can call."""

    name: str
    way: Way
    info: ToolInfo
    tool: Tool | None = None
    target: str = ""
    """The workflow or the agent behind it."""
    timeout: float | None = None
    inputs: Mapping[str, Input] | None = None
    """Of a workflow whose inputs are the arguments; None: they are in an argument `inputs`."""


class Toolbox:
    """The entries of one agent, by both names."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: dict[str, Entry] = {}
        self._outside: dict[str, str] = {}
        for entry in entries:
            self.entries[entry.name] = entry
            self._outside[_outside(entry.name, self._outside)] = entry.name
        self._inside = {name: outside for outside, name in self._outside.items()}

    def specs(self) -> tuple[ToolSpec, ...]:
        """Everything as a model is told of it."""
        return tuple(
            ToolSpec(self._inside[entry.name], entry.info.spec.description, entry.info.spec.parameters)
            for entry in self.entries.values()
        )

    def named(self, name: str) -> Entry:
        """What a model means. Raises `InvalidInput` with a did-you-mean."""
        entry = self.entries.get(self._outside.get(name, name))
        if entry is None:
            known = ", ".join(self._outside) or "none"
            hint = did_you_mean(name, [*self._outside]) or f"there are: {known}"
            raise InvalidInput(f"there is no tool `{name}`", hint=hint)
        return entry

    @property
    def waiting(self) -> frozenset[str]:
        """Names of those that wait for others."""
        return frozenset(entry.name for entry in self.entries.values() if entry.info.waits)

    @property
    def reads(self) -> frozenset[str]:
        """Names of those that only read."""
        return frozenset(entry.name for entry in self.entries.values() if entry.info.reach == "read")


def _outside(name: str, taken: Mapping[str, str]) -> str:
    plain = _NOT_IN_NAMES.sub("_", name)[:MOST_NAME]
    number = 1
    while plain in taken:
        number += 1
        end = f"_{number}"
        plain = plain[: MOST_NAME - len(end)] + end
    return plain


def outside(patterns: Sequence[str]) -> list[str]:
    """Those of an agent's list that mean tools, and not what only agents have."""
    return [pattern for pattern in patterns if pattern.partition(".")[0] not in FAMILIES]


def entries_of(
    agent: Agent,
    tools: Sequence[Tool],
    agents: Mapping[str, Agent],
    variables: Collection[str] = (),
    plans: Mapping[str, Plan] | None = None,
) -> list[Entry]:
    """Everything that an agent can call. `variables`: those that its workflow declares. `plans`: of its functions, by
    their names; one that is not there takes its workflow's inputs as an object of which nothing is told."""
    return [
        *map(tool_entry, tools),
        *(_function(function, (plans or {}).get(function.name)) for function in agent.functions),
        *_others(agent, agents),
        *_people(agent),
        *_variables(agent, variables),
    ]


def tool_entry(tool: Tool) -> Entry:
    """A tool among what can be called."""
    name = tool.info.spec.name
    return Entry(name, "start" if name == START else "tool", tool.info, tool)


def _function(function: Function, plan: Plan | None) -> Entry:
    """A workflow as a function."""
    about = f"Start the workflow {function.workflow} and wait for its output."
    if plan is None:
        given = {"inputs": {"type": "object", "description": "The inputs of the workflow."}}
        parameters = _object(given, ["inputs"])
    else:
        about = plan.description or about
        parameters = inputs_schema(plan.inputs)
    return Entry(
        function.name,
        "workflow",
        _info(function.name, function.description or about, parameters, waits=True, repeat="safe"),
        target=function.workflow,
        timeout=function.timeout,
        inputs=plan.inputs if plan is not None else None,
    )


def _others(agent: Agent, agents: Mapping[str, Agent]) -> list[Entry]:
    entries: list[Entry] = []
    for name in agent.delegates:
        about = agents[name].description or name
        description = f"Give a part of the task to the agent {name} ({about}), and get its result."
        task = {"task": {"type": "string", "description": "What it is to do, with all that it has to know."}}
        info = _info(f"delegate.{name}", description, _object(task, ["task"]), reach="read", repeat="safe")
        entries.append(Entry(info.spec.name, "delegate", info, target=name))
    for name in agent.handoffs:
        about = agents[name].description or name
        description = f"Hand the whole task over to the agent {name} ({about}). You do nothing more after that."
        reason = {"reason": {"type": "string", "description": "Why, and what it has to know."}}
        info = _info(
            f"handoff.{name}",
            description,
            _object(reason, ["reason"]),
            reach="read",
            repeat="safe",
            action="decision_point",
        )
        entries.append(Entry(info.spec.name, "handoff", info, target=name))
    return entries


def _people(agent: Agent) -> list[Entry]:
    entries: list[Entry] = []
    if any(fnmatchcase(HUMAN_ASK, pattern) for pattern in agent.tools):
        description = "Ask a person a question, and wait for the answer."
        question = {
            "question": {"type": "string"},
            "options": {"type": "array", "items": {"type": "string"}, "description": "Answers to choose from."},
        }
        parameters = _object(question, ["question"])
        info = _info(HUMAN_ASK, description, parameters, reach="read", waits=True, repeat="safe", action="wait")
        entries.append(Entry(HUMAN_ASK, "human", info))
    return entries


def _variables(agent: Agent, declared: Collection[str]) -> list[Entry]:
    """The variables of the run, which its steps and agents share."""
    if not declared:
        return []
    named = {"type": "string", "enum": sorted(declared)}
    value = {"description": "Any JSON value, up to 32 KiB."}
    told = f"a variable that the steps and agents of this run share: {', '.join(sorted(declared))}"
    offered = [
        _info(VARS_GET, f"Read {told}.", _object({"name": named}, ["name"]), reach="read", repeat="safe"),
        _info(
            VARS_SET,
            f"Set {told}.",
            _object({"name": named, "value": value}, ["name", "value"]),
            reach="read",
            repeat="safe",
        ),
    ]
    return [
        Entry(info.spec.name, "variable", replace(info, untrusted=info.spec.name == VARS_GET))
        for info in offered
        if any(fnmatchcase(info.spec.name, pattern) for pattern in agent.tools)
    ]


def own_tools(patterns: Sequence[str] = ("*",)) -> list[ToolInfo]:
    """What agents can name among their tools that is no tool of the registry, as far as it can be told without a
    workflow."""
    agent = Agent(name="", tools=tuple(patterns))
    infos = [entry.info for entry in (*_people(agent), *_variables(agent, ("",)))]
    return [
        replace(info, spec=replace(info.spec, description=f"{info.spec.description.partition(':')[0].rstrip('.')}."))
        for info in infos
    ]


HUMAN_ASK = "human.ask"
VARS_GET = "vars.get"
VARS_SET = "vars.set"
FAMILIES = ("human", "vars")
"""What names begin with that stand among an agent's tools and are no tools of the registry."""


def _info(
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    *,
    reach: Literal["read", "write"] = "write",
    repeat: Literal["safe", "never"] = "never",
    waits: bool = False,
    action: ActionType = "tool_execution",
) -> ToolInfo:
    return ToolInfo(
        spec=ToolSpec(name, description, parameters),
        reach=reach,
        repeat=repeat,
        verdict="allow",
        waits=waits,
        action=action,
        origin="agent",
    )


def _object(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}
