"""Loops of foreign files."""

from __future__ import annotations

from typing import Any, Final, cast

from fleetprompt.engine.core.expr import ExpressionError, compile_expression
from fleetprompt.engine.definition.importers._condition import UNTRANSLATED, condition
from fleetprompt.engine.definition.importers._draft import Draft, item_name
from fleetprompt.engine.definition.importers._flow import Node
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._making import Making
from fleetprompt.engine.definition.importers._terms import quoted
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.definition.texts import templates

ITEMS: Final = ("items", "items_path", "over", "collection", "iterate_over", "items_expression", "list")
BODY: Final = ("steps", "body", "body_steps", "loop_steps", "step_ids", "children")
BRANCHES: Final = ("steps", "branches", "parallel_steps", "step_ids", "children", "tasks")
ITEM_NAMES: Final = ("item_variable", "item_name", "item_var", "as", "variable")
_AT_ONCE: Final = ("concurrency", "max_concurrency", "max_parallel", "parallelism")


def name_item(draft: Draft, node: Node, given: Given) -> None:
    """Say what the item of a loop is called, before the steps in it are read."""
    theirs = given.body.get(next((key for key in ITEM_NAMES if given.body.get(key)), ""), "item")
    theirs = theirs if isinstance(theirs, str) else "item"
    taken = [draft.items[around][1] for around in node.around() if around in draft.items]
    draft.items[node] = (theirs, item_name(theirs, taken))


def loop(step: Making) -> dict[str, Any]:
    """A block again and again; the steps in it are added by who puts the file together."""
    given, report, node = step.given, step.draft.report, step.node
    given.text(*ITEM_NAMES)
    ours = step.draft.items[node][1]
    items, test = given.find(*ITEMS), given.find("while", "condition", "loop_condition")
    found: dict[str, Any] = {}
    bound = given.whole("max_iterations")
    if bound == 0:
        place = given.find("max_iterations").pointer
        step.draft.report.wrong(place, ProblemCode.BAD_VALUE, "a loop that does nothing has no counterpart here")
    if items:
        found["over"] = _items(step, items)
        if ours != "item":
            found["as"] = ours
        if test:
            step.lost(test.pointer, f"`{test.pointer[-1]}` is left out: the loop goes through a list")
    elif test:
        step.scope.repeats = True
        question = condition(test, step.scope)
        step.scope.repeats = False
        if bound is not None:
            until = f"index < {bound}"
            question = f"({question}) and {until}" if isinstance(question, str) else {"all": [question, until]}
        found["while"] = question
    elif bound is not None:
        found["while"] = f"index < {bound}"
    else:
        message = f"`{node.key}` does not say what it goes through"
        report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, 'such as `items: "{{fetch.output.rows}}"`')
    at_once = given.whole(*_AT_ONCE)
    if at_once is not None and at_once > 1 and "over" in found:
        found["concurrency"] = min(at_once, 1000)
    if items and bound is not None:
        found["max_iterations"] = min(max(bound, 1), 1_000_000)
        place = given.find("max_iterations").pointer
        report.differs(place, f"more than {bound} items fail the step here; none are left out")
    return found


def _items(step: Making, items: Found) -> Any:
    if isinstance(items.value, list):
        listed = cast("list[Any]", items.value)
        values = step.scope.value(listed, items.pointer)
        return values if not any(templates(values, ())) else _listed(step, listed, items.pointer)
    operand = step.scope.reference(items)
    return operand.text if operand is not None else []


def _listed(step: Making, items: list[Any], pointer: Pointer) -> str:
    """A list with placeholders as an expression: in a list that stands there as it is, none are evaluated."""
    text = step.scope.literal(items, pointer)
    try:
        compile_expression(text)
    except ExpressionError as error:
        message = f"this list cannot be one expression: {error}"
        hint = f"it stands in the result inside of `{UNTRANSLATED}(…)`: make it in a step before the loop"
        step.draft.report.lost(pointer, message, hint, on="value")
        return f"{UNTRANSLATED}({quoted(text[:2000])})"
    return text
