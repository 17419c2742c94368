"""Expressions of a file, checked before anything runs: that they can be read, and that what they name is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.condition import compile_condition
from fleetprompt.engine.core.expr import ExpressionError, Reference, compile_expression
from fleetprompt.engine.core.names import LAST_RUN_MEMBERS, RUN_MEMBERS
from fleetprompt.engine.core.template import SecretRef, Template, compile_template
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.fields import USUAL_NAMES
from fleetprompt.engine.definition.order import graph
from fleetprompt.engine.definition.outline import Outline, Section, Site, mapping
from fleetprompt.engine.definition.problems import Pointer, Problem, ProblemCode, json_pointer
from fleetprompt.engine.definition.step import StepModel
from fleetprompt.engine.definition.texts import Place, Text, templates, texts

STEP_MEMBERS = ("output", "status", "error", "port", "attempt", "values")
"""What `steps.<id>.` can go on with."""
_ROOTS = {
    "step": USUAL_NAMES,
    "undo": USUAL_NAMES,
    "output": USUAL_NAMES,
    "group": frozenset({"inputs", "trigger", "run"}),
    "trigger": frozenset({"body", "headers", "query", "data", "trigger"}),
}
_ELSEWHERE = {
    "result": "`result` is known in `assert`, `poll`, `set` and `reconcile`",
    "error": "`error` is known in `reconcile`; of another step write `steps.<id>.error`",
    "key": "`key`, the idempotency key, is known in `reconcile`",
    "input": "`input` is known in `reconcile`; the workflow's are `inputs`",
    "signal": "`signal` is known in the `match` of a wait",
    "data": "`data` is known in triggers and in the `match` of a wait; a run sees `trigger.data`",
    "body": "`body` is known in triggers; a run sees `trigger.data`",
    "headers": "`headers` is known in triggers",
    "query": "`query` is known in triggers",
    "item": "`item` is known inside a loop",
    "index": "`index` is known inside a loop",
    "loop": "`loop` is known inside a loop",
}

_FOREIGN = re.compile(
    r"(?:(?<!\$)\{\{|\$\{(?!\{))\s*(?P<name>(?:inputs|steps|vars|run|trigger|last_run|secrets|item)[.\[][^{}\n]{0,200}?)\s*\}{1,2}"
)
"""`{{ inputs.a }}` and `${inputs.a}`, as other systems write it. Templates of programs (`{{.Names}}`) are none."""


class References:
    """Goes through every expression of a file once; afterwards it also tells what they used."""

    def __init__(self, document: Document, outline: Outline) -> None:
        self.document = document
        self.outline = outline
        self.inputs = outline.names("inputs")
        self.vars = outline.names("vars")
        self.used: dict[str, set[str]] = {"inputs": set(), "vars": set()}
        """Names that are read; `*` when the whole mapping is."""
        self.uses_last_run = False
        self.unread = False
        """An expression could not be read, so what it uses is not known."""
        self._inside: dict[int, tuple[frozenset[str], bool]] = {}

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the expressions."""
        for text in texts(self.outline):
            match text.what:
                case "constant":
                    yield self._problem(
                        text.pointer,
                        ProblemCode.BAD_EXPRESSION,
                        "expressions are not evaluated here",
                        "write $${{ for a literal ${{" if text.place.realm == "step" else "write a plain value",
                        text.value.find("${{"),
                        3,
                    )
                case "condition":
                    yield from self._condition(text)
                case "bare":
                    yield from self._expression(text.pointer, text.value, text.place)
                case "template":
                    yield from self._template(text.pointer, text.value, text.place)

    # Kinds of text

    def _condition(self, text: Text) -> Iterator[Problem]:
        if isinstance(text.value, str):
            yield from self._expression(text.pointer, text.value, text.place)
        elif isinstance(text.value, dict):
            condition = cast("dict[str, Any]", text.value)
            try:
                compile_condition(condition)
            except ExpressionError as error:
                yield self._bad(error, text.pointer, condition)
                return
            yield from self._structured(text.pointer, condition, text.place)

    def _structured(self, pointer: Pointer, term: Any, place: Place) -> Iterator[Problem]:
        """The references of a condition that is known to be well-formed."""
        if isinstance(term, str):
            yield from self._expression(pointer, term, place)
        elif isinstance(term, dict):
            body = cast("dict[str, Any]", term)
            for word in ("all", "any"):
                for index, part in enumerate(body.get(word, [])):
                    yield from self._structured((*pointer, word, index), part, place)
            if "not" in body:
                yield from self._structured((*pointer, "not"), body["not"], place)
            if "field" in body:
                yield from self._expression((*pointer, "field"), body["field"], place)
            for where, source in templates(body.get("value"), (*pointer, "value")):
                yield from self._template(where, source, place)

    def _expression(self, pointer: Pointer, source: str, place: Place) -> Iterator[Problem]:
        try:
            expression = compile_expression(source)
        except ExpressionError as error:
            yield self._bad(error, pointer, source)
            return
        for reference in expression.references:
            yield from self._reference(pointer, source, reference, place)

    def _template(self, pointer: Pointer, source: str, place: Place) -> Iterator[Problem]:
        try:
            template = compile_template(source)
        except ExpressionError as error:
            yield self._bad(error, pointer, source)
            return
        yield from self._foreign(pointer, source)
        if not isinstance(template, Template):
            return
        yield from self._secrets(pointer, template, place)
        for reference in template.references:
            yield from self._reference(pointer, source, reference, place)

    def _foreign(self, pointer: Pointer, source: str) -> Iterator[Problem]:
        """`{{ inputs.a }}` and `${inputs.a}` are text here, which is rarely what is meant: warnings."""
        for found in _FOREIGN.finditer(source):
            message = f"`{found[0]}` is text, not an expression"
            hint = f"write ${{{{ {found['name']} }}}}"
            offset, length = found.start(), len(found[0])
            self.unread = True
            yield self._problem(pointer, ProblemCode.SUSPICIOUS, message, hint, offset, length, warning=True)

    def _secrets(self, pointer: Pointer, template: Template, place: Place) -> Iterator[Problem]:
        fields = place.model.secret_fields if place.model is not None else ()
        own = json_pointer(pointer[len(place.base) :])
        if not template.secret_names or any(own == field or own.startswith(f"{field}/") for field in fields):
            return
        listed = ", ".join(f"`{field.lstrip('/')}`" for field in fields)
        hint = f"secrets may stand in {listed}" if fields else "no field here takes secrets"
        for piece in template.pieces:
            if isinstance(piece.content, SecretRef):
                message = f"the secret `{piece.content.name}` cannot be used here"
                offset = template.source.find("secrets", piece.offset)
                length = template.source.find(piece.content.name, offset + 7) + len(piece.content.name) - offset
                yield self._problem(pointer, ProblemCode.BAD_SECRET, message, hint, offset, length)

    # References

    def _reference(self, pointer: Pointer, source: str, reference: Reference, place: Place) -> Iterator[Problem]:
        root = str(reference.path[0])
        finding = _Finding(self, pointer, source, reference)
        if root not in place.sees and root not in _ROOTS[place.realm]:
            names, all_known = self._names_inside(place.site)
            if root not in names and all_known:
                yield finding.problem(0, *self._unknown_root(root, place, names))
            return
        if place.realm == "trigger":
            return
        if root == "inputs":
            yield from self._declared(finding, "inputs", "input", self.inputs)
        elif root == "vars":
            yield from self._declared(finding, "vars", "variable", self.vars)
        elif root == "last_run":
            self.uses_last_run = True
            yield from self._member(finding, LAST_RUN_MEMBERS)
        elif root == "run":
            # A group is told before there is more of the run.
            yield from self._member(finding, ("id",) if place.realm == "group" else RUN_MEMBERS)
        elif root == "steps":
            yield from self._step(finding, place)

    def _declared(self, finding: _Finding, root: str, what: str, names: list[str]) -> Iterator[Problem]:
        path = finding.reference.path
        if len(path) < 2 or not isinstance(path[1], str):
            self.used[root].add("*")
            return
        self.used[root].add(path[1])
        if path[1] not in names:
            hint = did_you_mean(path[1], names) or f"declare it under `{root}:`"
            yield finding.problem(1, f"there is no {what} `{path[1]}`", hint)

    def _member(self, finding: _Finding, members: tuple[str, ...]) -> Iterator[Problem]:
        path = finding.reference.path
        if len(path) > 1 and path[1] not in members:
            hint = did_you_mean(str(path[1]), members) or f"one of: {', '.join(members)}"
            yield finding.problem(1, f"`{path[0]}` has no `{path[1]}` here", hint)

    def _unknown_root(self, root: str, place: Place, names: Iterable[str]) -> tuple[str, str]:
        if place.realm != "trigger":
            for kind, known in (("inputs", self.inputs), ("vars", self.vars), ("steps", self.outline.ids)):
                if root in known:
                    rest = ".output" if kind == "steps" else ""
                    return f"unknown name `{root}`", f"did you mean `{kind}.{root}{rest}`?"
        visible = {*_ROOTS[place.realm], *place.sees, *names}
        hint = did_you_mean(root, visible)
        if not hint and root in _ELSEWHERE:
            return f"`{root}` cannot be seen here", _ELSEWHERE[root]
        if not hint and root in USUAL_NAMES:
            return f"`{root}` cannot be seen here", f"known here: {', '.join(sorted(visible))}"
        return f"unknown name `{root}`", hint or f"known here: {', '.join(sorted(visible))}; quote text: '{root}'"

    def _names_inside(self, site: Site | None) -> tuple[frozenset[str], bool]:
        """Names that the composites around a step give it, and whether all of them could be told."""
        if site is None:
            return frozenset(), True
        section = site.block
        if id(section) not in self._inside:
            names: set[str] = set()
            all_known = True
            owner = section.owner
            while owner is not None:
                plain = owner.type is not None and owner.type.names_inside is StepModel.names_inside
                all_known = all_known and (plain or owner.model is not None)
                names.update(owner.model.names_inside() if owner.model else ())
                owner = owner.block.owner
            self._inside[id(section)] = frozenset(names), all_known
        return self._inside[id(section)]

    # Steps

    def _step(self, finding: _Finding, place: Place) -> Iterator[Problem]:
        path = finding.reference.path
        if len(path) < 2 or not isinstance(path[1], str):
            yield finding.problem(0, "name the step: `steps.<id>.output`", "what is read must be known before it runs")
            return
        target = self._visible(path[1], place.site)
        if target is None:
            yield finding.problem(1, *self._unknown_step(path[1], place.site))
            return
        if len(path) < 3:
            yield finding.problem(1, f"what of `{path[1]}`?", f"write `steps.{path[1]}.output`")
        elif path[2] not in STEP_MEMBERS:
            hint = f"write `steps.{path[1]}.output.{path[2]}`" if isinstance(path[2], str) else ""
            hint = did_you_mean(str(path[2]), STEP_MEMBERS) or hint or f"one of: {', '.join(STEP_MEMBERS)}"
            yield finding.problem(2, f"a step has no `{path[2]}`", hint)
        if place.site is not None and place.realm != "undo" and not finding.reference.optional:
            yield from self._in_time(finding, target, place)

    def _visible(self, id_: str, site: Site | None) -> Site | None:
        for section in _sections(site, self.outline.root):
            if id_ in section.ids:
                return section.ids[id_]
        return None

    def _unknown_step(self, id_: str, site: Site | None) -> tuple[str, str]:
        hidden = self.outline.ids.get(id_)
        if hidden is not None:
            around = list(site.enclosing()) if site is not None else []
            owners = [owner for owner in hidden.enclosing() if self._visible(owner.id, site) is owner]
            hint = "blocks beside each other do not see into each other"
            if owners and owners[0] not in around:
                hint = f"from outside a composite only its output is seen: `steps.{owners[0].id}.output`"
            return f"the step `{id_}` cannot be seen from here", hint
        visible = [known for section in _sections(site, self.outline.root) for known in section.ids if known]
        visible = [known for known in visible if site is None or known != site.id]
        listed = ", ".join(visible[:12]) + (", …" if len(visible) > 12 else "") or "no step"
        return f"there is no step `{id_}`", did_you_mean(id_, visible) or f"seen from here: {listed}"

    def _in_time(self, finding: _Finding, target: Site, place: Place) -> Iterator[Problem]:
        """A step can only be read by those that run after it."""
        assert place.site is not None
        here = next(site for site in place.site.enclosing() if site.block is target.block)
        if here is target:
            if target is place.site:
                hint = "write `result`" if "result" in place.sees else "its output is known when it has completed"
                yield finding.problem(1, f"`{target.id}` refers to itself", hint)
            else:
                is_loop = target.type is not None and target.type.kind == "loop"
                hint = "`loop.previous` is the last iteration's output" if is_loop else ""
                yield finding.problem(1, f"`{target.id}` is still running when the steps in it run", hint)
            return
        order = graph(target.block)
        if order.cycles or order.runs_after(here, target):
            return
        if order.runs_after(target, here):
            yield finding.problem(1, f"`{target.id}` runs after `{here.id}`", "swap them, or refer to another step")
        elif target.index > here.index:
            yield finding.problem(1, f"`{target.id}` has not run when `{here.id}` starts", _need_hint(here, target))
        else:
            message = f"`{target.id}` may not have run when `{here.id}` starts"
            yield finding.problem(1, message, _need_hint(here, target), warning=True)

    # Problems

    def _bad(self, error: ExpressionError, pointer: Pointer, value: Any) -> Problem:
        where = _below(value, error.where)
        text = value
        for part in where:
            text = text[part]
        is_secret = isinstance(text, str) and text.startswith("secrets", error.offset)
        self.unread = True
        code = ProblemCode.BAD_SECRET if is_secret else ProblemCode.BAD_EXPRESSION
        offset = error.offset if isinstance(text, str) and (error.offset or error.length) else None
        return self._problem((*pointer, *where), code, error.message, error.hint, offset, error.length or None)

    def _problem(
        self,
        pointer: Pointer,
        code: ProblemCode,
        message: str,
        hint: str,
        offset: int | None,
        length: int | None,
        *,
        warning: bool = False,
    ) -> Problem:
        severity = "warning" if warning else "error"
        return self.document.problem(pointer, code, message, hint, offset=offset, length=length, severity=severity)


