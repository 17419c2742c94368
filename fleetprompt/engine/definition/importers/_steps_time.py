"""Times of foreign files, in whichever unit they are given."""

from __future__ import annotations

import re
from typing import Any, Final

from fleetprompt.engine.core.duration import MAX_DURATION, format_duration, parse_duration
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.definition.importers._given import Found, Given, as_number
from fleetprompt.engine.definition.importers._making import Making, is_one_expression
from fleetprompt.engine.definition.problems import ProblemCode

_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}
_TIMES: Final = (("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86_400))


def delay(step: Making) -> dict[str, Any]:
    """A while."""
    given = step.given
    for unit, seconds in _TIMES:
        keys = (unit, f"duration_{unit}", f"delay_{unit}", f"wait_{unit}")
        if given.has(*keys):
            return {"for": _time(step, given.find(*keys), seconds)}
    found = given.find("duration", "delay", "for", "wait", "time")
    unit = given.text("unit", "duration_unit", "delay_unit", "time_unit").lower()
    if unit and unit not in _UNITS:
        place = given.find("unit", "duration_unit", "delay_unit", "time_unit").pointer
        step.draft.report.wrong(
            place, ProblemCode.BAD_VALUE, f"`{unit[:20]}` is no unit of time", "seconds, minutes or hours"
        )
    if found:
        return {"for": _time(step, found, _UNITS.get(unit, 1))}
    message = f"`{step.node.key}` does not say how long it waits"
    step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, "such as `seconds: 30`")
    return {"for": "0s"}


def _time(step: Making, found: Found, unit: float) -> str:
    """A duration, or the expression that becomes one."""
    seconds = as_number(found.value)
    if seconds is None and isinstance(found.value, str):
        text = found.value.strip()
        words = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.lower())
        if words is not None and words[2] in _UNITS:
            seconds, unit = float(words[1]), _UNITS[words[2]]
        else:
            try:
                seconds, unit = parse_duration(text), 1
            except InvalidInput:
                filled = step.scope.text(text, found.pointer)
                if is_one_expression(filled):
                    inner = filled[3:-2].strip()
                    return filled if unit == 1 else f"${{{{ ({inner}) * {unit:g} }}}}"
    if seconds is None or not 0 <= seconds * unit <= MAX_DURATION:
        message = f"`{found.pointer[-1]}` must be a time between 0 and ten years"
        step.draft.report.wrong(found.pointer, ProblemCode.BAD_VALUE, message)
        return "0s"
    return format_duration(seconds * unit)


def timeout(step: Making, given: Given) -> str | None:
    """A limit of time, in whichever unit it is given."""
    known = next(((f"timeout_{unit}", each) for unit, each in _TIMES if given.has(f"timeout_{unit}")), ("timeout", 1))
    found, seconds = given.find(known[0]), known[1]
    if not found:
        return None
    text = _time(step, found, seconds)
    if text == "0s":
        step.draft.report.assumed(found.pointer, "a timeout of 0 is taken for none")
        return None
    return text
