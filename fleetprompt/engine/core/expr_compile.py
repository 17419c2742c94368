"""The syntax tree of an expression to Python closures, checked against the whitelist on the way.

A closure takes the scope and the meter. A *soft* one yields MISSING where a member chain leads nowhere, for `default`
and `is defined`; every other one raises. Nothing is ever read but items of dicts and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from jinja2 import nodes as jinja
from msgspec import Struct

from fleetprompt.engine.core.expr_apply import Applier, Run, constant, placed
from fleetprompt.engine.core.expr_filters import FILTERS
from fleetprompt.engine.core.expr_json import to_text
from fleetprompt.engine.core.expr_math import OPERATIONS, negative, positive
from fleetprompt.engine.core.expr_syntax import RESERVED, Span, Tree
from fleetprompt.engine.core.expr_values import (
    MISSING,
    ExpressionError,
    Meter,
    Nothing,
    Refusal,
    contains,
    equal,
    find,
    kind,
    less,
    lookup,
    member,
    quote,
    suggest,
    truthy,
    type_of,
)

Key = str | int

SECRETS_RULE: Final = "a secret is a reference, not a value: write exactly ${{ secrets.NAME }}, where a field takes one"

_COMPARISONS: Final[dict[str, Callable[[Any, Any, Meter], bool]]] = {
    "eq": equal,
    "ne": lambda left, right, meter: not equal(left, right, meter),
    "lt": less,
    "gteq": lambda left, right, meter: not less(left, right, meter),
    "gt": lambda left, right, meter: less(right, left, meter),
    "lteq": lambda left, right, meter: not less(right, left, meter),
    "in": lambda left, right, meter: contains(right, left, meter),
    "notin": lambda left, right, meter: not contains(right, left, meter),
}


class Reference(Struct, frozen=True):
    """One static member chain of an expression, for validation before anything runs."""

    path: tuple[Key, ...]
    """From the root name on: `steps.a.output[0]` is `("steps", "a", "output", 0)`; it ends before a computed key."""
    offset: int
    length: int
    optional: bool = False
    """The expression copes with its absence: it stands under `default`, or `is defined` is asked about it."""


class Compiler:
    """Compiles one expression; afterwards `references` tells what it reads."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._applier = Applier(tree, self.compile)
        self._found: list[Reference] = []
        self._asked: list[tuple[Key, ...]] = []

    @property
    def references(self) -> tuple[Reference, ...]:
        """The member chains in source order; what `is defined` asks about is optional wherever it appears."""

        def asked(path: tuple[Key, ...]) -> bool:
            return any(path[: len(known)] == known for known in self._asked)

        found = sorted(self._found, key=lambda ref: ref.offset)
        return tuple(Reference(ref.path, ref.offset, ref.length, ref.optional or asked(ref.path)) for ref in found)

    def compile(self, node: jinja.Node, soft: bool = False) -> Run:
        """The closure of a node. Raises ExpressionError for anything that is not part of the language."""
        match node:
            case jinja.Const():
                return constant(node.value)
            case jinja.Name() | jinja.Getattr() | jinja.Getitem():
                return self._member(node, soft)
            case jinja.Filter():
                return self._applier.filter(node, soft)
            case jinja.Test():
                return self._test(node)
            case jinja.And() | jinja.Or():
                return self._logic(node)
            case jinja.Not():
                run = self.compile(node.node)
                return lambda scope, meter: not truthy(run(scope, meter))
            case jinja.Compare():
                return self._compare(node)
            case jinja.CondExpr():
                return self._conditional(node)
            case jinja.Neg() | jinja.Pos():
                return self._sign(node)
            case jinja.BinExpr() if node.operator in OPERATIONS:
                return self._arithmetic(node)
            case jinja.Concat():
                return self._concat(node)
            case jinja.List() | jinja.Tuple():
                runs = [self.compile(item) for item in node.items]
                return lambda scope, meter: [run(scope, meter) for run in runs]
            case jinja.Dict():
                return self._mapping(node)
            case jinja.Call():
                raise self._called(node)
            case _:
                raise self._tree.error(node, f"{type(node).__name__.lower()} is not part of the expression language")

    def _test(self, node: jinja.Test) -> Run:
        before = len(self._found)
        run = self._applier.test(node)
        if node.name in ("defined", "undefined"):
            self._asked += [ref.path for ref in self._found[before:] if ref.optional]
        return run

    def _called(self, node: jinja.Call) -> ExpressionError:
        callee = node.node
        name = getattr(callee, "attr", None) or getattr(callee, "name", None)
        hint = "there are filters (`x | length`) and tests (`x is empty`)"
        if name in FILTERS:
            hint = f"write `value | {name}`"
        return self._tree.error(node, "there are no calls in an expression", hint)

    # Members

    def _member(self, node: jinja.Node, soft: bool) -> Run:
        keys: list[Key] = []
        spans: list[Span] = []
        while isinstance(node, jinja.Getattr | jinja.Getitem):
            key = node.attr if isinstance(node, jinja.Getattr) else self._static_key(node)
            if key is None:
                break
            keys.insert(0, key)
            spans.insert(0, self._tree.key(node))
            node = node.node
        if isinstance(node, jinja.Name):
            return self._chain(node, keys, spans, soft)
        inner = self._item(node, soft) if isinstance(node, jinja.Getitem) else self.compile(node, soft)
        for key, span in zip(keys, spans, strict=True):
            inner = self._one(inner, constant(key), span, soft)
        return inner

    def _static_key(self, node: jinja.Getitem) -> Key | None:
        """The key of `value['key']`, `value[0]`, `value[-1]`; None for a slice or one that is computed."""
        key = node.arg
        negative_key = isinstance(key, jinja.Neg)
        literal = key.node if isinstance(key, jinja.Neg) else key
        if isinstance(literal, jinja.List | jinja.Tuple | jinja.Dict):
            raise self._tree.error(node, "a key is a string or an integer")
        if not isinstance(literal, jinja.Const):
            return None
        if type(literal.value) is int:
            return -literal.value if negative_key else literal.value
        if type(literal.value) is str and not negative_key:
            return literal.value
        raise self._tree.error(key, f"a key is a string or an integer, not {kind(literal.value)}")

    def _chain(self, root: jinja.Name, keys: list[Key], spans: list[Span], soft: bool) -> Run:
        first = self._tree.span(root)
        name = root.name
        if name == "secrets":
            raise self._tree.error(first, "secrets cannot be used here", SECRETS_RULE)
        if name in RESERVED:
            raise self._tree.error(first, f"unexpected {quote(name)}")
        path, places = (name, *keys), [first, *spans]
        self._found.append(Reference(path, first[0], sum(places[-1]) - first[0], soft))
        rest: list[tuple[Any, type[Any]]] = [(key, list if type(key) is int else dict) for key in keys]

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            try:
                value = scope[name]
                for key, holder in rest:
                    if type(value) is not holder:
                        break
                    value = value[key]
                else:
                    return value
            except (KeyError, IndexError):
                pass
            if soft:
                return lookup(scope, path)
            return self._walked(scope, path, places)

        return run

    def _walked(self, scope: Mapping[str, Any], path: tuple[Key, ...], places: list[Span]) -> Any:
        """Walks a chain step by step: mostly one that leads nowhere, to say where it ends and what there is instead."""
        value: Any = scope
        for depth, key in enumerate(path):
            try:
                if depth == 0 and key not in scope:
                    raise Nothing(f"there is no {quote(key)}", suggest(key, scope))
                value = member(value, key, _dotted(path[:depth])) if depth else scope[str(key)]
            except Refusal as refusal:
                raise self._tree.error(places[depth], refusal.message, refusal.hint) from None
        return value

    def _item(self, node: jinja.Getitem, soft: bool) -> Run:
        """`value[key]` with a key that is computed, or a slice."""
        if isinstance(node.arg, jinja.Slice):
            return self._slice(node, node.arg, soft)
        return self._one(self.compile(node.node, soft), self.compile(node.arg), self._tree.key(node), soft)

    def _one(self, inner: Run, key: Run, span: Span, soft: bool) -> Run:
        get = find if soft else member

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            value = inner(scope, meter)
            return MISSING if value is MISSING else get(value, key(scope, meter))

        return placed(run, self._tree, span)

    def _slice(self, node: jinja.Getitem, cut: jinja.Slice, soft: bool) -> Run:
        if cut.step is not None:
            raise self._tree.error(cut.step, "a slice has no step", "write `| reverse` to turn a list around")
        inner = self.compile(node.node, soft)
        start, stop = (constant(None) if end is None else self.compile(end) for end in (cut.start, cut.stop))

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            value = inner(scope, meter)
            if value is MISSING:
                return MISSING
            if type_of(value) not in (list, str):
                raise Refusal(f"only lists and strings can be sliced, not {kind(value)}")
            ends = start(scope, meter), stop(scope, meter)
            if not all(kind(end) in ("null", "integer") for end in ends):
                raise Refusal("the ends of a slice are integers")
            piece = value[ends[0] : ends[1]]
            (meter.text if type_of(value) is str else meter.items)(len(piece))
            return piece

        return placed(run, self._tree, self._tree.key(node))

    # Operators

    def _logic(self, node: jinja.And | jinja.Or) -> Run:
        """`a and b and c`, flat: the operand that decides, as in Python."""
        operands: list[jinja.Node] = []
        kind_of, left = type(node), cast(jinja.Node, node)
        while isinstance(left, jinja.BinExpr) and type(left) is kind_of:
            operands.insert(0, left.right)
            left = left.left
        first, *others = [self.compile(operand) for operand in (left, *operands)]
        stops_at = isinstance(node, jinja.Or)

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            value = first(scope, meter)
            for other in others:
                if truthy(value) is stops_at:
                    return value
                value = other(scope, meter)
            return value

        return run

    def _compare(self, node: jinja.Compare) -> Run:
        first = self.compile(node.expr)
        others = [(_COMPARISONS[operand.op], self.compile(operand.expr)) for operand in node.ops]

        def run(scope: Mapping[str, Any], meter: Meter) -> bool:
            left = first(scope, meter)
            for holds, other in others:
                right = other(scope, meter)
                if not holds(left, right, meter):
                    return False
                left = right
            return True

        return placed(run, self._tree, node)

    def _conditional(self, node: jinja.CondExpr) -> Run:
        test, yes = self.compile(node.test), self.compile(node.expr1)
        no = constant(None) if node.expr2 is None else self.compile(node.expr2)
        return lambda scope, meter: (yes if truthy(test(scope, meter)) else no)(scope, meter)

    def _sign(self, node: jinja.Neg | jinja.Pos) -> Run:
        run, sign = self.compile(node.node), negative if isinstance(node, jinja.Neg) else positive
        return placed(lambda scope, meter: sign(run(scope, meter)), self._tree, node)

    def _arithmetic(self, node: jinja.BinExpr) -> Run:
        chained = isinstance(node, jinja.Pow) and isinstance(node.left, jinja.Pow | jinja.Neg | jinja.Pos)
        if chained and not self._tree.bracketed(node.left):  # Jinja2 and Python disagree about what it means
            raise self._tree.error(node, "** needs brackets here", "write (-a) ** b, (a ** b) ** c or a ** (b ** c)")
        left, right, operation = self.compile(node.left), self.compile(node.right), OPERATIONS[node.operator]
        return placed(lambda scope, meter: operation(left(scope, meter), right(scope, meter), meter), self._tree, node)

    def _concat(self, node: jinja.Concat) -> Run:
        runs = [self.compile(part) for part in node.nodes]

        def run(scope: Mapping[str, Any], meter: Meter) -> str:
            parts = [to_text(part(scope, meter), meter) for part in runs]
            meter.text(sum(map(len, parts)))
            return "".join(parts)

        return placed(run, self._tree, node)

    def _mapping(self, node: jinja.Dict) -> Run:
        pairs: list[tuple[Run, Run]] = []
        for pair in node.items:
            if isinstance(pair.key, jinja.Const) and type(pair.key.value) is not str:
                raise self._tree.error(pair.key, f"a key is a string, not {kind(pair.key.value)}")
            pairs.append((self.compile(pair.key), self.compile(pair.value)))

        def run(scope: Mapping[str, Any], meter: Meter) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for key_run, value_run in pairs:
                key = key_run(scope, meter)
                if type(key) is not str:
                    raise Refusal(f"a key is a string, not {kind(key)}")
                made[key] = value_run(scope, meter)
            return made

        return placed(run, self._tree, node)


def _dotted(path: tuple[Key, ...]) -> str:
    """A path as one would write it."""
    text = str(path[0])
    for key in path[1:]:
        text += f".{key}" if type(key) is str and key.isidentifier() else f"[{key!r}]"
    return text
