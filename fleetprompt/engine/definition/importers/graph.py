"""The graph form: steps with a type and parameters, and arrows between them.

`{name, steps: [{step_id, step_type, parameters, next_steps, else_steps, retry}]}`; arrows may also be written from the
other end as `dependencies`, with `input_mapping` for what a step is given and `conditions` for when it runs. Field by
field: docs/import.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, cast

from fleetprompt.engine.definition.importers._build import Builder, Importer, Workflow
from fleetprompt.engine.definition.importers._draft import Draft
from fleetprompt.engine.definition.importers._flow import Claim, Kind, Node
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._name import Ids
from fleetprompt.engine.definition.importers._steps_loops import BODY, BRANCHES
from fleetprompt.engine.definition.importers._triggers import add_trigger
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.registry import IMPORTERS

KINDS: Final[dict[str, Kind]] = {
    "trigger": "trigger",
    **dict.fromkeys(("agent_execution", "agent"), "agent"),
    "condition": "condition",
    "loop": "loop",
    "parallel": "parallel",
    "human_approval": "approval",
    **dict.fromkeys(("tool_call", "tool_execution"), "tool"),
    **dict.fromkeys(("data_transform", "data_input", "data_processing"), "transform"),
    "api_call": "http",
    "delay": "delay",
}  # fmt: skip
"""Every `step_type` and its synonyms."""
_MARKS: Final = (
    "step_id",
    "step_type",
    "next_steps",
    "else_steps",
    "dependencies",
    "input_mapping",
    "parameters",
    "config",
)


def marks(data: dict[str, Any]) -> int:
    """Keys of steps that only the graph form has."""
    steps = data.get("steps")
    found = 0
    for step in cast("list[Any]", steps)[:200] if isinstance(steps, list) else ():
        if isinstance(step, dict):
            found += sum(key in step for key in _MARKS)
    return found


def read(top: Given, draft: Draft) -> Workflow:
    """The workflow of a file of this form."""
    build = Builder(draft, top)
    name, description = build.head()
    _nodes(build)
    _arrows(build)
    for node in build.nodes:
        if node.kind == "trigger":
            _trigger(build, node, name)
    root = build.settle()
    if not root.nodes:
        build.report.wrong(("steps",), ProblemCode.MISSING_KEY, "the workflow has no steps", on_key=True)
        build.report.stop_if_wrong()
    steps = build.steps(root)
    return build.workflow(name, description, steps)


def _nodes(build: Builder) -> None:
    report = build.report
    found = build.top.find("steps", "nodes")
    if not isinstance(found.value, list):
        report.wrong(found.pointer, ProblemCode.MISSING_KEY, "`steps` must be a list of steps")
        report.stop_if_wrong()
    made = Ids()
    steps = cast("list[Any]", found.value)
    written = {_key(cast("dict[str, Any]", step)) for step in steps if isinstance(step, dict)}
    for index, raw in enumerate(steps):
        given = Given(report, raw, (*found.pointer, index))
        if not isinstance(raw, dict):
            if raw is None:
                report.wrong(given.pointer, ProblemCode.WRONG_TYPE, "this is not a step")
            continue
        kind = _kind(given)
        key = _key(given.body)
        wanted = given.find("step_id", "id")
        if wanted and wanted.value != "" and not key:
            report.wrong(wanted.pointer, ProblemCode.WRONG_TYPE, "the id of a step must be text")
        if not key:
            key = made.make(given.text("name") or kind)
            while key in written or key in build.draft.steps:
                key = made.make(key)
        if key in build.draft.steps:
            first = report.document.value((*build.draft.steps[key].pointer, "step_id")).line
            message = f"the id `{key[:80]}` is already used" + (f" on line {first}" if first else "")
            report.wrong(wanted.pointer, ProblemCode.DUPLICATE_ID, message, "rename one")
            continue
        inner = given.find("parameters", "config")
        parameters = Given(report, inner.value if inner else {}, inner.pointer or given.pointer)
        node = build.add(key, given, kind, parameters)
        name = given.body.get("name")
        if isinstance(name, str) and name and not _key(given.body):
            names = build.draft.names
            names[name] = None if name in names else node
        asked = given.find("conditions") if kind != "condition" or parameters.has("condition") else Found(None, ())
        if asked and kind != "trigger":
            build.conditions[node] = asked
        if kind == "condition" and not parameters.has("condition", "conditions", "expression", "if", "field"):
            parameters.body = {**parameters.body, "conditions": given.find("conditions").value}
            if given.has("conditions") and not inner:
                parameters.pointer = given.pointer


def _key(step: dict[str, Any]) -> str:
    for name in ("step_id", "id"):
        value = step.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def _kind(given: Given) -> Kind:
    found = given.find("step_type", "type")
    if not found:
        message = "a step needs a `step_type`"
        given.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, ", ".join(KINDS))
        return "unknown"
    if not isinstance(found.value, str):
        given.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, "`step_type` must be text")
        return "unknown"
    return KINDS.get(found.value.strip().lower(), "unknown")


def _arrows(build: Builder) -> None:
    for node in build.nodes:
        given = node.given
        then = {"condition": "then"}.get(node.kind, "")
        otherwise = {"condition": "else", "approval": "rejected"}.get(node.kind, "")
        others = [(found, build.named(found)) for found in given.items("else_steps")]
        both = {target for _, target in others} if node.kind == "approval" else set[Node | None]()
        for found in given.items("next_steps", "next"):
            target = build.named(found)
            if target is not None:
                # Which of the two it is has to be said where the other one leads there as well.
                build.link(node, "approved" if target in both else then, target, found.pointer)
        for found, target in others:
            if target is not None and otherwise:
                build.link(node, otherwise, target, found.pointer)
            elif target is not None:
                message = f"`{node.key}` decides nothing, so nothing leads to `{target.key}` from here"
                build.report.lost(found.pointer, message, on="value")
        for found in given.items("dependencies", "depends_on"):
            source = build.named(found)
            if source is not None:
                build.link(source, "", node, found.pointer)
    for node in build.nodes:
        parameters = build.parameters[node]
        if node.kind == "loop":
            place = parameters.find(*BODY).pointer or node.pointer
            build.claims.append(Claim(node, [build.several(parameters.items(*BODY))], place))
        elif node.kind == "parallel":
            place = parameters.find(*BRANCHES).pointer or node.pointer
            build.claims.append(Claim(node, _branches(build, node, parameters), place))
    for claim in build.claims:
        for branch in claim.branches if claim.owner.kind == "loop" else ():
            _line_up(build, list(dict.fromkeys(branch)), claim.pointer)
        claim.branches[:] = [branch for branch in claim.branches if branch]


def _line_up(build: Builder, nodes: list[Node], pointer: Pointer) -> None:
    """Without an arrow among them, the steps of a loop run as they are listed."""
    members = set(nodes)
    if any(edge.source in members and edge.target in members for edge in build.edges):
        return
    for source, target in pairwise(nodes):
        build.link(source, "", target, pointer)


def _branches(build: Builder, node: Node, parameters: Given) -> list[list[Node]]:
    """The steps that run side by side: those that are named, else those to which the arrows lead."""
    found = parameters.find(*BRANCHES)
    if isinstance(found.value, dict):
        named = Given(build.report, cast("Any", found.value), found.pointer)
        return [build.several(named.items(key)) for key in named.rest()]
    branches: list[list[Node]] = []
    for each in parameters.items(*BRANCHES):
        if isinstance(each.value, list):
            inner = cast("list[Any]", each.value)
            branches.append(build.several(Found(value, (*each.pointer, at)) for at, value in enumerate(inner)))
        else:
            branches.append(build.several([each]))
    if not found:
        after = [edge.target for edge in build.edges if edge.source is node]
        branches = [[target] for target in after] if len(after) > 1 else []
    return branches


def _trigger(build: Builder, node: Node, name: str) -> None:
    parameters = build.parameters[node]
    kind = parameters.text("kind", "type", "trigger_type")
    place = parameters.find("kind", "type", "trigger_type").pointer or node.pointer
    node.given.find("name", "description")
    if not kind:
        build.report.assumed(node.pointer, f"the trigger `{node.key}` does not say what it is: it starts by hand")
    add_trigger(build.draft, parameters, kind, name, place)


IMPORTERS.register("graph")(
    Importer(marks, read, "steps with step_id, step_type, parameters, and next_steps or dependencies")
)
