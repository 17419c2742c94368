"""Templates: `${{ expression }}` in the strings of a workflow file, and values of any shape that hold such strings.

A string that is one expression and nothing else keeps the expression's type. `$${{` stands for `${{` itself. Only the
file is ever parsed: what an expression yields is data, whatever it looks like. A secret renders to a reference
beside the value, never to text in it, so nothing in the data can pose as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from fleetprompt.engine.core.expr import Expression, ExpressionError, Reference, compile_expression
from fleetprompt.engine.core.expr_json import to_text
from fleetprompt.engine.core.expr_syntax import scan
from fleetprompt.engine.core.expr_values import MAX_TEXT, Meter, Refusal, type_of

_OPEN: Final = "${{"
_SECRET: Final = re.compile(r"\s*secrets\s*\.\s*([A-Za-z][A-Za-z0-9_]*)\s*")


class SecretRef(Struct, frozen=True):
    """Where a secret goes; resolved when the work is dispatched, and written down nowhere."""

    name: str


Part = str | SecretRef
Scope = Mapping[str, Any]
Secrets = dict[str, list[Part]]


class Rendered(Struct, frozen=True):
    """A value, and the secrets that belong into it."""

    value: Any
    """The value, with "" in every string that contains a secret."""
    secrets: Secrets = {}
    """JSON pointer (RFC 6901) of each such string in the value: its parts in order."""


class Piece(Struct, frozen=True, eq=False):
    """One `${{ }}` of a template."""

    content: Expression | SecretRef
    offset: int
    """Of the text between the braces, in the template."""


class Template(Struct, frozen=True, eq=False):
    """A string with at least one expression in it."""

    source: str
    parts: tuple[str | Piece, ...]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Its expressions and secrets, in order."""
        return tuple(part for part in self.parts if isinstance(part, Piece))

    @property
    def names(self) -> frozenset[str]:
        """Root names its expressions read; `secrets` is not one of them."""
        return frozenset(str(reference.path[0]) for reference in self.references)

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every static member chain, placed in the template."""
        return tuple(
            Reference(ref.path, ref.offset + piece.offset, ref.length, ref.optional)
            for piece in self.pieces
            if isinstance(piece.content, Expression)
            for ref in piece.content.references
        )

    @property
    def secret_names(self) -> frozenset[str]:
        """Secrets it refers to."""
        return frozenset(piece.content.name for piece in self.pieces if isinstance(piece.content, SecretRef))

    def render(self, scope: Scope) -> Rendered:
        """The value with these names. Raises ExpressionError, NeedsValue."""
        secrets: Secrets = {}
        return Rendered(self.fill(scope, "", secrets), secrets)

    def fill(self, scope: Scope, pointer: str, secrets: Secrets) -> Any:
        """The value, its secrets noted under `pointer`. Raises ExpressionError, NeedsValue."""
        only = self.parts[0]
        if len(self.parts) == 1 and isinstance(only, Piece) and isinstance(only.content, Expression):
            return _evaluated(only, only.content, scope)
        meter, parts = Meter(), list[Part]()
        for part in self.parts:
            _append(parts, _shown(part, scope, meter) if isinstance(part, Piece) else part)
        if sum(len(part) for part in parts if isinstance(part, str)) > MAX_TEXT:
            raise ExpressionError(f"the text would be longer than {MAX_TEXT:,} characters", length=len(self.source))
        if any(isinstance(part, SecretRef) for part in parts):
            secrets[pointer] = parts
            return ""
        return "".join(part for part in parts if isinstance(part, str))


def _append(parts: list[Part], part: Part) -> None:
    last = parts[-1] if parts else None
    if isinstance(part, str) and isinstance(last, str):
        parts[-1] = last + part
    elif part != "":
        parts.append(part)


def _evaluated(piece: Piece, expression: Expression, scope: Scope) -> Any:
    try:
        return expression.evaluate(scope)
    except ExpressionError as error:
        raise error.moved(piece.offset) from None


def _shown(piece: Piece, scope: Scope, meter: Meter) -> Part:
    if isinstance(piece.content, SecretRef):
        return piece.content
    value = _evaluated(piece, piece.content, scope)
    try:
        text = to_text(value, meter)
        meter.text(len(text))
        return text
    except Refusal as refusal:
        message, hint = refusal.message, refusal.hint
    except RecursionError:
        message, hint = "the data is nested too deeply", ""
    raise ExpressionError(message, offset=piece.offset, length=len(piece.content.source), hint=hint)


def compile_template(text: str) -> Template | str:
    """The compiled template, or the text itself (`$${{` being undone) when there is no expression in it.

    Raises ExpressionError, placed in the text.
    """
    if _OPEN not in text:
        return text
    parts: list[str | Piece] = []
    literal, at = "", 0
    while (start := text.find(_OPEN, at)) >= 0:
        if start > at and text[start - 1] == "$":
            literal += text[at : start - 1] + _OPEN
            at = start + len(_OPEN)
            continue
        literal += text[at:start]
        inside = start + len(_OPEN)
        end = scan(text, inside, embedded=True)[1]
        parts += [*([literal] if literal else []), Piece(_content(text[inside:end], inside), inside)]
        literal, at = "", end + 2
    literal += text[at:]
    if not parts:
        return literal
    return Template(text, (*parts, literal) if literal else tuple(parts))


def _content(source: str, offset: int) -> Expression | SecretRef:
    secret = _SECRET.fullmatch(source)
    if secret is not None:
        return SecretRef(secret[1])
    try:
        return compile_expression(source)
    except ExpressionError as error:
        raise error.moved(offset) from None


Fill = Callable[[Scope, Secrets], Any]


class Value(Struct, frozen=True, eq=False):
    """A JSON value whose strings may be templates."""

    source: Any
    templates: dict[str, Template]
    """JSON pointer of each string that is a template."""
    constant: bool
    """It holds no expression: every rendering is the same object, made once."""
    names: frozenset[str]
    """Root names it reads; `secrets` is not one of them."""
    references: tuple[Reference, ...]
    """Every static member chain, placed in its own string: for the pointer as well, go through `templates`."""
    secret_names: frozenset[str]
    fill: Fill
    """For `render`."""

    def render(self, scope: Scope) -> Rendered:
        """The value with these names; what is constant in it is shared, so it may not be changed.

        Raises ExpressionError, whose `where` is the JSON pointer of the string, and NeedsValue.
        """
        secrets: Secrets = {}
        return Rendered(self.fill(scope, secrets), secrets)


def compile_value(value: Any) -> Value:
    """The compiled form of any JSON value. Keys are not templates.

    Raises ExpressionError, whose `where` is the JSON pointer of the string.
    """
    templates: dict[str, Template] = {}
    try:
        made, fill = _compile(value, "", templates)
    except RecursionError:
        raise ExpressionError("the value is nested too deeply") from None
    return Value(
        value,
        templates,
        fill is None,
        frozenset[str]().union(*(template.names for template in templates.values())),
        tuple(reference for template in templates.values() for reference in template.references),
        frozenset[str]().union(*(template.secret_names for template in templates.values())),
        fill or (lambda scope, secrets: made),
    )


def _compile(value: Any, pointer: str, templates: dict[str, Template]) -> tuple[Any, Fill | None]:
    """The constant form of a value (itself where nothing was escaped), and how to fill it if it is not constant."""
    what = type_of(value)
    if what is str:
        return _compile_text(value, pointer, templates)
    if what is dict:
        for key in value:
            if _OPEN in str(key):
                raise ExpressionError("a key cannot hold an expression", length=len(key), where=_below(pointer, key))
        return _compile_children(value, value.items(), pointer, templates)
    if what is list:
        items: list[Any] = value
        return _compile_children(items, enumerate(items), pointer, templates)
    return value, None


def _below(pointer: str, key: Any) -> str:
    """The JSON pointer of a member."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def _compile_text(text: str, pointer: str, templates: dict[str, Template]) -> tuple[str, Fill | None]:
    try:
        template = compile_template(text)
    except ExpressionError as error:
        raise error.moved(where=pointer) from None
    if isinstance(template, str):
        return template, None
    templates[pointer] = template

    def fill(scope: Scope, secrets: Secrets) -> Any:
        try:
            return template.fill(scope, pointer, secrets)
        except ExpressionError as error:
            raise error.moved(where=pointer) from None

    return text, fill


def _compile_children(
    value: Any, children: Iterable[tuple[Any, Any]], pointer: str, templates: dict[str, Template]
) -> tuple[Any, Fill | None]:
    fills: list[tuple[Any, Fill]] = []
    base = value
    for key, child in children:
        made, fill = _compile(child, _below(pointer, key), templates)
        if made is not child:
            base = value.copy() if base is value else base
            base[key] = made
        if fill is not None:
            fills.append((key, fill))
    if not fills:
        return base, None

    def run(scope: Scope, secrets: Secrets) -> Any:
        made = base.copy()
        for key, fill in fills:
            made[key] = fill(scope, secrets)
        return made

    return base, run
