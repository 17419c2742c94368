"""The workflow as it comes into being, and what names mean at each place of the foreign file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from fleetprompt.engine.core.expr import RESERVED
from fleetprompt.engine.definition.fields import USUAL_NAMES
from fleetprompt.engine.definition.importers._expression import pieces_of, translate
from fleetprompt.engine.definition.importers._flow import Node, edge_way
from fleetprompt.engine.definition.importers._given import Found, Report, kind_of
from fleetprompt.engine.definition.importers._name import Ids, slug, unique
from fleetprompt.engine.definition.importers._paths import chain
from fleetprompt.engine.definition.importers._placeholders import Left
from fleetprompt.engine.definition.importers._terms import EACH, Name, Operand, Path, Unknown, Untranslatable, quoted
from fleetprompt.engine.definition.problems import Pointer, ProblemCode

MAX_INPUTS: Final = 500
INPUT = r"[A-Za-z][A-Za-z0-9_]{0,63}"
CHAT_INPUTS: Final = {"current_message": "string", "history": "array"}
"""What a chat gives, by the names that the HTTP contract has for it."""
EVERYTHING: Final = "*"
"""What stands in `Draft.inputs_at` for all that a run is given, taken together."""
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_INPUT_ROOTS: Final = ("input", "inputs", "context", "trigger")
_ENVELOPES: Final = ("output", "payload", "body", "data", "input")
"""Members of a trigger that stand for all that it gives."""
_RUN: Final = {
    "user_id": "run.owner",
    "session_id": "run.session",
    "execution_id": "run.id",
    "run_id": "run.id",
    "workflow_name": "run.workflow",
}
_OUTPUTS: Final = ("output", "result")
"""What the output of a step is called."""
WHOLE_TEXT: Final = ("response", "result", "output", "text", "content", "message", "answer")
"""Members of an agent's output that are all of it where it answers in words."""
_HTTP_MEMBERS: Final = {
    "status": "status", "status_code": "status", "headers": "headers", "body": "body", "response": "body",
    "data": "body", "json": "body", "text": "body", "content": "body", "url": "url", "elapsed_ms": "elapsed_ms",
}  # fmt: skip
_DECISIONS: Final = ("decision", "status", "approved")


class Learned:
    """What the first reading of a file finds out, and the second makes use of."""

    def __init__(self) -> None:
        self.fields: dict[str, dict[str, None]] = {}
        """Members of agents' outputs that others read, by step."""
        self.shown: dict[str, None] = {}
        """Steps inside of loops and branches that are read from outside."""

    def __bool__(self) -> bool:
        return bool(self.shown) or any(self.fields.values())


