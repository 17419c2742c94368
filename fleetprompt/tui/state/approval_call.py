"""What agents ask people: exactly what a call does, and what that depends on. PURE."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from fleetprompt.client.deciding import covered
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.tui.state.approval_value import Line, long_line, member_lines, text_lines, value_lines


def call_matter(shown: Any, released: Any) -> Iterator[Line]:
    """A call of a tool: what it does as it will be done, why that is asked, what it is bound to, what it is given."""
    told, made = mapping(shown), mapping(released)
    tool = str(made.get("tool") or told.get("tool", ""))
    yield (
        ("WILL BE DONE", "title"),
        (f"  {inert(tool)}", "accent"),
        (f"  by {inert(str(told.get('agent', '')))}", "dim"),
    )
    yield from _does(str(told.get("kind", "json")), told.get("does"))
    why = [(name, str(told[name])) for name in ("risk", "rule") if told.get(name)]
    if why:
        yield ()
        for name, text in why:
            style = "warning" if name == "risk" else ""
            yield from long_line(((f"{name}: ", "dim"),), text, style)
    if told.get("bound") is not None:
        yield ()
        yield (("BOUND TO", "title"), ("  where this has changed since, nothing is done", "dim"))
        yield from value_lines(told["bound"], "")
    if told.get("covers") or told.get("subject"):
        yield ()
        yield (("SUCH CALLS", "title"), ("  what a grant for the run or the workflow would allow", "dim"))
        yield from value_lines({"tool": tool, **mapping(told.get("covers") or told.get("subject"))}, "")
    yield ()
    yield (("ARGUMENTS", "title"),)
    yield from value_lines(made.get("arguments"), "")


def changed_matter(call: EditedCall, approval: Approval) -> list[Line]:
    """A call as somebody has changed it: what it does so, or what it is given where nobody could look."""
    tool = mapping(approval.show).get("tool", "")
    if not call.unseen:
        return list(call_matter(call.show, {"tool": tool, "arguments": dict(call.arguments)}))
    lines: list[Line] = [
        (("WILL BE DONE", "title"), (f"  {inert(str(tool))}", "accent")),
        ((f"what it does so is not known yet: {call.unseen}", "warning"),),
        (),
        (("ARGUMENTS", "title"),),
    ]
    return [*lines, *value_lines(dict(call.arguments), "")]


def _does(kind: str, does: Any) -> Iterator[Line]:
    if kind == "argv" and isinstance(does, list) and all(isinstance(part, str) for part in items(does)):
        yield from member_lines("argv", does, "")
    elif kind == "http" and isinstance(does, dict):
        rest = {name: each for name, each in mapping(does).items() if name not in ("method", "url")}
        method, url = str(does.get("method", "")), str(does.get("url", ""))
        yield from long_line(((f"{inert(method)} ", "accent"),), url, "code")
        yield from value_lines(rest, "") if rest else ()
    elif isinstance(does, str):
        yield from text_lines(does, "")
    else:
        yield from value_lines(does, "")


def such_calls(approval: Approval) -> list[Line]:
    """What a grant would allow from now on."""
    return list(value_lines(covered(approval), "  "))


def asked_briefly(approval: Approval) -> str:
    """What an agent asks, on a line, besides its message."""
    told = mapping(approval.show)
    match approval.about:
        case "tool":
            does = told.get("does")
            if told.get("kind") == "argv" and isinstance(does, list):
                return f"$ {shlex.join(map(str, items(does)))}"
            if told.get("kind") == "http":
                return f"{mapping(does).get('method', '')} {mapping(does).get('url', '')}"
            return str(does).strip() if told.get("kind") == "sql" else str(told.get("risk", ""))
        case "question":
            return " / ".join(map(str, items(told.get("options"))))
        case "budget":
            return f"{told.get('used', '')} of {told.get('cap', '')} used"
        case _:
            return str(told.get("why") or told.get("changes") or "")


def hands_on_to(approval: Approval | Gate) -> str:
    """Who is asked when it is handed on, for people; empty where nobody is named here."""
    return ", ".join(map(str, items(mapping(approval.escalate).get("to"))))


CORRECTING = frozenset(
    f"approval.{verb}" for verb in ("reject", "edit", "comment", "grant_run", "grant_workflow", "end")
)
"""What can be said in place of an approval that was given already."""


def can_be(action: str, approval: Approval | Gate) -> bool:
    """Whether what an action does makes sense for an approval."""
    match action:
        case "approval.edit":
            return bool(approval.form)
        case "approval.grant_run" | "approval.grant_workflow":
            return approval.about == "tool"
        case "approval.end":
            return bool(approval.call)
        case "approval.escalate":
            return not approval.level and bool(hands_on_to(approval))
        case _:
            return True
