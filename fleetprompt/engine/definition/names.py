"""What files name that stands in none of them: models, tools, workflows of a project. Who knows them says what is wrong
with a name; here it gets its place.

Names are read from the data and not from the models, so that one mistake does not hide the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.outline import Piece, mapping, sequence
from fleetprompt.engine.definition.problems import Pointer, Problem, ProblemCode, Severity


class Said(Struct, frozen=True):
    """What is to be said about a name, or about a part of what goes with it."""

    message: str
    hint: str = ""
    code: ProblemCode = ProblemCode.UNKNOWN_NAME
    severity: Severity = "error"
    at: Pointer | None = None
    """Below the arguments of a call; None: it is about the name."""
    on: Literal["value", "key"] = "value"


class Names(Protocol):
    """What a project has by name. Nothing is started or asked to find that out."""

    def model(self, name: str) -> Said | None:
        """An alias, or a provider's model."""
        ...

    def tools(self, pattern: str) -> Said | None:
        """An entry in an agent's list of tools."""
        ...

    def call(self, tool: str, arguments: Mapping[str, Any] | None) -> Iterable[Said]:
        """A tool, and the arguments of a call of it, in which texts may hold expressions; None: not known yet."""
        ...

    def function(self, call: str, arguments: Collection[str] | None, folder: Path | None) -> Iterable[Said]:
        """A function of Python as `module:function`, called by a file in that folder with arguments of these names;
        None: not known yet. Nothing of the module is run."""
        ...

    def workflow(self, name: str, folder: Path | None) -> Said | None:
        """A workflow that is started by a file in that folder."""
        ...

    def approver(self, who: str) -> Said | None:
        """An entry in a list of those who may decide."""
        ...

    def policy(self, rules: Mapping[str, Any], named: str) -> Iterable[Said]:
        """The rules of an agent of that name; places are below the rules."""
        ...


def names_of_step(piece: Piece, document: Document, names: Names, folder: Path | None) -> Iterator[Problem]:
    """What is wrong with what a step names besides agents."""
    own = mapping(document.data).get("name")
    for field, kind in piece.type.naming.items() if piece.type is not None else ():
        name, pointer = piece.raw.get(field), (*piece.pointer, field)
        if not isinstance(name, str) or not name or "${{" in name:
            continue
        wrong = names.model(name) if kind == "model" else None
        if kind in ("tool", "function"):
            given = piece.raw.get("with", {})
            arguments = mapping(given) if isinstance(given, dict) else None
            place = (*piece.pointer, "with") if given else pointer
            called = names.call(name, arguments) if kind == "tool" else names.function(name, arguments, folder)
            for said in called:
                yield _placed(document, said, pointer if said.at is None else (*place, *said.at))
        elif kind == "workflow" and name != own:
            wrong = names.workflow(name, folder)
        if wrong is not None:
            yield _placed(document, wrong, pointer)
    asks = [(piece.raw, piece.pointer)] if piece.type is not None and "approvers" in piece.type.model_fields else []
    asks += [(mapping(piece.raw.get(key)), (*piece.pointer, key)) for key in ("approval", "ask")]
    for asking, base in asks:
        yield from _approvers(asking, base, document, names)


def names_of_agent(
    raw: Any, base: Pointer, document: Document, names: Names, folder: Path | None, named: str
) -> Iterator[Problem]:
    """What is wrong with what an agent names besides other agents; `base` is where it stands in the document."""
    body = mapping(raw)
    own = mapping(document.data).get("name") if base else None
    model = body.get("model")
    if isinstance(model, str) and model and (said := names.model(model)):
        yield _placed(document, said, (*base, "model"))
    for index, pattern in enumerate(sequence(body.get("tools"))):
        if isinstance(pattern, str) and (said := names.tools(pattern)):
            yield _placed(document, said, (*base, "tools", index))
    for called, function in mapping(body.get("functions")).items():
        pointer: Pointer = (*base, "functions", called)
        name = function
        if isinstance(function, dict):
            name, pointer = mapping(function).get("workflow"), (*pointer, "workflow")
        if isinstance(name, str) and name != own and (said := names.workflow(name, folder)):
            yield _placed(document, said, pointer)
    yield from _approvers(mapping(body.get("approval")), (*base, "approval"), document, names)
    if policy := mapping(body.get("policy")):
        for said in names.policy(policy, named):
            yield _placed(document, said, (*base, "policy", *(said.at or ())))


def _approvers(asking: Mapping[str, Any], base: Pointer, document: Document, names: Names) -> Iterator[Problem]:
    """What is wrong with those who are named in a question to people."""
    escalate = mapping(asking.get("escalate"))
    for given, place in ((asking.get("approvers"), ("approvers",)), (escalate.get("to"), ("escalate", "to"))):
        if isinstance(given, dict):
            given, place = mapping(given).get("any_of"), (*place, "any_of")
        several = [(who, (*base, *place, index)) for index, who in enumerate(sequence(given))]
        for who, pointer in several or [(given, (*base, *place))]:
            if isinstance(who, str) and "${{" not in who and (said := names.approver(who)):
                yield _placed(document, said, pointer)


def agents_of_agent(raw: Any, base: Pointer = ()) -> Iterator[tuple[str, Pointer]]:
    """The other agents that an agent names, each with its place."""
    body = mapping(raw)
    for field in ("handoffs", "delegates"):
        for index, name in enumerate(sequence(body.get(field))):
            if isinstance(name, str):
                yield name, (*base, field, index)
    name = mapping(body.get("stuck")).get("handoff")
    if isinstance(name, str) and name:
        yield name, (*base, "stuck", "handoff")


def _placed(document: Document, said: Said, pointer: Pointer) -> Problem:
    return document.problem(pointer, said.code, said.message, said.hint, on=said.on, severity=said.severity)