class _Finding:
    """A reference at its place, about which something may have to be said."""

    def __init__(self, owner: References, pointer: Pointer, source: str, reference: Reference) -> None:
        self.owner = owner
        self.pointer = pointer
        self.source = source
        self.reference = reference

    def problem(self, member: int, message: str, hint: str, *, warning: bool = False) -> Problem:
        """The problem with one member of the chain."""
        at, path = self.reference.offset, self.reference.path
        for index in range(member + 1):
            found = self.source.find(str(path[index]), at)
            at = found if found >= 0 else at
            at += len(str(path[index])) if index < member else 0
        return self.owner.document.problem(
            self.pointer,
            ProblemCode.UNKNOWN_REFERENCE,
            message,
            hint,
            offset=at,
            length=len(str(path[member])),
            severity="warning" if warning else "error",
        )


def _sections(site: Site | None, root: Section) -> Iterator[Section]:
    """The blocks whose steps are seen from a step: its own and those around it."""
    if site is None:
        yield root
    else:
        yield from (around.block for around in site.enclosing())


def _need_hint(here: Site, target: Site) -> str:
    if here.needs is None:
        return f"list `{target.id}` before `{here.id}`, or add `needs: [{target.id}]`"
    needs = ", ".join([*(f"{need.step}.{need.port}" if need.port else need.step for _, need in here.needs), target.id])
    return f"add it to the needs: `needs: [{needs}]`"


def _below(value: Any, where: str) -> Pointer:
    """A JSON pointer into a value as keys and positions, as far as there is something."""
    found: list[str | int] = []
    rest = value
    for part in where.split("/")[1:]:
        if isinstance(rest, list) and part.isdecimal() and int(part) < len(cast("list[Any]", rest)):
            found.append(int(part))
            rest = cast("list[Any]", rest)[int(part)]
        elif (key := part.replace("~1", "/").replace("~0", "~")) in mapping(rest):
            found.append(key)
            rest = mapping(rest)[key]
        else:
            break
    return tuple(found)
