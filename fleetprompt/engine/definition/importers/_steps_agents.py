"""Agents of foreign files, and the steps that work with them."""

from __future__ import annotations

import re
from typing import Any

from fleetprompt.engine.definition.agents import MAX_AGENTS, NAME
from fleetprompt.engine.definition.importers._draft import WHOLE_TEXT, Draft, template
from fleetprompt.engine.definition.importers._expression import pieces_of
from fleetprompt.engine.definition.importers._given import NOTHING, Found
from fleetprompt.engine.definition.importers._making import Making
from fleetprompt.engine.definition.importers._name import slug, unique
from fleetprompt.engine.definition.importers._terms import Name, Operand
from fleetprompt.engine.definition.problems import Pointer, ProblemCode


def agent(step: Making) -> dict[str, Any]:
    """A goal for an agent, who is defined in the result where the file says something about him."""
    given, report = step.given, step.draft.report
    named, numbered = given.find("agent_name", "agent"), given.find("agent_id")
    theirs = given.text("agent_name", "agent") or given.text("agent_id")
    system, query = given.find("system_prompt", "system"), given.find("query", "prompt", "task", "goal")
    preface = ""
    if system:
        parts = pieces_of(given.text("system_prompt", "system"), step.scope.at(system.pointer))
        if any(isinstance(part, Operand) for part in parts):
            preface = template(parts, only_text=True)
            message = "a system prompt holds no expressions here: it stands at the beginning of the goal"
            report.differs(system.pointer, message)
            system = NOTHING
    name = _agent_name(step.draft, theirs or step.node.key or "agent")
    if name in step.draft.known_agents and system:
        preface = step.scope.text(str(system.value), system.pointer, only_text=True)
        message = f"the agent `{name}` of the project has a system prompt: this one stands at the beginning of the goal"
        report.differs(system.pointer, message)
        system = NOTHING
    label = str(numbered.value) if named and numbered and numbered.value != named.value else ""
    place = (named or numbered or Found(None, step.node.pointer)).pointer
    name = _define(step.draft, name, str(system.value) if system else "", label, place)
    if query:
        prompt = step.text(query)
    else:
        prompt = template([step.scope.at(given.pointer).resolve([Name("current_message")])])
        report.assumed(given.pointer, f"the goal of `{step.node.key}` is the message that started the run")
    for key, value in step.unused().items():
        prompt += f"\n\n{key}: {template([value])}"
    prompt = f"{preface}\n\n{prompt}" if preface else prompt
    found: dict[str, Any] = {"agent": name, "prompt": prompt if prompt.strip() else "Go on."}
    turns = given.whole("max_iterations")
    if turns is not None:
        found["max_iterations"] = min(max(turns, 1), 1000)
        if found["max_iterations"] != turns:
            report.differs(given.find("max_iterations").pointer, "there can be 1 to 1,000 iterations")
    fields = list(step.draft.known.fields.get(step.node.key, ()))
    if any(field not in WHOLE_TEXT for field in fields):
        found["output_schema"] = {"type": "object", "required": fields, "properties": {field: {} for field in fields}}
        message = f"`{step.node.key}` is asked for JSON with what others read of its answer: {', '.join(fields)}"
        report.assumed(step.node.pointer, message)
    if any(trigger["type"] == "chat" for trigger in step.draft.triggers):
        step.scope.at(given.pointer).resolve([Name("history")])
        # Runs that no message starts have none.
        found["history"] = "${{ inputs.history | default([], true) }}"
    return found


def _agent_name(draft: Draft, theirs: str) -> str:
    return theirs if re.fullmatch(NAME, theirs) else slug(theirs, "-", 64, "agent")


def _define(draft: Draft, name: str, system: str, label: str, pointer: Pointer) -> str:
    """Put an agent into the result, unless the project has it."""
    if name in draft.known_agents:
        if label:
            draft.report.lost(pointer, f"the agent is found by its name, not by the id `{label[:60]}`")
        return name
    wanted: dict[str, Any] = {**({"system": system} if system else {})}
    if label:
        wanted["labels"] = {"agent_id": label[:200]}
    found = next((each for each in draft.agents if _same(each, name) and draft.agents[each] == wanted), None)
    if found is not None:
        return found
    name = unique(name, "-", 64, {*draft.agents, *draft.known_agents})
    draft.agents[name] = wanted
    if len(draft.agents) > MAX_AGENTS:
        draft.report.wrong(pointer, ProblemCode.TOO_LARGE, f"the file names more than {MAX_AGENTS} agents")
    if not system:
        hint = f"say what it is under `agents:` of the result, or write agents/{name}.yaml and remove it there"
        draft.report.assumed(pointer, f"the file does not say what the agent `{name}` is: it has no tools here", hint)
    return name


def _same(one: str, other: str) -> bool:
    return one == other or re.fullmatch(rf"{re.escape(other)}-\d+", one) is not None
