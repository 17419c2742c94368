"""Filters and tests put to use: names and arguments are checked when the expression is compiled, not when it runs.

`map`, `select`, `reject`, `selectattr` and `rejectattr` apply another filter or test to each item of a list; its name
is written out, so it is checked as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from jinja2 import nodes as jinja

from fleetprompt.engine.core.expr_filters import FILTERS
from fleetprompt.engine.core.expr_lists import find_path, path_of, pick
from fleetprompt.engine.core.expr_operation import Operation, described
from fleetprompt.engine.core.expr_pattern import compile_pattern
from fleetprompt.engine.core.expr_syntax import Span, Tree
from fleetprompt.engine.core.expr_tests import TESTS
from fleetprompt.engine.core.expr_values import MISSING, Meter, Nothing, Refusal, kind, quote, suggest, truthy, type_of

Run = Callable[[Mapping[str, Any], Meter], Any]
"""A compiled piece of an expression."""

Each = Callable[[list[Any], Meter, list[Any]], list[Any]]
"""Applies something to each item, given the values of its arguments."""

EACH: Final[dict[str, str]] = {
    "map": "Each item's member (`attribute=`, with an optional `default=`), or each item put through a named filter.",
    "select": "The items that are true, or that pass a named test.",
    "reject": "The items that are false, or that fail a named test.",
    "selectattr": "The items of which a member is true, or passes a named test.",
    "rejectattr": "The items of which a member is false, or fails a named test.",
}
"""The filters that take the name of another filter or test."""


def constant(value: Any) -> Run:
    """The piece that is always the same."""
    return lambda scope, meter: value


def placed(run: Run, tree: Tree, where: jinja.Node | Span) -> Run:
    """The piece, its refusals being errors at this place."""
    span = tree.span(where) if isinstance(where, jinja.Node) else where

    def placed_run(scope: Mapping[str, Any], meter: Meter) -> Any:
        try:
            return run(scope, meter)
        except Refusal as refusal:
            raise tree.error(span, refusal.message, refusal.hint) from None
        except OverflowError:
            raise tree.error(span, "the number is too large") from None
        except ZeroDivisionError:
            raise tree.error(span, "division by zero") from None

    return placed_run


def _members(items: Any, meter: Meter, attribute: Any, default: Any = MISSING) -> list[Any]:
    path = path_of(attribute)
    if default is MISSING:
        return [pick(item, path, meter) for item in items]
    found = [find_path(item, path, meter) for item in items]
    return [default if value is MISSING else value for value in found]


_MEMBERS: Final = described("map", _members)


class Applier:
    """Compiles the filters and tests of one expression; what they are applied to is compiled by `compile`."""

    def __init__(self, tree: Tree, compile: Callable[[jinja.Node, bool], Run]) -> None:
        self._tree = tree
        self._compile = compile

    def filter(self, node: jinja.Filter, soft: bool) -> Run:
        """`value | name(…)`; soft: missing when the value is. Raises ExpressionError."""
        span = self._tree.word(node.lineno)
        self._no_stars(node)
        operand = self._compile(node.node or jinja.Const(None), soft or node.name == "default")
        if node.name in EACH:
            return placed(self._each(node, operand, span), self._tree, span)
        operation = self._known(node.name, FILTERS, "filter", span)
        args = self._bind(operation, node.args, node.kwargs, span, soft and node.name == "default")
        if node.name == "default":
            return placed(_default(operand, *args), self._tree, span)
        return placed((_soft_call if soft else _call)(operation.run, operand, args), self._tree, span)

    def test(self, node: jinja.Test) -> Run:
        """`value is name(…)`. Raises ExpressionError."""
        span = self._tree.word(node.lineno, skip=("is", "not"))
        self._no_stars(node)
        operand = self._compile(node.node, node.name in ("defined", "undefined"))
        operation, args = self._test(node.name, node.args, node.kwargs, span)
        return placed(_call(operation.run, operand, args), self._tree, span)

    def _test(
        self, name: str, args: list[jinja.Expr], kwargs: Sequence[jinja.Node], span: Span
    ) -> tuple[Operation, list[Run]]:
        operation = self._known(name, TESTS, "test", span)
        if kwargs:
            raise self._tree.error(span, "a test takes no named arguments")
        runs = self._bind(operation, args, [], span)
        if name == "matches" and isinstance(args[0], jinja.Const) and type(args[0].value) is str:
            try:
                compile_pattern(args[0].value)
            except Refusal as refusal:
                raise self._tree.error(args[0], refusal.message, refusal.hint) from None
        return operation, runs

    def _each(self, node: jinja.Filter, operand: Run, span: Span) -> Run:
        if node.name == "map":
            each, args = self._mapped(node, span)
        else:
            each, args = self._selected(node, span)

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            items = operand(scope, meter)
            if items is MISSING:
                return MISSING
            if type_of(items) is not list:
                raise Refusal(f"{node.name} works on a list, not on {kind(items)}")
            meter.items(len(items))
            return each(items, meter, [arg(scope, meter) for arg in args])

        return run

    def _mapped(self, node: jinja.Filter, span: Span) -> tuple[Each, list[Run]]:
        if not node.args:
            runs = self._bind(_MEMBERS, [], node.kwargs, span)
            return (lambda items, meter, values: _members(items, meter, *values)), runs
        name, place = self._written(node.args[0], "filter")
        operation = self._known(name, FILTERS, "filter", place)
        args, apply = self._bind(operation, node.args[1:], node.kwargs, span), operation.run
        return (lambda items, meter, values: [apply(item, meter, *values) for item in items]), args

    def _selected(self, node: jinja.Filter, span: Span) -> tuple[Each, list[Run]]:
        if node.kwargs:
            raise self._tree.error(span, f"{node.name} takes no named arguments")
        wanted, of_member, given = node.name.startswith("select"), node.name.endswith("attr"), list(node.args)
        if of_member and not given:
            raise self._tree.error(span, f"{node.name} needs the name of a member")
        runs = [self._compile(given.pop(0), False)] if of_member else []
        check, copes = _is_true, False
        if given:
            name, place = self._written(given[0], "test")
            operation, args = self._test(name, given[1:], [], place)
            runs += args
            check, copes = operation.run, name in ("defined", "undefined")

        get = find_path if copes else pick

        def each(items: list[Any], meter: Meter, values: list[Any]) -> list[Any]:
            path, rest = (path_of(values[0]), values[1:]) if of_member else ([], values)
            return [
                item for item in items if check(get(item, path, meter) if of_member else item, meter, *rest) is wanted
            ]

        return each, runs

    def _written(self, node: jinja.Expr, what: str) -> tuple[str, Span]:
        """The name of a filter or test given as an argument."""
        if not isinstance(node, jinja.Const) or type(node.value) is not str:
            raise self._tree.error(node, f"the name of the {what} must be written out, in quotes")
        return node.value, self._tree.span(node)

    def _known(self, name: str, table: Mapping[str, Operation], what: str, span: Span) -> Operation:
        if name in table:
            return table[name]
        if name in EACH and what == "filter":
            raise self._tree.error(span, f"{name} cannot be applied to each item", "name a plain filter")
        hint = suggest(name, sorted([*table, *(EACH if what == "filter" else ())]))
        if name in FILTERS and what == "test":
            hint = f"{name} is a filter: write `value | {name}`"
        elif name in TESTS and what == "filter":
            hint = f"{name} is a test: write `value is {name}`"
        raise self._tree.error(span, f"there is no {what} {quote(name)}", hint)

    def _no_stars(self, node: jinja.Filter | jinja.Test) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._tree.error(node, "arguments are written out: there is no * or **")

    def _bind(
        self,
        operation: Operation,
        args: Sequence[jinja.Expr],
        kwargs: Sequence[jinja.Node],
        span: Span,
        soft: bool = False,
    ) -> list[Run]:
        """One piece per parameter, with defaults. Soft: the first may be missing (`a | default(b) | default(0)`)."""
        params, name = operation.params, operation.name
        usage = f"it is {name}({', '.join(params)})" if params else f"it is {name}, without arguments"
        if len(args) > len(params):
            raise self._tree.error(args[len(params)], f"too many arguments for {name}", usage)
        given = dict(zip(params, args, strict=False))
        for keyword in cast(Sequence[jinja.Keyword], kwargs):  # which Jinja2 types as pairs
            if keyword.key not in params:
                raise self._tree.error(keyword, f"{name} has no argument {quote(keyword.key)}", usage)
            if keyword.key in given:
                raise self._tree.error(keyword, f"{name} is given {quote(keyword.key)} twice", usage)
            given[keyword.key] = keyword.value
        defaults = dict(zip(reversed(params), reversed(operation.defaults), strict=False))
        for param in params:
            if param not in given and param not in defaults:
                raise self._tree.error(span, f"{name} needs {quote(param)}", usage)
        return [
            self._compile(given[param], soft and param == params[0]) if param in given else constant(defaults[param])
            for param in params
        ]


def _is_true(value: Any, meter: Meter) -> bool:
    return truthy(value)


def _call(run: Callable[..., Any], operand: Run, args: Sequence[Run]) -> Run:
    if not args:
        return lambda scope, meter: run(operand(scope, meter), meter)
    return lambda scope, meter: run(operand(scope, meter), meter, *[arg(scope, meter) for arg in args])


def _default(operand: Run, fallback: Run, boolean: Run) -> Run:
    """The fallback is evaluated only when it is needed: it may well be missing otherwise."""

    def run(scope: Mapping[str, Any], meter: Meter) -> Any:
        value = operand(scope, meter)
        if value is MISSING or (truthy(boolean(scope, meter)) and not truthy(value)):
            return fallback(scope, meter)
        return value

    return run


def _soft_call(run: Callable[..., Any], operand: Run, args: Sequence[Run]) -> Run:
    """What is done to something missing is missing too, and so is the first of nothing."""

    def soft_run(scope: Mapping[str, Any], meter: Meter) -> Any:
        value = operand(scope, meter)
        if value is MISSING:
            return MISSING
        try:
            return run(value, meter, *[arg(scope, meter) for arg in args])
        except Nothing:
            return MISSING

    return soft_run
