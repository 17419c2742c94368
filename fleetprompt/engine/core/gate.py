"""An approval: what is asked, who may answer, what has been said, and the form that an approver fills in."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.expr_pattern import whole_problem


class Gate:
    """An approval a step waits for, or waited for."""

    __slots__ = (
        "approvers",
        "decision",
        "digest",
        "form",
        "id",
        "input",
        "level",
        "message",
        "on_timeout",
        "quorum",
        "secrets",
        "until",
        "values",
        "votes",
    )

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.digest = ""
        self.message = ""
        self.approvers: tuple[str, ...] = ()
        self.quorum = 1
        self.form: dict[str, Any] = {}
        self.until: float | None = None
        self.on_timeout = "reject"
        self.level = 0
        self.input: Any = None
        self.secrets: dict[str, list[Any]] = {}
        self.votes: dict[str, tuple[str, str, dict[str, Any]]] = {}
        """Person to (decision, comment, values), at the present level."""
        self.decision = ""
        self.values: dict[str, Any] = {}


def form_defaults(form: dict[str, Any]) -> dict[str, Any]:
    """What a form holds before anybody has filled it in."""
    return {name: spec["default"] for name, spec in form.items() if isinstance(spec, dict) and "default" in spec}


def form_problem(form: dict[str, Any], values: dict[str, Any]) -> str:
    """What is wrong with the values that an approver filled in; empty when nothing is."""
    for name in values:
        if name not in form:
            known = ", ".join(form) or "none"
            return f"the form has no field `{name}` (fields: {known})"
    for name, raw in form.items():
        spec = mapping(raw) or {"type": raw}
        if name not in values:
            if spec.get("required") and "default" not in spec:
                return f"the form needs `{name}`"
            continue
        problem = _field_problem(name, spec, values[name])
        if problem:
            return problem
    return ""


def entitled(approvers: Collection[str], person: str, groups: Iterable[str]) -> bool:
    """Whether a person, who is in these groups, is among those who may decide."""
    identities = {person, f"user:{person}", *(f"group:{group}" for group in groups)}
    return not approvers or not identities.isdisjoint(approvers)


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _field_problem(name: str, spec: dict[str, Any], value: Any) -> str:
    wanted = _TYPES.get(str(spec.get("type", "")))
    if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
        return f"`{name}` must be of type {spec['type']}"
    if spec.get("enum") and value not in spec["enum"]:
        return f"`{name}` must be one of {', '.join(map(str, spec['enum']))}"
    if isinstance(value, str):
        if len(value) < int(spec.get("min_length") or 0):
            return f"`{name}` needs at least {spec['min_length']} characters"
        if spec.get("max_length") is not None and len(value) > int(spec["max_length"]):
            return f"`{name}` may have at most {spec['max_length']} characters"
        if spec.get("pattern") and (problem := whole_problem(str(spec["pattern"]), value)):
            return f"`{name}` cannot be this text: {problem}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if spec.get("minimum") is not None and value < spec["minimum"]:
            return f"`{name}` must be at least {spec['minimum']:g}"
        if spec.get("maximum") is not None and value > spec["maximum"]:
            return f"`{name}` must be at most {spec['maximum']:g}"
    return ""
