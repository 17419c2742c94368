"""An approval: what is asked, who may answer, what has been said, and the form that an approver fills in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.entered import entered_problem

_LIMITS = ("enum", "pattern", "min_length", "max_length", "minimum", "maximum")


class Gate:
    """An approval a step waits for, or waited for."""

    __slots__ = (
        "about",
        "approvers",
        "barred",
        "by",
        "call",
        "comment",
        "decided_at",
        "decision",
        "digest",
        "edited",
        "ends",
        "escalate",
        "excludes",
        "form",
        "grant",
        "id",
        "input",
        "level",
        "message",
        "on_timeout",
        "previewed",
        "previews",
        "quorum",
        "reason",
        "secrets",
        "show",
        "until",
        "values",
        "votes",
    )

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.digest = ""
        self.message = ""
        self.approvers: tuple[str, ...] = ()
        self.excludes: tuple[str, ...] = ()
        self.barred: tuple[str, ...] = ()
        """Identities that may not decide, whatever `approvers` says."""
        self.quorum = 1
        self.form: dict[str, Any] = {}
        self.until: float | None = None
        self.on_timeout = "reject"
        self.level = 0
        self.input: Any = None
        self.secrets: dict[str, list[Any]] = {}
        self.votes: dict[str, tuple[str, str, dict[str, Any], str]] = {}
        """Person to (decision, comment, values, grant), at the present level."""
        self.decision = ""
        self.values: dict[str, Any] = {}
        self.call = ""
        """Key of the call inside the step that it is about; empty: the step itself."""
        self.show: Any = None
        """What is shown, where it is about a call."""
        self.about = ""
        self.escalate: dict[str, Any] = {}
        self.by: tuple[str, ...] = ()
        """Who decided, and what they said."""
        self.decided_at = 0.0
        self.reason = ""
        self.comment = ""
        self.grant = ""
        self.ends = False
        self.edited = ""
        self.previewed = ""
        """Digests of the call that was approved, where it was changed."""
        self.previews: dict[str, str] = {}
        """Person to the digest of what the changed call would do, at the present level."""


GRANTS = ("", "run", "workflow")
"""For what calls like an approved one need not be asked about any more, the narrowest first; empty: for nothing."""


def form_defaults(form: dict[str, Any]) -> dict[str, Any]:
    """What a form holds before anybody has filled it in."""
    return {name: spec["default"] for name, spec in form.items() if isinstance(spec, dict) and "default" in spec}


def with_comment(
    form: Mapping[str, Any], about: str, comment: str, values: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What somebody says with a decision, and what they have entered. Where the form of a step asks for a `comment`,
    the one is the other, whichever was given; an argument of that name of a call is no remark about it."""
    field = mapping(form.get("comment")) or {"type": form.get("comment")}
    if about or field.get("type") != "string":
        return comment, values
    entered = values.get("comment")
    if entered is None and comment:
        return comment, {**values, "comment": comment}
    return comment or (entered if isinstance(entered, str) else ""), values


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
        problem = _field_problem(spec, values[name])
        if problem:
            return f"`{name}` {problem}"
    return ""


def looked_away(id_: str, digest: str, level: int, seen: str, seen_level: int | None) -> str:
    """Why a decision about what somebody has seen is none about what is asked now; empty when it is.

    `seen` and `seen_level` are the digest and the level that were shown; who does not tell them ("", None) is believed.
    """
    if seen_level is not None and seen_level != level:
        return f"the approval {id_} is at level {level} by now, and was at level {seen_level} when it was shown"
    if seen and seen != digest:
        return f"what the approval {id_} would release has changed since it was shown"
    return ""


def is_barred(barred: Collection[str], person: str) -> bool:
    """Whether a person is among those who may not decide."""
    return person.removeprefix("user:") in {each.removeprefix("user:") for each in barred}


def whom(approvers: Collection[str], barred: Collection[str]) -> str:
    """Who may decide, for people: `group:oncall, but not ana, who started the run`; empty where everybody may."""
    who = ", ".join(approvers)
    if not barred:
        return who
    return f"{who or 'everybody'}, but not {' or '.join(barred)}, who started the run"


def entitled(approvers: Collection[str], person: str, groups: Iterable[str], barred: Collection[str] = ()) -> bool:
    """Whether a person, who is in these groups, is among those who may decide, and not among the `barred`."""
    if is_barred(barred, person):
        return False
    identities = {person, f"user:{person}", *(f"group:{group}" for group in groups)}
    return not approvers or not identities.isdisjoint(approvers)


def _field_problem(spec: dict[str, Any], value: Any) -> str:
    limits = {key: spec[key] for key in _LIMITS if spec.get(key) is not None}
    return entered_problem(value, str(spec.get("type", "any")), **limits)
