"""Questions to people, and conditions, of foreign files."""

from __future__ import annotations

import re
from typing import Any, Final

from fleetprompt.engine.core.rendered import MAX_APPROVERS
from fleetprompt.engine.definition.importers._condition import condition
from fleetprompt.engine.definition.importers._draft import template
from fleetprompt.engine.definition.importers._given import Found, Given, kind_of
from fleetprompt.engine.definition.importers._making import Making, is_one_expression
from fleetprompt.engine.definition.importers._steps_time import timeout
from fleetprompt.engine.definition.problems import ProblemCode

MAX_MESSAGE: Final = 10_000


def approval(step: Making) -> dict[str, Any]:
    """A question to people."""
    given, report = step.given, step.draft.report
    asked = given.find("message", "prompt", "question")
    message = step.text(asked) if asked else ""
    if not message.strip():
        message = f"Approve {step.node.given.text('name') or step.node.key}?".replace("${{", "{{")
        report.assumed(given.pointer, f"the file does not say what `{step.node.key}` asks")
    if len(message) > MAX_MESSAGE:
        report.differs(asked.pointer, f"a question has at most {MAX_MESSAGE:,} characters: it is cut")
        message = message[: MAX_MESSAGE - 1].rpartition("${{")[0] + "…" if "${{" in message else message[:MAX_MESSAGE]
    found: dict[str, Any] = {"message": message}
    rest = {key: template([value]) for key, value in step.unused().items()}
    shown = given.find("show", "data", "context")
    if shown:
        found["show"] = step.scope.value(shown.value, shown.pointer)
    if rest:
        found["show"] = {**rest, **(found["show"] if isinstance(found.get("show"), dict) else {})}
    people, roles = ("approvers", "approver", "assignees"), ("approver_role", "approver_roles", "role")
    approvers = [_approver(step, one, "user") for each in given.items(*people) for one in _several(each)]
    approvers += [_approver(step, one, "group") for each in given.items(*roles) for one in _several(each)]
    named = list(dict.fromkeys(each for each in approvers if each))
    if len(named) > MAX_APPROVERS:
        report.differs(given.pointer, f"there are more than {MAX_APPROVERS} approvers: the others are left out")
    if named:
        found["approvers"] = named[:MAX_APPROVERS]
    limit = timeout(step, given)
    if limit is not None:
        found["timeout"] = limit
    if given.flag("require_comment"):
        found["form"] = {"comment": {"type": "string", "required": True, "min_length": 1, "description": "Why"}}
        place = given.find("require_comment").pointer
        report.differs(place, "only who approves has to give a comment; who rejects may give one")
    return found


def _several(found: Found) -> list[Found]:
    """Names that are written in one text, with commas."""
    if not isinstance(found.value, str) or "," not in found.value or re.search(r"[{=]", found.value):
        return [found]
    return [Found(name, found.pointer) for name in re.split(r"\s*,\s*", found.value.strip()) if name]


def _approver(step: Making, found: Found, kind: str) -> str:
    """`ana`, as the file has it, or `group:oncall`."""
    if not isinstance(found.value, str) or not found.value.strip():
        Given(step.draft.report, {"approver": found.value}, found.pointer[:-1])
        message = f"an approver is named by a text, this is {kind_of(found.value)}"
        step.draft.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)
        return ""
    text = step.scope.text(found.value.strip(), found.pointer, only_text=False)
    before, colon, after = text.partition(":")
    if colon and before in ("role", "team"):
        named = f"group:{after}"
    elif kind == "user" or (colon and before in ("user", "group")) or is_one_expression(text):
        # Approvals show them to clients as these have sent them.
        named = text
    else:
        named = f"{kind}:{text}"
    if len(named) > 200:
        step.draft.report.wrong(found.pointer, ProblemCode.BAD_VALUE, "an approver has at most 200 characters")
        return ""
    return named


def decide(step: Making) -> dict[str, Any]:
    """A question with two ways on; where they lead is said by those that follow."""
    given = step.given
    found = given.find("condition", "conditions", "expression", "if")
    if not found and given.has("field"):
        found = Found(
            {key: given.body[key] for key in ("field", "operator", "value") if key in given.body}, given.pointer
        )
        for key in ("field", "operator", "value"):
            given.find(key)
    if not found:
        message = f"`{step.node.key}` has no condition"
        hint = "such as `condition: \"{{input.priority}} == 'high'\"`"
        step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, hint)
        return {"if": False, "then": []}
    for name in step.unused():
        step.lost(step.local[name][1], f"`{name}` is not used by the condition")
    return {"if": condition(found, step.scope), "then": []}
