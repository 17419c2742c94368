"""The expression language: a whitelist of Jinja2's expression syntax over plain JSON values.

Names, members, literals, arithmetic, comparison, `in`, `and/or/not`, `a if b else c`, listed filters and tests; no
calls, no private names, no attributes of objects, no clock, no randomness. What is missing is an error, except under
`default` and `is defined`. Jinja2 parses; closures of ours evaluate, within bounds on source, values and steps.
`secrets` cannot be read here: only a template (`template.py`) may refer to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from fleetprompt.engine.core.expr_apply import EACH, Run
from fleetprompt.engine.core.expr_compile import Compiler, Reference
from fleetprompt.engine.core.expr_filters import FILTERS
from fleetprompt.engine.core.expr_json import check_loaded, referring, weigh
from fleetprompt.engine.core.expr_syntax import RESERVED, parse
from fleetprompt.engine.core.expr_tests import TESTS
from fleetprompt.engine.core.expr_values import (
    SCALARS,
    ExpressionError,
    Meter,
    NeedsValue,
    NotLoaded,
    Referred,
    Refusal,
    truthy,
)

__all__ = [
    "RESERVED",
    "Expression",
    "ExpressionError",
    "NeedsValue",
    "NotLoaded",
    "Reference",
    "compile_expression",
    "filters_reference",
    "tests_reference",
    "truthy",
]


class Expression(Struct, frozen=True, eq=False):
    """A compiled expression."""

    source: str
    names: frozenset[str]
    """The root names it reads, of which `steps` is one and `steps.a` is not."""
    references: tuple[Reference, ...]
    """Every static member chain, in source order."""
    is_chain: bool
    """It is nothing but one member chain, `references[0]`."""
    run: Run
    """For the language's own modules; everyone else calls `evaluate`."""

    @property
    def is_literal(self) -> bool:
        """It reads nothing, so its value is always the same."""
        return not self.names

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """The value; it shares structure with the scope, so neither may be changed.

        Raises ExpressionError when it cannot be evaluated, NeedsValue when it touches a value that is not loaded.
        """
        value: Any = None
        try:
            value = self.run(scope, Meter())
            if type(value) not in SCALARS:
                (check_loaded if self.is_chain else weigh)(value)
            return value
        except Referred:
            return referring(value)
        except Refusal as refusal:
            message, hint = refusal.message, refusal.hint
        except RecursionError:
            message, hint = "the data is nested too deeply", ""
        raise ExpressionError(message, length=len(self.source), hint=hint)


@lru_cache(maxsize=4096)
def compile_expression(source: str) -> Expression:
    """The compiled form of an expression without `${{ }}`, as `if`, `while` and `over` take it.

    Raises ExpressionError, with the place, for anything that is not valid or not part of the language.
    """
    tree = parse(source)
    compiler = Compiler(tree)
    run = compiler.compile(tree.root)
    references = compiler.references
    names = frozenset(str(reference.path[0]) for reference in references)
    return Expression(source, names, references, tree.is_chain, run)


def filters_reference() -> dict[str, str]:
    """Every filter with a line on what it does."""
    return dict(sorted({**{name: spec.doc for name, spec in FILTERS.items()}, **EACH}.items()))


def tests_reference() -> dict[str, str]:
    """Every test with a line on what it tells."""
    return {name: TESTS[name].doc for name in sorted(TESTS)}
