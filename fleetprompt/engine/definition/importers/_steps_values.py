"""Steps of foreign files that compute values."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from fleetprompt.engine.definition.importers._draft import template
from fleetprompt.engine.definition.importers._expression import translate
from fleetprompt.engine.definition.importers._given import Found
from fleetprompt.engine.definition.importers._making import Making
from fleetprompt.engine.definition.importers._terms import Unknown, Untranslatable

_STATIC: Final = ("data", "static_data", "value", "output", "values")
_COMPUTED: Final = ("expression", "transformation", "transform", "template")
_SEVERAL: Final = ("expressions", "mappings", "mapping", "transformations", "fields")

_FILLED: Final = re.compile(r"\{\{.*?\}\}|'[^']*'|\"[^\"]*\"", re.DOTALL)
_CALCULATION: Final = re.compile(r"(?:[\s\d.+*/%<>=!&|()-]|\b(?:and|or|not|in|if|else|true|false|null|none)\b)+", re.I)
_OPERATOR: Final = re.compile(r"[+*/%<>=!&|-]|\b(?:and|or|not|in|if)\b", re.I)


def transform(step: Making) -> dict[str, Any]:
    """A value: static data, with what expressions add to it."""
    given, scope = step.given, step.scope
    static = given.find(*_STATIC)
    value = scope.value(static.value, static.pointer) if static else None
    computed = given.find(*_COMPUTED)
    if computed:
        value = _computed(step, computed)
        if static:
            step.lost(static.pointer, f"`{static.pointer[-1]}` is left out: the value is computed")
    several = given.mapping(*_SEVERAL) if isinstance(given.find(*_SEVERAL).value, dict) else None
    if several is not None:
        more = {key: _computed(step, Found(several.body[key], (*several.pointer, key))) for key in several.rest()}
        value = {**cast("Any", value), **more} if isinstance(value, dict) else more
        if static and not isinstance(static.value, dict):
            step.lost(static.pointer, f"`{static.pointer[-1]}` is left out: the value is computed")
    if not static and not computed and several is None:
        keys = given.rest()
        value = {key: scope.value(given.body[key], (*given.pointer, key)) for key in keys} or None
    rest = {key: template([operand]) for key, operand in step.unused().items()}
    if rest:
        value = {
            **(cast("Any", value) if isinstance(value, dict) else {} if value is None else {"value": value}),
            **rest,
        }
    return {"output": value}


def _calculates(text: str) -> bool:
    """Whether placeholders are all that is no calculation in a text: `{{a}} + 1`, and not `Dear {{a}}`."""
    around = _FILLED.sub("", text)
    return "{{" in text and bool(_CALCULATION.fullmatch(around) and _OPERATOR.search(around))


def _computed(step: Making, found: Found) -> Any:
    """An expression; where it is none, the value with its placeholders filled in."""
    if not isinstance(found.value, str):
        return step.scope.value(found.value, found.pointer)
    calculates = _calculates(found.value) and "template" not in found.pointer
    if "{{" in found.value and not calculates:
        return step.scope.text(found.value, found.pointer)
    step.scope.pointer = found.pointer
    if calculates:
        step.draft.report.assumed(found.pointer, "what stands around `{{ }}` is calculated, as in a condition")
    try:
        return template([translate(found.value, step.scope)])
    except (Unknown, Untranslatable) as error:
        message = f"this expression cannot be translated: {error}"
        step.draft.report.lost(found.pointer, message, "it stands in the result as text", on="value")
        return step.scope.text(found.value, found.pointer)
