"""From steps and arrows of a foreign file to the whole of a workflow file, for every format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from fleetprompt.engine.core.duration import format_duration
from fleetprompt.engine.definition.importers._condition import both, condition
from fleetprompt.engine.definition.importers._draft import Draft
from fleetprompt.engine.definition.importers._flow import Block, Claim, Edge, Kind, Node, settle
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._making import Making
from fleetprompt.engine.definition.importers._name import workflow_name
from fleetprompt.engine.definition.importers._steps import MAKERS, TYPES
from fleetprompt.engine.definition.importers._steps_loops import name_item
from fleetprompt.engine.definition.importers._steps_time import timeout
from fleetprompt.engine.definition.importers._terms import Operand
from fleetprompt.engine.definition.importers._triggers import fill_in
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.definition.step import MAX_STEPS

_TIMED: Final = ("agent", "tool", "http", "unknown", "loop", "parallel")
_ORDER: Final = (
    "id", "type", "name", "description", "if", "needs", "join", "agent", "tool", "method", "url", "over", "while", "as",
    "message", "show", "prompt", "with",
)  # fmt: skip
_LAST: Final = ("timeout", "retry", "guardrails", "on_error", "set", "then", "else", "branches", "steps")
GUARDRAILS: Final = (
    (("request_limit", "requests_limit", "max_requests"), "requests"),
    (("total_tokens_limit", "tokens_limit", "max_tokens"), "tokens"),
    (("tool_calls_limit", "max_tool_calls"), "tool_calls"),
)
_MOST: Final = 2**53


class Importer(Struct, frozen=True):
    """A foreign format."""

    marks: Callable[[dict[str, Any]], int]
    """How many things in a file are as only this format has them; 0 for a file that is not of it."""
    read: Callable[[Given, Draft], Workflow]
    """The workflow of a file of this format. Raises `NotImportable`."""
    about: str
    """In a line, for people."""


class Workflow(Struct):
    """What a file says besides inputs, agents and triggers, which are in the draft."""

    name: str
    description: str
    steps: list[dict[str, Any]]
    guardrails: dict[str, Any] = {}
    theirs: str = ""
    """What the file calls it."""


class Builder:
    """Puts the steps of a file together."""

    def __init__(self, draft: Draft, top: Given) -> None:
        self.draft = draft
        self.report = draft.report
        self.top = top
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.claims: list[Claim] = []
        self.conditions: dict[Node, Found] = {}
        """Conditions without which a step is skipped."""
        self.parameters: dict[Node, Given] = {}
        self._named: dict[str, Node | None] = {}
        self._theirs = ""

    def head(self) -> tuple[str, str]:
        """Name and description of the workflow."""
        theirs, description = self.top.text("name", "workflow_name", "title"), self.top.text("description")
        found = self.top.find("name", "workflow_name", "title")
        name = workflow_name(theirs)
        self._theirs = theirs
        if not theirs:
            self.report.assumed((), f"the file has no name: it is called `{name}`")
        elif _plain(theirs) != _plain(name):
            self.report.differs(found.pointer, f"the workflow is called `{name}` here")
        return name, description or (theirs if theirs != name else "")

    def add(self, key: str, given: Given, kind: Kind, parameters: Given) -> Node:
        """Add a step of the file. Its key must be free."""
        if len(self.nodes) >= MAX_STEPS:
            message = f"the file has more than {MAX_STEPS:,} steps"
            self.report.wrong(given.pointer, ProblemCode.TOO_LARGE, message)
            self.report.stop_if_wrong()
        id_ = "" if kind == "trigger" else self.draft.ids.make(key)
        node = Node(key, id_, kind, given, len(self.nodes))
        self.nodes.append(node)
        self.parameters[node] = parameters
        self.draft.steps[key] = node
        for name in (given.body.get("name"), _plain(key)):
            if isinstance(name, str) and name:
                self._named[name] = None if self._named.get(name, node) is not node else node
        return node

    def named(self, found: Found) -> Node | None:
        """The step that a reference means: by its id, or by a name that no other has. None where there is none."""
        key = found.value
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        if not isinstance(key, str):
            self.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, "this must be the id of a step")
            return None
        node = self.draft.steps.get(key) or self._named.get(key) or self._named.get(_plain(key))
        if node is None:
            from fleetprompt.engine.core.closest import did_you_mean

            hint = did_you_mean(key, self.draft.steps)
            self.report.wrong(found.pointer, ProblemCode.UNKNOWN_NEED, f"there is no step `{key[:80]}`", hint)
        return node

    def several(self, founds: Iterable[Found]) -> list[Node]:
        """The steps that are meant."""
        return [node for node in map(self.named, founds) if node is not None]

    def drop(self, nodes: set[Node]) -> None:
        """Leave out steps that never run."""
        self.nodes = [node for node in self.nodes if node not in nodes]
        self.edges = [edge for edge in self.edges if edge.source not in nodes and edge.target not in nodes]
        self.claims = [claim for claim in self.claims if claim.owner not in nodes]
        for node in nodes:
            node.kind = "never"

    def link(self, source: Node, port: str, target: Node, pointer: Pointer) -> None:
        """One step comes after another."""
        if source is target:
            self.report.wrong(pointer, ProblemCode.CYCLE, f"`{source.key}` waits for itself", "remove it")
            return
        self.edges.append(Edge(source, port, target, pointer))

    # ------------------------------------------------------------ order

    def settle(self) -> Block:
        """Everything in its place."""
        self.report.stop_if_wrong()
        self._start()
        self._ports()
        self._people()
        for node in self.conditions:
            node.guarded = True
        return settle([node for node in self.nodes if node.kind != "trigger"], self.edges, self.claims, self.report)

    def _start(self) -> None:
        """A trigger is no step: what follows it begins."""
        begins = {edge.target for edge in self.edges if edge.source.kind == "trigger"}
        arrived = {edge.target for edge in self.edges if edge.source.kind != "trigger"}
        claimed = {node for claim in self.claims for branch in claim.branches for node in branch}
        for edge in self.edges:
            if edge.target.kind == "trigger":
                self.report.lost(edge.pointer, f"`{edge.target.key}` starts the workflow, so nothing leads to it")
        self.edges = [edge for edge in self.edges if "trigger" not in (edge.source.kind, edge.target.kind)]
        for node in self.nodes if begins else ():
            if node.kind != "trigger" and node not in begins | arrived | claimed:
                self.report.assumed(node.pointer, f"nothing leads to `{node.key}`: it begins with the run")

    def _ports(self) -> None:
        """Conditions on how another step was decided become arrows from the port of that step."""
        for node, found in list(self.conditions.items()):
            if not isinstance(found.value, str):
                continue
            rest: list[str] = []
            for part in _conjuncts(found.value):
                edge = self._decision(node, part)
                if edge is None:
                    rest.append(part)
                else:
                    at, port = edge
                    self.edges[at] = Edge(self.edges[at].source, port, node, self.edges[at].pointer)
            if rest:
                text = found.value if len(rest) == len(_conjuncts(found.value)) else " and ".join(rest)
                self.conditions[node] = Found(text, found.pointer)
            else:
                del self.conditions[node]

    def _decision(self, node: Node, part: str) -> tuple[int, str] | None:
        """The arrow that a comparison with a decision is about, and the port it stands for."""
        match = _DECISION.fullmatch(part.strip())
        if match is None:
            return None
        value = (match["value"] or "true").strip("'\"").lower()
        opposite = match["operator"] in ("!=", "!==") or bool(match["not"])
        for at, edge in enumerate(self.edges):
            if edge.target is not node or edge.port or self.draft.step(match["key"]) is not edge.source:
                continue
            yes = {"approved": True, "rejected": False, "true": True, "false": False}.get(value)
            if (
                edge.source.kind == "approval"
                and yes is not None
                and match["member"] in _MEMBERS[value in ("true", "false")]
            ):
                return at, "approved" if yes != opposite else "rejected"
            if edge.source.kind == "condition" and value in ("true", "false"):
                return at, "then" if (value == "true") != opposite else "else"
        return None

    def _people(self) -> None:
        """Who reads what people decided runs after a rejection as well; others run after an approval."""
        for gate in [node for node in self.nodes if node.kind == "approval"]:
            after = [at for at, edge in enumerate(self.edges) if edge.source is gate]
            readers = {self.edges[at].target for at in after if self._reads(self.edges[at].target, gate)}
            readers |= {
                self.edges[at].target for at in after if self.edges[at].port and self.edges[at].target in self._asked
            }
            handled = any(self.edges[at].port == "rejected" for at in after)
            gate.goes_on = bool(readers)
            for at in after if handled or readers else ():
                edge = self.edges[at]
                if not edge.port and edge.target not in readers:
                    self.edges[at] = Edge(gate, "approved", edge.target, edge.pointer)
                    if readers:
                        message = (
                            f"`{edge.target.key}` does not look at what was decided: it runs after an approval only"
                        )
                        self.report.assumed(edge.pointer, message)

    @property
    def _asked(self) -> set[Node]:
        """Steps with a condition in the file."""
        return {node for node in self.nodes if node.given.body.get("conditions") is not None}

    def _reads(self, node: Node, gate: Node) -> bool:
        texts = [self.conditions[node].value] if node in self.conditions else []
        if node.kind == "condition":
            texts.append(self.parameters[node].body)
        called = "|".join(re.escape(name) for name in self.draft.called(gate))
        pattern = rf"(?:(?<![\w.-])|\$\.)(?:{called})(?![\w-])"
        return any(re.search(pattern, text if isinstance(text, str) else json.dumps(text)) for text in texts)

    # ------------------------------------------------------------ steps

    def steps(self, root: Block) -> list[dict[str, Any]]:
        """The steps of the result."""
        for node in sorted(self.nodes, key=lambda node: sum(1 for _ in node.around())):
            if node.kind == "loop":
                name_item(self.draft, node, self.parameters[node])
        bodies = {node: self._body(node) for node in self.nodes if node.kind != "trigger"}
        for node in self.nodes:
            self.parameters[node].leave(f"`{node.key[:40]}`")
            node.given.leave(f"`{node.key[:40]}`")
        return self._block(root, bodies)

    def _body(self, node: Node) -> dict[str, Any]:
        draft, given, parameters = self.draft, node.given, self.parameters[node]
        local: dict[str, tuple[Operand, Pointer]] = {}
        mapped = given.mapping("input_mapping", "inputs")
        for key in mapped.rest() if mapped is not None else ():
            assert mapped is not None
            place = (*mapped.pointer, key)
            value = draft.scope(node, place).reference(Found(mapped.body[key], place))
            if value is not None:
                local[key] = (value, place)
        scope = draft.scope(node, parameters.pointer, {key: value for key, (value, _) in local.items()})
        step = Making(draft, node, parameters, scope, local)
        own: Any = None
        if node in self.conditions:
            scope.states = True
            own = condition(self.conditions[node], scope)
            scope.states = False
        body = MAKERS[node.kind](step)
        for key in step.unused():
            self.report.lost(local[key][1], f"`{key}` is not used by `{node.key}`")
        if node.kind in _TIMED and (limit := timeout(step, parameters) or timeout(step, given)):
            body["timeout"] = limit
        if node.kind == "condition":
            if own is not None:
                message = f"where its `conditions` do not hold, `{node.key}` goes the way of `else_steps`"
                self.report.differs(self.conditions[node].pointer, message)
                body["if"] = {"all": [own, body["if"]]}
            if node.reached:
                # The `if` of a condition is its question; a switch can be skipped, and has the same ports.
                ways = [{"port": "then", "if": body["if"]}, {"port": "else", "if": True}]
                body = {"type": "switch", "if": node.reached, "cases": ways}
        elif node.reached or own is not None:
            body["if"] = both(node.reached, own)
        self._common(node, body)
        return body

    def _common(self, node: Node, body: dict[str, Any]) -> None:
        given = node.given
        body |= {"id": node.id, "type": body.get("type") or TYPES[node.kind]}
        label, description = given.text("name", "label", "title"), given.text("description")
        if label and label != node.id:
            body["name"] = label
        elif node.key != node.id:
            body["name"] = node.key
        if description:
            body["description"] = description
        if node.needs is not None:
            body["needs"] = node.needs
            if node.join_any and len(node.needs) > 1:
                body["join"] = "any"
        if node.goes_on:
            body["on_error"] = "continue"
        retry = self._retry(given) or self._retry(self.parameters[node])
        if retry:
            body["retry"] = retry
        limits = guardrails(given)
        if limits:
            body["guardrails"] = limits
        if node.key in self.draft.known.shown:
            self.draft.vars.setdefault(node.id, None)
            body["set"] = {node.id: "result"}

    def _retry(self, given: Given) -> Any:
        found = given.find("retry", "retry_policy", "retry_config")
        if not found:
            return None
        if isinstance(found.value, int) and not isinstance(found.value, bool):
            return found.value if 2 <= found.value <= 1000 else None
        inner = given.mapping("retry", "retry_policy", "retry_config")
        assert inner is not None
        tries, pause = inner.whole("max_attempts", "attempts"), inner.number("backoff_seconds", "delay_seconds")
        extra = inner.number("max_retries")
        if tries is None and extra is not None:
            tries = int(extra) + 1
        inner.leave("retry")
        if tries is not None and tries > 1000:
            self.report.differs(found.pointer, "there can be 1,000 attempts at most")
        retry: dict[str, Any] = {"max_attempts": min(tries, 1000)} if tries is not None and tries > 1 else {}
        if pause is not None and (retry or tries is None):
            retry["backoff"] = format_duration(min(pause, 86_400.0))
            if pause > 86_400:
                self.report.differs(found.pointer, "a pause between attempts is a day at most")
        return retry

    def _block(self, block: Block, bodies: dict[Node, dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._step(node, bodies) for node in block.nodes]

    def _step(self, node: Node, bodies: dict[Node, dict[str, Any]]) -> dict[str, Any]:
        body = bodies[node]
        if node.kind == "loop":
            inner = node.blocks.get("steps")
            if inner is None:
                self.report.assumed(node.pointer, f"`{node.key}` has no steps: it gives back its items")
                item = self.draft.items[node][1] if "over" in body else "index"
                each = {
                    "id": self.draft.ids.make(f"{node.id}_item"),
                    "type": "transform",
                    "output": f"${{{{ {item} }}}}",
                }
                body["steps"] = [each]
            else:
                body["steps"] = self._block(inner, bodies)
        elif node.kind == "parallel" and node.blocks:
            ordered = sorted(node.blocks.items(), key=lambda entry: min(each.order for each in entry[1].nodes))
            body["branches"] = {name: self._block(inner, bodies) for name, inner in ordered}
        elif node.kind == "parallel":
            self.report.assumed(node.pointer, f"`{node.key}` names no steps: it does nothing")
            body |= {"type": "transform", "output": None}
            body.pop("timeout", None)
        known = [*(key for key in _ORDER if key in body), *(key for key in body if key not in (*_ORDER, *_LAST))]
        return {key: body[key] for key in (*known, *(key for key in _LAST if key in body))}

    def workflow(self, name: str, description: str, steps: list[dict[str, Any]]) -> Workflow:
        """The whole."""
        limits = guardrails(self.top)
        self.top.leave()
        fill_in(self.draft)
        return Workflow(name, description, steps, limits, self._theirs)


_DECISION: Final = re.compile(
    r"""(?P<not>(?:not\s+|!)?)(?:\{\{\s*)?(?:steps\.)?(?P<key>[^.{}()'"=!]+?)(?:\.(?:output|result))?
    (?:\.(?P<member>decision|status|approved|result|value|condition))?(?:\s*\}\})?
    (?:\s*(?P<operator>===?|!==?)\s*(?P<value>'[a-zA-Z]+'|"[a-zA-Z]+"|true|false|True|False))?""",
    re.VERBOSE,
)
_MEMBERS: Final = {False: ("decision", "status"), True: ("approved",)}


def _conjuncts(text: str) -> list[str]:
    """The parts of a condition that all have to hold, as far as that can be told from outside of brackets."""
    parts: list[str] = []
    depth = start = 0
    for found in re.finditer(r"""'[^']*'|"[^"]*"|[()]|\s+(?:and|AND|&&)\s+|\s+(?:or|OR|\|\|)\s+|\bif\b""", text):
        word = found[0].strip()
        if word in "()":
            depth += 1 if word == "(" else -1
        elif depth == 0 and word in ("or", "OR", "||", "if"):
            return [text]
        elif depth == 0 and word in ("and", "AND", "&&"):
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def guardrails(given: Given) -> dict[str, Any]:
    """Limits under their names here."""
    limits = given.mapping("guardrails", "usage_limits", "limits")
    if limits is None:
        return {}
    found: dict[str, Any] = {}
    for keys, ours in GUARDRAILS:
        value = limits.whole(*keys)
        if value is not None:
            found[ours] = min(value, _MOST)
    cost = limits.number("max_cost_dollars", "max_cost_usd", "cost_limit")
    if cost is not None:
        found["cost_usd"] = min(cost, 1_000_000)
    seconds = limits.number("timeout_seconds")
    if seconds is not None and seconds > 0:
        found["timeout"] = format_duration(min(seconds, 3650 * 86_400.0))
    limits.leave("guardrails")
    return found