class Draft:
    """Everything of the result but the order of its steps."""

    def __init__(self, report: Report, learned: Learned, agents: Iterable[str]) -> None:
        self.report = report
        self.known = learned
        self.learned = Learned()
        self.ids = Ids()
        self.steps: dict[str, Node] = {}
        """By their ids in the file."""
        self.names: dict[str, Node | None] = {}
        """Steps whose ids were made of their names, by these; None where several are called so."""
        self.inputs: dict[str, dict[str, Any]] = {}
        self.inputs_at: dict[str, str] = {}
        """What an input is called in the file, to what it is called here."""
        self.vars: dict[str, Any] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.known_agents = frozenset(agents)
        self.triggers: list[dict[str, Any]] = []
        self.completions: list[Pointer] = []
        """Where the file says that the end of something starts it."""
        self.items: dict[Node, tuple[str, str]] = {}
        """Loop to the name of its item in the file, and here."""
        self._roots: tuple[str, ...] | None = None

    @property
    def roots(self) -> tuple[str, ...]:
        """Ids that do not look like names, the longest first."""
        if self._roots is None:
            odd = [key for key in {**self.names, **self.steps} if key and not _PLAIN.fullmatch(key)]
            self._roots = tuple(sorted(odd, key=lambda key: (-len(key), key)))
        return self._roots

    def step(self, name: str) -> Node | None:
        """The step of an id, or the only one of a name."""
        return self.steps.get(name) or self.names.get(name)

    def called(self, step: Node) -> list[str]:
        """What the file calls a step."""
        return [step.key, *(name for name, node in self.names.items() if node is step)]

    def input(self, name: str, pointer: Pointer) -> str:
        """Declare an input that is read; what it is called here."""
        if name not in self.inputs_at:
            ours = name
            if not re.fullmatch(INPUT, name, re.ASCII):
                ours = unique(slug(name, "_", 64, "input"), "_", 64, self.inputs)
                self.report.differs(pointer, f"the input `{name}` is called `{ours}` here")
            if len(self.inputs) >= MAX_INPUTS:
                raise Untranslatable(f"there are more than {MAX_INPUTS} inputs")
            self.inputs_at[name] = ours
            type_ = CHAT_INPUTS.get(name)
            # What nobody gives is null: other systems declare no inputs, and refuse nothing.
            self.inputs[ours] = {**({"type": type_} if type_ else {}), "required": False}
        return self.inputs_at[name]

    def everything(self) -> str:
        """Declare an input that holds all that a run is given, which is read as a whole; what it is called here."""
        if EVERYTHING not in self.inputs_at:
            ours = self.inputs_at[EVERYTHING] = unique("input", "_", 64, self.inputs)
            self.inputs[ours] = {"type": "object", "default": {}}
        return self.inputs_at[EVERYTHING]

    def scope(self, node: Node | None, pointer: Pointer, local: Mapping[str, Operand] | None = None) -> Scope:
        """What names mean to a step."""
        return Scope(self, node, pointer, local or {})


