"""The list form: steps that run one after the other, and conditions that jump forward over some of them.

`{name, trigger, guardrails, steps: [{id, type, …}]}` with the types `agent`, `tool`, `condition`, `human`, `parallel`
and `loop`, and paths such as `$.step.field` in their texts. Field by field: docs/import.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from fleetprompt.engine.definition.importers import graph
from fleetprompt.engine.definition.importers._build import GUARDRAILS, Builder, Importer, Workflow
from fleetprompt.engine.definition.importers._draft import Draft
from fleetprompt.engine.definition.importers._flow import Claim, Kind, Node
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._steps_loops import BODY, BRANCHES
from fleetprompt.engine.definition.importers._triggers import add_trigger
from fleetprompt.engine.definition.outline import mapping, sequence
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.registry import IMPORTERS

KINDS: Final[dict[str, Kind]] = {
    **graph.KINDS,
    **dict.fromkeys(("tool", "function"), "tool"),
    **dict.fromkeys(("human", "approval"), "approval"),
    **dict.fromkeys(("transform", "data"), "transform"),
    **dict.fromkeys(("http", "http_request"), "http"),
    "wait": "delay",
}
"""Every `type` and its synonyms; those of the graph form are understood as well."""
MAX_DEPTH: Final = 18
_END: Final = frozenset({"end", "__end__", "stop", "finish"})
_BOTH: Final = frozenset({"agent", "condition", "loop", "parallel", "trigger"})
"""Types that both forms have."""
_TOOLS: Final = frozenset({"tool", "tool_name", "tool_id", "function"})
"""Beside them, `parameters` are what the tool is given."""
_OURS: Final = frozenset({"needs", "with", "argv", "call", "if", "assert", "poll", "compensate", "reconcile", "set"})
_OUR_TYPES: Final = frozenset({"shell", "python", "switch", "emit", "workflow", "chat", "image"})
"""Keys and types of workflow files of our own, in which a `$.` is nothing but text."""
_PATH: Final = re.compile(r"\$\.[A-Za-z_]")


def marks(data: dict[str, Any]) -> int:
    """How much of a file is as only the list form has it."""
    known = [mapping(step) for step in sequence(data.get("steps"))]
    if not any("id" in step and "type" in step and "step_type" not in step for step in known):
        return 0
    if any(
        not _OURS.isdisjoint(step) or step["type"] in _OUR_TYPES for step in known if isinstance(step.get("type"), str)
    ):
        return 0
    found = int("trigger" in data) + sum(_marks(step) for step in known[:200])
    limits = data.get("guardrails")
    return found + any(key in mapping(limits) for keys, _ in GUARDRAILS for key in keys)


def _marks(step: dict[str, Any]) -> int:
    jumps = bool({"then_step", "else_step"} & {*mapping(step.get("condition"))})
    found = sum(key in step for key in ("tool_args", "loop_config", "then_step", "else_step"))
    return found + (step.get("type") == "human") + jumps + any(_PATH.search(text) for text in _texts(step, 0))


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in (*mapping(value).values(), *sequence(value)) if depth < 4 else ():
        yield from _texts(each, depth + 1)


def read(top: Given, draft: Draft) -> Workflow:
    """The workflow of a file of this form."""
    build = Builder(draft, top)
    name, description = build.head()
    found = top.find("steps")
    if not sequence(found.value):
        build.report.wrong(found.pointer, ProblemCode.MISSING_KEY, "`steps` must be a list of steps")
        build.report.stop_if_wrong()
    reader = _Reader(build)
    first = reader.block(found, 0)
    reader.claims()
    reader.follow(first)
    for _, members in reader.inner:
        reader.follow(members)
    reader.drop_unreachable()
    _triggers(build, name)
    root = build.settle()
    return build.workflow(name, description, build.steps(root))


def _triggers(build: Builder, name: str) -> None:
    for found in build.top.items("trigger", "triggers"):
        value = {"type": found.value} if isinstance(found.value, str) else found.value
        given = Given(build.report, value, found.pointer)
        add_trigger(
            build.draft, given, given.text("type", "kind"), name, given.find("type", "kind").pointer or found.pointer
        )


class _Reader:
    """Steps, the steps in them, and who follows whom."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.report = build.report
        self.inner: list[tuple[Pointer, list[Node]]] = []
        """The sequences inside of loops and branches."""
        self._sequences: list[list[Node]] = []
        self._bodies: list[tuple[Node, list[list[Found]], Pointer]] = []

    def block(self, found: Found, depth: int) -> list[Node]:
        """The steps of a list, in its order."""
        if depth > MAX_DEPTH:
            self.report.wrong(
                found.pointer, ProblemCode.TOO_DEEP, f"steps lie more than {MAX_DEPTH} deep in each other"
            )
            self.report.stop_if_wrong()
        nodes: list[Node] = []
        for index, raw in enumerate(cast("list[Any]", found.value)):
            node = self.step(Found(raw, (*found.pointer, index)), depth)
            if node is not None:
                nodes.append(node)
        return nodes

    def step(self, found: Found, depth: int) -> Node | None:
        """One step, with those that are written inside of it. None where it is none, which is told."""
        if not isinstance(found.value, dict):
            self.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, "this is not a step", "{id: fetch, type: tool, …}")
            return None
        given = Given(self.report, cast("Any", found.value), found.pointer)
        key = given.text("id", "step_id", "name")
        kind = self._kind(given)
        given.find("name")
        if not key:
            self.report.wrong(found.pointer, ProblemCode.MISSING_KEY, "a step needs an `id`")
            return None
        first = self.build.draft.steps.get(key)
        if first is not None:
            line = self.report.document.value(first.pointer).line
            message = f"the id `{key[:80]}` is already used by the step on line {line}"
            self.report.wrong((*found.pointer, "id"), ProblemCode.DUPLICATE_ID, message, "rename one")
            return None
        parameters = given
        if kind in ("loop", "parallel"):
            parameters = given.mapping(f"{kind}_config", "config", "parameters") or given
        elif _is_of_the_graph_form(given.body):
            parameters = given.mapping("parameters", "config") or given
        elif kind == "trigger":
            self.report.wrong(
                found.pointer, ProblemCode.UNKNOWN_TYPE, "a trigger is no step in a list", "put it under `trigger`"
            )
        node = self.build.add(key, given, kind, parameters)
        if kind in ("loop", "parallel"):
            self._inside(node, parameters, depth)
        return node

    def _kind(self, given: Given) -> Kind:
        found = given.find("type", "step_type")
        if not isinstance(found.value, str):
            message = "a step needs a `type`"
            place = found.pointer or given.pointer
            self.report.wrong(
                place, ProblemCode.MISSING_KEY, message, "agent, tool, condition, human, parallel or loop"
            )
            return "unknown"
        return KINDS.get(found.value.strip().lower(), "unknown")

    def _inside(self, node: Node, given: Given, depth: int) -> None:
        """What a loop or a parallel has inside: steps that are written there, or the ids of others."""
        keys = BODY if node.kind == "loop" else BRANCHES
        found = given.find(*keys)
        lists: list[list[Found]] = []
        if node.kind == "loop":
            lists = [given.items(*keys)]
        elif isinstance(found.value, dict):
            named = Given(self.report, cast("Any", found.value), found.pointer)
            lists = [named.items(key) for key in named.rest()]
        else:
            for each in given.items(*keys):
                lists.append(_members(each))
        written = [[self._one(each, depth) for each in members] for members in lists]
        self._bodies.append((node, written, found.pointer or node.pointer))

    def _one(self, found: Found, depth: int) -> Found:
        """A reference as it is; a step that is written here, read, as a reference to itself."""
        if not isinstance(found.value, dict):
            return found
        if depth > MAX_DEPTH:
            self.report.wrong(
                found.pointer, ProblemCode.TOO_DEEP, f"steps lie more than {MAX_DEPTH} deep in each other"
            )
            self.report.stop_if_wrong()
        node = self.step(found, depth + 1)
        return Found(node.key if node is not None else None, found.pointer)

    def claims(self) -> None:
        """Now that all steps are known, those that are meant by loops and branches."""
        for node, lists, pointer in self._bodies:
            branches = [self.build.several(each for each in members if each.value is not None) for members in lists]
            branches = [branch for branch in branches if branch]
            self.build.claims.append(Claim(node, branches, pointer))
            self.inner += [(pointer, branch) for branch in branches]

    def follow(self, nodes: list[Node]) -> None:
        """Arrows from each step of a sequence to the next, and from a condition to where it jumps."""
        inside = {node for _, branch in self.inner for node in branch}
        sequence = [node for node in nodes if node not in inside or any(nodes is branch for _, branch in self.inner)]
        self._sequences.append(sequence)
        position = {node: at for at, node in enumerate(sequence)}
        for at, node in enumerate(sequence):
            after = sequence[at + 1] if at + 1 < len(sequence) else None
            if node.kind != "condition":
                if after is not None:
                    self.build.link(node, "", after, after.pointer)
                continue
            for port, found in self._jumps(node):
                target = self._target(node, found, position, after)
                if target is not None:
                    self.build.link(node, port, target, found.pointer or after.pointer if after else found.pointer)

    def _jumps(self, node: Node) -> list[tuple[str, Found]]:
        """Where a condition leads, by its ports; not given: to the next step."""
        body = node.given.body
        inner: Any = body.get("condition")
        found: list[tuple[str, Found]] = []
        for port, key in (("then", "then_step"), ("else", "else_step")):
            jump = node.given.find(key)
            if isinstance(inner, dict) and cast("dict[str, Any]", inner).get(key) is not None:
                jump = Found(cast("dict[str, Any]", inner)[key], (*node.pointer, "condition", key))
            found.append((port, jump))
        if isinstance(inner, dict):
            kept = {
                key: value
                for key, value in cast("dict[str, Any]", inner).items()
                if key not in ("then_step", "else_step")
            }
            node.given.body = {**body, "condition": kept}
        return found

    def _target(self, node: Node, found: Found, position: dict[Node, int], after: Node | None) -> Node | None:
        if not found:
            return after
        if isinstance(found.value, str) and found.value.lower() in _END and found.value not in self.build.draft.steps:
            return None
        target = self.build.named(found)
        if target is None:
            return None
        if target not in position:
            message = f"`{target.key}` is not in the same list as `{node.key}`: what comes after it here is left out"
            self.report.differs(found.pointer, message)
            return None
        if position[target] <= position[node]:
            message = f"`{node.key}` jumps back to `{target.key}`"
            self.report.wrong(found.pointer, ProblemCode.CYCLE, message, "to do steps again, put them into a loop")
            return None
        return target

    def drop_unreachable(self) -> None:
        """Steps that every condition jumps over never run."""
        build = self.build
        arrives: dict[Node, list[Node]] = {}
        for edge in build.edges:
            arrives.setdefault(edge.target, []).append(edge.source)
        gone: set[Node] = set()
        for line in self._sequences:
            # Arrows lead forward only, so one pass in the order of the list finds all of them.
            for node in line[1:]:
                if gone.issuperset(arrives.get(node, ())):
                    gone.add(node)
        lost = list(gone)
        while lost:
            owner = lost.pop()
            inside = {
                node for claim in build.claims if claim.owner is owner for each in claim.branches for node in each
            }
            lost += inside - gone
            gone |= inside
        for node in sorted(gone, key=lambda node: node.order):
            self.report.lost(node.pointer, f"nothing leads to `{node.key}`: it never runs, and is left out")
        build.drop(gone)


def _is_of_the_graph_form(step: dict[str, Any]) -> bool:
    """Whether a step has its fields in `parameters`, as those of the graph form have: it is of a type of theirs."""
    type_ = str(step.get("type") or step.get("step_type") or "").strip().lower()
    return type_ in graph.KINDS and type_ not in _BOTH and _TOOLS.isdisjoint(step)


def _members(branch: Found) -> list[Found]:
    """The steps of a branch: one, a list of them, or a mapping that holds such a list."""
    body = mapping(branch.value)
    inner, pointer = (body.get("steps"), (*branch.pointer, "steps")) if body else (branch.value, branch.pointer)
    if not isinstance(inner, list) or "type" in body:
        return [branch]
    return [Found(value, (*pointer, index)) for index, value in enumerate(sequence(inner))]


IMPORTERS.register("list")(
    Importer(marks, read, "steps with id and type in order, paths such as $.step.field, conditions with then_step")
)
