"""Conditions: a bare expression, or the structured form that a builder writes.

`{field, operator, value}` compares a member chain; `{all: [...]}`, `{any: [...]}` and `{not: ...}` combine. A missing
field makes every operator false, except `ne` and `not_contains`, which it makes true; null is a value like any other
but does not `exists`. Types that cannot be compared are an error, as in an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from fleetprompt.engine.core.expr import Expression, ExpressionError, Reference, compile_expression
from fleetprompt.engine.core.expr_pattern import compile_pattern
from fleetprompt.engine.core.expr_syntax import MAX_DEPTH
from fleetprompt.engine.core.expr_tests import TESTS
from fleetprompt.engine.core.expr_values import MISSING, Meter, Refusal, lookup, quote, suggest, truthy, type_of
from fleetprompt.engine.core.template import compile_value

MAX_TERMS: Final = 300
"""Comparisons and combinations in one condition."""

Scope = Mapping[str, Any]
Holds = Callable[[Scope], bool]


def _not_contains(value: Any, meter: Meter, item: Any) -> bool:
    return not TESTS["contains"].run(value, meter, item)


OPERATORS: Final[dict[str, Callable[..., bool]]] = {
    "eq": TESTS["eq"].run,
    "ne": TESTS["ne"].run,
    "gt": TESTS["gt"].run,
    "lt": TESTS["lt"].run,
    "gte": TESTS["ge"].run,
    "lte": TESTS["le"].run,
    "contains": TESTS["contains"].run,
    "not_contains": _not_contains,
    "in": TESTS["in"].run,
    "matches": TESTS["matches"].run,
}
"""Operators that compare the field with `value`; `exists` takes none."""


class Condition(Struct, frozen=True, eq=False):
    """A compiled condition."""

    source: Any
    references: tuple[Reference, ...]
    """Every static member chain; in a structured condition placed in its own string."""
    holds: Holds
    """For `evaluate`."""

    @property
    def names(self) -> frozenset[str]:
        """Root names it reads."""
        return frozenset(str(reference.path[0]) for reference in self.references)

    def evaluate(self, scope: Scope) -> bool:
        """Whether it holds. Raises ExpressionError (`where` is a JSON pointer into the condition), NeedsValue."""
        return self.holds(scope)


def compile_condition(source: Any) -> Condition:
    """The compiled form of a bare expression, a boolean, or a structured condition.

    Raises ExpressionError, whose `where` is a JSON pointer into the condition.
    """
    terms = _Terms()
    holds = terms.compile(source, "", 1)
    return Condition(source, tuple(terms.references), holds)


class _Terms:
    def __init__(self) -> None:
        self.references: list[Reference] = []
        self._count = 0

    def compile(self, term: Any, pointer: str, depth: int) -> Holds:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_TERMS:
            raise ExpressionError(f"a condition has at most {MAX_TERMS} terms, nested {MAX_DEPTH} deep", where=pointer)
        what = type_of(term)
        if what is bool:
            return lambda scope: term
        if what is str:
            return self._bare(term, pointer)
        if what is not dict:
            raise ExpressionError("a condition is an expression, a boolean or a mapping", where=pointer)
        for word, compile in (("all", self._every), ("any", self._some), ("not", self._negated)):
            if word in term:
                if len(term) > 1:
                    raise ExpressionError(f"{word!r} stands alone in its mapping", where=pointer)
                return compile(term[word], f"{pointer}/{word}", depth + 1)
        return self._comparison(term, pointer)

    def _bare(self, source: str, pointer: str) -> Holds:
        expression = self._expression(source, pointer)
        self.references += expression.references

        def holds(scope: Scope) -> bool:
            try:
                return truthy(expression.evaluate(scope))
            except ExpressionError as error:
                raise error.moved(where=pointer) from None

        return holds

    def _expression(self, source: str, pointer: str) -> Expression:
        try:
            return compile_expression(source)
        except ExpressionError as error:
            raise error.moved(where=pointer) from None

    def _list(self, terms: Any, pointer: str, depth: int) -> list[Holds]:
        if type_of(terms) is not list:
            raise ExpressionError("a list of conditions is needed here", where=pointer)
        return [self.compile(term, f"{pointer}/{index}", depth) for index, term in enumerate(terms)]

    def _every(self, terms: Any, pointer: str, depth: int) -> Holds:
        parts = self._list(terms, pointer, depth)
        return lambda scope: all(holds(scope) for holds in parts)

    def _some(self, terms: Any, pointer: str, depth: int) -> Holds:
        parts = self._list(terms, pointer, depth)
        return lambda scope: any(holds(scope) for holds in parts)

    def _negated(self, term: Any, pointer: str, depth: int) -> Holds:
        holds = self.compile(term, pointer, depth)
        return lambda scope: not holds(scope)

    def _comparison(self, term: dict[Any, Any], pointer: str) -> Holds:
        unknown = [key for key in term if key not in ("field", "operator", "value")]
        if unknown:
            hint = suggest(unknown[0], ["field", "operator", "value", "all", "any", "not"])
            raise ExpressionError(f"a condition has no {quote(unknown[0])}", hint=hint, where=pointer)
        operator = term.get("operator")
        if type(operator) is not str or operator not in (*OPERATORS, "exists"):
            message = f"there is no operator {quote(operator)}" if type(operator) is str else "an operator is needed"
            raise ExpressionError(message, hint=suggest(operator, [*OPERATORS, "exists"]), where=f"{pointer}/operator")
        path = self._field(term.get("field"), f"{pointer}/field", operator == "exists")
        if operator == "exists":
            if "value" in term:
                raise ExpressionError("'exists' takes no value", where=f"{pointer}/value")
            return lambda scope: self._found(scope, path, pointer) not in (None, MISSING)
        if "value" not in term:
            raise ExpressionError(f"{quote(operator)} needs a value", where=pointer)
        return self._compared(path, operator, term["value"], pointer)

    def _field(self, field: Any, pointer: str, optional: bool) -> tuple[str | int, ...]:
        if type_of(field) is not str:
            raise ExpressionError("a condition needs a field such as steps.a.output", where=pointer)
        expression = self._expression(field, pointer)
        if not expression.is_chain:
            hint = "for more than that, write the whole condition as an expression"
            raise ExpressionError("a field is a name and its members, such as steps.a.output", hint=hint, where=pointer)
        chain = expression.references[0]
        self.references.append(Reference(chain.path, chain.offset, chain.length, optional))
        return chain.path

    def _found(self, scope: Scope, path: tuple[str | int, ...], pointer: str) -> Any:
        try:
            return lookup(scope, path)
        except Refusal as refusal:
            raise ExpressionError(refusal.message, hint=refusal.hint, where=f"{pointer}/field") from None

    def _compared(self, path: tuple[str | int, ...], operator: str, value: Any, pointer: str) -> Holds:
        place, compare = f"{pointer}/value", OPERATORS[operator]
        try:
            other = compile_value(value)
            if operator == "matches" and other.constant and type_of(value) is str:
                compile_pattern(value)
        except ExpressionError as error:
            raise error.moved(where=place + error.where) from None
        except Refusal as refusal:
            raise ExpressionError(refusal.message, hint=refusal.hint, where=place) from None
        if other.secret_names:
            raise ExpressionError("a condition cannot read a secret", where=place)
        self.references += other.references

        def holds(scope: Scope) -> bool:
            found = self._found(scope, path, pointer)
            if found is MISSING:
                return operator in ("ne", "not_contains")
            try:
                return compare(found, Meter(), other.render(scope).value)
            except ExpressionError as error:
                raise error.moved(where=place + error.where) from None
            except Refusal as refusal:
                message, hint = refusal.message, refusal.hint
            except RecursionError:
                message, hint = "the data is nested too deeply", ""
            raise ExpressionError(message, hint=hint, where=pointer)

        return holds