class Scope:
    """What names mean to a step of the file."""

    def __init__(self, draft: Draft, node: Node | None, pointer: Pointer, local: Mapping[str, Operand]) -> None:
        self.draft = draft
        self.node = node
        self.pointer = pointer
        """Where the text stands that is read now."""
        self.local = local
        """Names that the step itself maps to something."""
        self.used: set[str] = set()
        """Those of them that were read."""
        self.states = False
        """`step.status` is how the step has ended, not a member of its output."""
        self.secrets = False
        """Secrets may be named here."""
        self.repeats = False
        """It is asked before each iteration of the loop that the step is."""

    @property
    def roots(self) -> Sequence[str]:
        return self.draft.roots

    def at(self, pointer: Pointer) -> Scope:
        """The same names, for a text at another place."""
        self.pointer = pointer
        return self

    def knows(self, root: str) -> bool:
        return (
            root in self.local
            or self.draft.step(root) is not None
            or root in (*_INPUT_ROOTS, *_RUN, *CHAT_INPUTS, "steps", "secrets", "env")
            or self._item(root) is not None
        )

    def word(self, text: str) -> None:
        self.draft.report.assumed(self.pointer, f"`{text}` is taken for text, since nothing is called so")

    def resolve(self, path: Path) -> Operand:
        root, rest = str(path[0]), path[1:]
        if root in self.local:
            self.used.add(root)
            return _below(self.local[root], rest)
        item = self._item(root)
        if item is not None:
            return self._of_loop(item, root, rest)
        step = self.draft.step(root)
        if step is not None and (root not in _INPUT_ROOTS or (rest and rest[0] in _OUTPUTS)):
            return self._step(step, rest)
        if root == "steps" and rest and isinstance(rest[0], Name):
            step = self.draft.step(rest[0])
            if step is None:
                raise Unknown(f"there is no step `{rest[0]}`")
            return self._step(step, rest[1:])
        if root in ("secrets", "env") and len(rest) == 1 and isinstance(rest[0], Name):
            return self._secret(rest[0])
        if root in _RUN:
            return chain(_RUN[root], rest)
        if root in CHAT_INPUTS:
            return self._input(path)
        if root in _INPUT_ROOTS:
            while root == "trigger" and rest and rest[0] in _ENVELOPES:
                rest = rest[1:]
            if rest and isinstance(rest[0], Name) and rest[0] in self.local:
                # What a step is given by its own mapping is its input.
                self.used.add(rest[0])
                return _below(self.local[rest[0]], rest[1:])
            return self._input(rest)
        raise Unknown(f"nothing is called `{root}`")

    def _input(self, path: Path) -> Operand:
        if not path:
            return Operand(f"inputs.{self.draft.everything()}")
        if not isinstance(path[0], Name):
            raise Untranslatable("inputs have names")
        return chain(f"inputs.{self.draft.input(path[0], self.pointer)}", path[1:])

    def _secret(self, name: str) -> Operand:
        if not self.secrets:
            raise Untranslatable("secrets can stand in headers only")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII):
            raise Untranslatable(f"`{name}` cannot be the name of a secret")
        return Operand(f"secrets.{name}")

    # Loops

    def _item(self, root: str) -> Node | None:
        """The loop whose item, or index, is called so."""
        for node in self.node.around() if self.node is not None else ():
            if node is self.node and self.repeats and root in ("loop", "index"):
                return node
            if node is self.node or node not in self.draft.items:
                continue
            if root == self.draft.items[node][0] or root in ("loop", "item", "index"):
                return node
        return None

    def _of_loop(self, loop: Node, root: str, rest: Path) -> Operand:
        theirs, ours = self.draft.items[loop]
        if root == theirs or root == "item":
            return chain(ours, rest)
        if root == "index":
            return chain("index", rest)
        member = str(rest[0]) if rest else ""
        if member in ("item", theirs, "current", "current_item", "value"):
            return chain(ours, rest[1:])
        if member in ("index", "index0", "iteration"):
            return Operand("index")
        if member in ("first", "length", "previous"):
            return chain("loop", rest)
        raise Unknown(f"a loop has no `{member}` here")

    # Steps

    def _step(self, step: Node, rest: Path) -> Operand:
        if step.kind == "trigger":
            return self.resolve([Name("trigger"), *rest])
        if step.kind == "never":
            return Operand("none")
        if step is self.node:
            raise Unknown(f"`{step.key}` refers to itself")
        if self.states and len(rest) == 1 and rest[0] in ("status", "error"):
            return self._plain(step, "", [rest[0]])
        whole = rest
        if rest and rest[0] in _OUTPUTS:
            rest = rest[1:]
        match step.kind:
            case "condition":
                return self._decided(step)
            case "approval":
                return self._approved(step, rest)
            case "agent":
                return self._said(step, rest)
            case "http" if rest:
                return self._answered(step, rest)
            case "loop" if rest and rest[0] in ("results", "items", "outputs"):
                return self._plain(step, "output", rest[1:])
            case "parallel" if rest:
                return self._branch(step, rest)
            case "transform" if not rest and whole and self._has_member(step, str(whole[0])):
                return self._plain(step, "output", whole)
            case _:
                return self._plain(step, "output", rest)

    def _has_member(self, step: Node, name: str) -> bool:
        given = step.given.body.get("parameters") or step.given.body.get("config")
        static = cast("dict[str, Any]", given).get("data") if isinstance(given, dict) else None
        return isinstance(static, dict) and name in static

    def _decided(self, step: Node) -> Operand:
        text, certain = self._place(step, "port", [])
        del certain
        return Operand(f"{text.bound} == 'then'", simple=False)

    def _approved(self, step: Node, rest: Path) -> Operand:
        member = str(rest[0]) if rest else ""
        if len(rest) == 1 and member in _DECISIONS:
            status = self._plain(step, "status", []).bound
            if member == "approved":
                return Operand(f"{status} == 'completed'", simple=False)
            return Operand(f"'approved' if {status} == 'completed' else 'rejected'", simple=False)
        if member in ("approver", "approved_by", "decided_by"):
            rest = [Name("by"), 0, *rest[1:]]
        if member in ("comment", "comments", "reason"):
            rest = [Name("comment"), *rest[1:]]
        elif member and member not in ("by", "values", "approval", "approver", "approved_by", "decided_by"):
            self.draft.report.differs(
                self.pointer, f"the answer to an approval has no `{member}` here, so this is null"
            )
            return _optional(self._plain(step, "output", rest))
        return self._answer(step, rest) if rest else self._plain(step, "output", rest)

    def _answer(self, step: Node, rest: Path) -> Operand:
        """What was said with a decision: where it was a rejection, that stands in the error."""
        approved = self._plain(step, "output", rest)
        block = step.block
        here = next((node for node in self.node.around() if node.block is block), None) if self.node else None
        if block is None or here is None:
            return approved
        goes_on = step.goes_on or any(source is step and port for node in block.nodes for source, port in node.incoming)
        if not goes_on or block.ways.implies(here.way, edge_way(block.ways, step, "approved")):
            return approved
        rejected = self._plain(step, "error", [Name("data"), *rest])
        if block.ways.implies(here.way, edge_way(block.ways, step, "rejected")):
            return rejected
        either = approved.text.removesuffix(" | default(none)")
        return Operand(
            f"{either} | default({rejected.text.removesuffix(' | default(none)')}) | default(none)", simple=False
        )

    def _said(self, step: Node, rest: Path) -> Operand:
        member = rest[0] if rest else ""
        if isinstance(member, Name):
            fields = self.draft.known.fields.get(step.key, {})
            if member in WHOLE_TEXT:
                self.draft.learned.fields.setdefault(step.key, {})
                if not any(name not in WHOLE_TEXT for name in fields):
                    return self._plain(step, "output", rest[1:])
            self.draft.learned.fields.setdefault(step.key, {})[member] = None
        return self._plain(step, "output", rest)

    def _answered(self, step: Node, rest: Path) -> Operand:
        member = _HTTP_MEMBERS.get(str(rest[0])) if isinstance(rest[0], Name) else None
        if member is not None:
            return self._plain(step, "output", [Name(member), *rest[1:]])
        self.draft.report.assumed(self.pointer, f"`{rest[0]}` is read from the body of the answer to `{step.key}`")
        return self._plain(step, "output", [Name("body"), *rest])

    def _branch(self, step: Node, rest: Path) -> Operand:
        if isinstance(rest[0], Name) and rest[0] in ("results", "branches", "outputs") and len(rest) > 1:
            rest = rest[1:]
        inner = self.draft.step(str(rest[0]))
        if inner is not None and inner.owner is step:
            return self._step(inner, rest[1:])
        return self._plain(step, "output", rest)

    def _plain(self, step: Node, member: str, rest: Path) -> Operand:
        text, certain = self._place(step, member, rest)
        return text if certain or not rest else _optional(text)

    def _place(self, step: Node, member: str, rest: Path) -> tuple[Operand, bool]:
        """A value of a step as it can be seen from here, and whether it is there for certain."""
        here = {node.block: node for node in self.node.around()} if self.node is not None else {}
        members = [Name(member)] if member else []
        if step.block in here:
            peer = here[step.block]
            if peer is step:
                raise Unknown(f"`{step.key}` is still running then")
            assert step.block is not None
            found = chain(f"steps.{step.id}", [*members, *rest])
            if not peer.before >> step.index & 1:
                message = f"nothing says that `{step.key}` has run by then, so this may be null"
                self.draft.report.assumed(self.pointer, message, f"let `{step.key}` come before")
                return _optional(found), True
            certain = step.block.ways.implies(peer.way, step.way) and not step.guarded
            return found, certain
        owner = next((node for node in step.around() if node.block in here), None)
        if owner is not None and here[owner.block] is owner:
            raise Unknown(f"`{step.key}` lies in another branch of `{owner.key}`")
        direct = step.owner is owner and owner is not None and owner.kind == "parallel"
        if direct and owner is not None and member == "output" and owner.blocks[step.branch].last is step:
            found, certain = self._place(owner, "output", [Name(step.branch), *rest])
            return found, certain and step.way == 1 and not step.guarded
        if member != "output":
            raise Unknown(f"`{step.key}` lies in `{step.owner.key if step.owner else ''}`, and only its output is seen")
        self.draft.learned.shown[step.key] = None
        self.draft.vars[step.id] = None
        return chain(f"vars.{step.id}", rest), False

    # Texts, conditions and values

    def expression(self, source: str) -> Operand:
        """A bare expression. Raises `Unknown`, `Untranslatable`."""
        return translate(source, self)

    def text(self, source: str, pointer: Pointer, *, only_text: bool = False) -> str:
        """A text with placeholders as a template. `only_text`: what it becomes must be a text."""
        self.pointer = pointer
        left: list[Left] = []
        parts = pieces_of(source, self, left=left)
        for each in left:
            message = f"`{_short(each.text)}` stays as text: {each.why}"
            self.draft.report.lost(pointer, message, on="value")
        return template(parts, only_text=only_text)

    def value(self, value: Any, pointer: Pointer) -> Any:
        """Any value, with the placeholders in its texts as templates."""
        if isinstance(value, str):
            return self.text(value, pointer)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return [self.value(item, (*pointer, index)) for index, item in enumerate(items)]
        if isinstance(value, dict):
            found: dict[str, Any] = {}
            for key, item in cast("dict[str, Any]", value).items():
                plain = key
                if "${{" in key:
                    plain = key.replace("${{", "{{")
                    self.draft.report.differs((*pointer, key), "a key cannot hold `${{`: the `$` is left out")
                found[plain] = self.value(item, (*pointer, key))
            return found
        return value

    def literal(self, value: Any, pointer: Pointer) -> str:
        """Any value as an expression, with the placeholders in its texts filled in."""
        if isinstance(value, str):
            self.pointer = pointer
            parts = pieces_of(value, self)
            return " ~ ".join(quoted(part) if isinstance(part, str) else part.bound for part in parts)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return f"[{', '.join(self.literal(item, (*pointer, at)) for at, item in enumerate(items))}]"
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return f"{{{', '.join(f'{quoted(key)}: {self.literal(item, (*pointer, key))}' for key, item in pairs)}}}"
        return "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)

    def reference(self, found: Found) -> Operand | None:
        """What a mapping names: `step.field`, a path, a placeholder; None where it is wrong, which is told then."""
        self.pointer = found.pointer
        report = self.draft.report
        if not isinstance(found.value, str) or not found.value.strip():
            message = f"this must name a step and a field of its output, it is {kind_of(found.value)}"
            report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message, "such as `fetch.body`")
            return None
        try:
            return translate(found.value.strip(), self)
        except Unknown as error:
            report.wrong(found.pointer, ProblemCode.UNKNOWN_REFERENCE, str(error))
        except Untranslatable as error:
            report.wrong(found.pointer, ProblemCode.BAD_EXPRESSION, f"this cannot be read: {error}")
        return None


