"""A call that somebody approves with other arguments: what they change, and what a grant with it covers. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from msgspec import UNSET, Struct

from fleetprompt.client.deciding import LONGEST, covered, covers, shortened
from fleetprompt.client.forms import form_fields
from fleetprompt.client.values import cut
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval


class Change(Struct, frozen=True):
    """An argument that is changed."""

    before: Any
    """`UNSET` where it was not given."""
    after: Any


def changes(approval: Approval, values: Mapping[str, Any]) -> dict[str, Change]:
    """The arguments of a call that would not be what they were asked with."""
    if approval.about != "tool":
        return {}
    before = _arguments(approval)
    found = {name: Change(before.get(name, UNSET), value) for name, value in values.items() if value is not None}
    return {name: change for name, change in found.items() if change.before != change.after}


def covered_as_changed(approval: Approval, changed: Mapping[str, Change]) -> dict[str, Any]:
    """What a call has to be, to the letter, once the call that was asked is made as it is changed. `UNSET`: what only
    the engine can tell, when it looks at the changed call."""
    before, found = _arguments(approval), covered(approval)
    tool, fields = found.pop("tool"), found
    # What is no argument as it stands is made of arguments that are not known here: any change may make it another.
    told = {name for name, value in fields.items() if name in before and _is(value, before[name])}
    told |= {name for name, value in fields.items() if name in approval.form and _left_out(name, value, before)}
    sure = told.issuperset(changed)
    result: dict[str, Any] = {"tool": tool}
    for name in [*fields, *(name for name in changed if name not in fields)]:
        if name in told and name in changed:
            result[name] = _shown(changed[name].after)
        else:
            result[name] = fields[name] if name in told and sure else UNSET
    return result


def covers_with(approval: Approval, values: Mapping[str, Any]) -> str:
    """The same on a line, where a call is approved with these values; `covers` as it is where they change nothing."""
    changed = changes(approval, values)
    if not changed:
        return covers(approval)
    found = covered_as_changed(approval, changed)
    parts = [found.pop("tool"), *(f"{name}={shortened(value)}" for name, value in found.items() if value is not UNSET)]
    unsure = [name for name, value in found.items() if value is UNSET]
    parts += [f"({', '.join(unsure)}: see the journal)"] if unsure else []
    return cut(inert(" ".join(parts)), LONGEST)


def _arguments(approval: Approval) -> dict[str, Any]:
    return {field.name: field.default for field in form_fields(approval.form) if field.default is not UNSET}


def _is(value: Any, argument: Any) -> bool:
    """Whether a grant covers an argument itself, or its text by the digest."""
    return value == argument or (isinstance(argument, str) and value == _digest(argument))


def _left_out(name: str, value: Any, before: Mapping[str, Any]) -> bool:
    """Whether this is what a tool takes where an argument was not given."""
    return name not in before and (value is None or isinstance(value, (bool, int, float, str)))


def _shown(value: Any) -> Any:
    return _digest(value) if isinstance(value, str) and len(value) > LONGEST else value


def _digest(text: str) -> dict[str, Any]:
    return {"sha256": sha256(text.encode()).hexdigest(), "characters": len(text)}
