"""Conditions of other systems: expressions, and `{field, operator, value}` as builders write them."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from fleetprompt.engine.core.expr import ExpressionError, compile_expression
from fleetprompt.engine.definition.importers._draft import Scope
from fleetprompt.engine.definition.importers._expression import translate
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._terms import Operand, Unknown, Untranslatable, quoted
from fleetprompt.engine.definition.problems import ProblemCode

MAX_DEPTH: Final = 20
UNTRANSLATED: Final = "untranslated"
"""What is called around a condition for which there is no expression here: it never validates."""
_OPERATORS: Final = {
    **dict.fromkeys(("eq", "==", "=", "===", "equals", "equal", "is"), "eq"),
    **dict.fromkeys(("ne", "neq", "!=", "!==", "<>", "not_equals", "not_equal", "is_not"), "ne"),
    **dict.fromkeys(("gt", ">", "greater_than", "greater"), "gt"),
    **dict.fromkeys(("lt", "<", "less_than", "less"), "lt"),
    **dict.fromkeys(("gte", "ge", ">=", "greater_than_or_equal", "greater_or_equal", "at_least"), "gte"),
    **dict.fromkeys(("lte", "le", "<=", "less_than_or_equal", "less_or_equal", "at_most"), "lte"),
    **dict.fromkeys(("contains", "includes"), "contains"),
    **dict.fromkeys(("not_contains", "does_not_contain", "not_includes"), "not_contains"),
    **dict.fromkeys(("exists", "is_set", "not_null", "is_not_null"), "exists"),
    **dict.fromkeys(("not_exists", "is_null", "is_not_set"), "not_exists"),
    **dict.fromkeys(("in", "one_of", "in_list"), "in"),
    **dict.fromkeys(("not_in", "none_of", "not_in_list"), "not_in"),
    **dict.fromkeys(("matches", "regex", "matches_regex"), "matches"),
    **dict.fromkeys(("starts_with", "startswith"), "startswith"),
    **dict.fromkeys(("ends_with", "endswith"), "endswith"),
    **dict.fromkeys(("is_empty", "empty"), "empty"),
    **dict.fromkeys(("is_not_empty", "not_empty"), "not_empty"),
    **dict.fromkeys(("is_true", "true", "truthy"), "true"),
    **dict.fromkeys(("is_false", "false", "falsy"), "false"),
}
_DECIDED: Final = re.compile(
    r"\('approved' if (steps\.\w+\.status) == 'completed' else 'rejected'\) ([!=]=) '(approved|rejected)'"
)
_WITHOUT_VALUE: Final = frozenset({"exists", "not_exists", "empty", "not_empty", "true", "false"})
_SYMBOLS: Final = {
    "eq": "{0} == {1}", "ne": "{0} != {1}", "gt": "{0} > {1}", "lt": "{0} < {1}", "gte": "{0} >= {1}",
    "lte": "{0} <= {1}", "contains": "{0} is contains({1})", "not_contains": "{0} is not contains({1})",
    "exists": "{0} is not none", "not_exists": "{0} is none", "in": "{0} in {1}", "not_in": "{0} not in {1}",
    "matches": "{0} is matches({1})", "startswith": "{0} is startswith({1})", "endswith": "{0} is endswith({1})",
    "empty": "{0} is empty", "not_empty": "{0} is not empty", "true": "{0}", "false": "not {0}",
}  # fmt: skip


def condition(found: Found, scope: Scope) -> Any:
    """A condition of the file as one of ours: an expression, a structured one, or true or false."""
    scope.pointer = found.pointer
    return _term(found, scope, 0)


def _term(found: Found, scope: Scope, depth: int) -> Any:
    value = found.value
    scope.pointer = found.pointer
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(found, scope)
    if depth < MAX_DEPTH:
        if isinstance(value, list) and value:
            return {"all": _terms(found, cast("list[Any]", value), scope, depth)}
        if isinstance(value, dict):
            return _structured(found, scope, depth)
    message = "a condition is an expression, or a mapping such as {field, operator, value}"
    scope.draft.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)
    return False


def _terms(found: Found, values: list[Any], scope: Scope, depth: int) -> list[Any]:
    return [_term(Found(value, (*found.pointer, index)), scope, depth + 1) for index, value in enumerate(values)]


def _text(found: Found, scope: Scope) -> Any:
    source = str(found.value).strip()
    report = scope.draft.report
    if not source:
        report.wrong(found.pointer, ProblemCode.BAD_VALUE, "the condition is empty")
        return False
    try:
        return _unbraced(_plainer(translate(source, scope).text))
    except Unknown as error:
        report.wrong(found.pointer, ProblemCode.UNKNOWN_REFERENCE, str(error))
        return False
    except Untranslatable as error:
        message = f"this condition cannot be translated: {error}"
        hint = f"it stands in the result inside of `{UNTRANSLATED}(…)`: write it anew there"
        report.lost(found.pointer, message, hint, on="value")
        return f"{UNTRANSLATED}({quoted(source[:2000])})"


def _plainer(text: str) -> str:
    """A comparison with what people decided as what it comes to."""
    return _DECIDED.sub(
        lambda found: f"{found[1]} {'==' if (found[2] == '==') == (found[3] == 'approved') else '!='} 'completed'", text
    )


def _unbraced(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text)


def _structured(found: Found, scope: Scope, depth: int) -> Any:
    given = Given(scope.draft.report, found.value, found.pointer)
    for words, ours in ((("all", "and", "all_of"), "all"), (("any", "or", "any_of"), "any")):
        if given.has(*words):
            several = given.find(*words)
            values = cast("list[Any]", several.value) if isinstance(several.value, list) else [several.value]
            given.leave("a condition")
            return {ours: _terms(several, values, scope, depth)}
    if given.has("not"):
        inner = given.find("not")
        given.leave("a condition")
        return {"not": _term(inner, scope, depth + 1)}
    if given.has("expression", "condition") and not given.has("field"):
        inner = given.find("expression", "condition")
        given.leave("a condition")
        return _term(inner, scope, depth + 1)
    made = comparison(given, scope)
    given.leave("a condition")
    return made


def comparison(given: Given, scope: Scope) -> Any:
    """`{field, operator, value}`."""
    report = scope.draft.report
    field = given.find("field", "left", "path", "variable")
    word = given.text("operator", "op", "comparison") or "eq"
    operator = _OPERATORS.get(word.strip().lower().replace(" ", "_"))
    value = given.find("value", "right", "expected")
    if not field:
        report.wrong(given.pointer, ProblemCode.MISSING_KEY, "a condition needs a `field`", "such as $.step.field")
        return False
    if operator is None:
        place = given.find("operator", "op", "comparison").pointer
        known = "eq, ne, gt, lt, gte, lte, contains, not_contains, exists, in, matches"
        report.wrong(
            place, ProblemCode.BAD_VALUE, f"there is no operator `{word[:60]}`", f"there are {known} and others"
        )
        return False
    left = scope.reference(field)
    if left is None:
        return False
    if operator in _WITHOUT_VALUE:
        return _without_value(left, operator)
    right = scope.value(value.value, value.pointer or given.pointer)
    if operator in ("eq", "ne", "gt", "lt", "gte", "lte", "contains", "not_contains", "in", "matches", "not_in"):
        if operator == "matches" and not _is_pattern(right):
            hint = f"it stands in the result inside of `{UNTRANSLATED}(…)`: write it anew there"
            report.lost(value.pointer, "this regular expression cannot be used here", hint, on="value")
            return f"{UNTRANSLATED}({quoted(str(right)[:2000])})"
        if _is_chain(left.text):
            positive = "in" if operator == "not_in" else operator
            made = {"field": left.text, "operator": positive, "value": right}
            return {"not": made} if operator == "not_in" else made
    return _expression(left, operator, value, scope)


def _without_value(left: Operand, operator: str) -> Any:
    if operator in ("exists", "not_exists") and _is_chain(left.text):
        made = {"field": left.text, "operator": "exists"}
        return made if operator == "exists" else {"not": made}
    return _SYMBOLS[operator].format(left.bound)


def _expression(left: Operand, operator: str, value: Found, scope: Scope) -> str:
    """What cannot be said in the structured form: its field is more than a name and its members."""
    found = _literal(value.value, scope)
    if found is None:
        message = "this value cannot be compared with what the field is here"
        scope.draft.report.wrong(value.pointer, ProblemCode.BAD_VALUE, message)
        return "false"
    return _plainer(_SYMBOLS[operator].format(left.bound, found))


def _literal(value: Any, scope: Scope) -> str | None:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        try:
            return translate(quoted(value), scope).bound if not value.startswith("$") else translate(value, scope).bound
        except (Unknown, Untranslatable):
            return quoted(value)
    if isinstance(value, list):
        items = [_literal(item, scope) for item in cast("list[Any]", value)]
        return f"[{', '.join(item for item in items if item is not None)}]" if None not in items else None
    return None


def _is_chain(text: str) -> bool:
    try:
        return compile_expression(text).is_chain
    except ExpressionError:
        return False


def _is_pattern(value: Any) -> bool:
    from fleetprompt.engine.core.expr_pattern import compile_pattern
    from fleetprompt.engine.core.expr_values import Refusal

    if not isinstance(value, str) or "${{" in value:
        return True
    try:
        compile_pattern(value)
    except Refusal:
        return False
    return True


def both(reached: str, own: Any) -> Any:
    """A condition that holds where a step is reached and its own condition holds."""
    if not reached:
        return own
    if own is None or own is True:
        return reached
    if isinstance(own, str):
        first = f"({reached})" if " or " in reached else reached
        return f"{first} and ({own})" if not _is_chain(own) else f"{first} and {own}"
    return {"all": [reached, own]}