def _below(value: Operand, rest: Path) -> Operand:
    return chain(value.bound, rest) if rest else value


def _optional(value: Operand) -> Operand:
    """The value, null where it is missing."""
    return Operand(f"{value.text} | default(none)", simple=False) if "default(none)" not in value.text else value


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def escaped(text: str) -> str:
    """A text that is taken as it is."""
    return text.replace("${{", "$${{")


def template(parts: Sequence[str | Operand], *, only_text: bool = False) -> str:
    """The parts of a text as a template."""
    if len(parts) == 1 and isinstance(parts[0], Operand):
        value = parts[0]
        if only_text and value.text != "inputs.current_message" and not value.text.endswith("| string"):
            value = Operand(f"{value.bound} | string", simple=False)
        return f"${{{{ {value.text} }}}}"
    text = ""
    for part in parts:
        if isinstance(part, Operand):
            if text.endswith("$"):
                # `$${{` would be an escape.
                text = f"{text[:-1]}${{{{ '$' }}}}"
            text += f"${{{{ {part.text} }}}}"
        else:
            text += escaped(part)
    return text


def item_name(theirs: str, taken: Iterable[str]) -> str:
    """What the item of a loop is called here."""
    found = slug(theirs, "_", 60, "item")
    reserved = USUAL_NAMES | RESERVED | {"index", "loop", *taken}
    return found if found not in reserved else unique(f"{found}_item", "_", 64, reserved)


__all__ = ["EACH", "Draft", "Learned", "Operand", "Scope", "escaped", "item_name", "template"]
