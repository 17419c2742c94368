"""What is said of a call: what it is about, what it starts, why it is not made. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprompt.engine.agents.toolbox import Entry
from fleetprompt.engine.agents.transcript import (
    Call,
)
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.ports.tool import Judgement
from fleetprompt.engine.ports.work import Decision
from fleetprompt.engine.ports.world import Failed, Outcome


def edited(call: Call, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call with what somebody has changed; None where that is nothing."""
    changed = mapping(call.arguments) | {name: value for name, value in values.items() if value is not None}
    return changed if changed != call.arguments else None


def error_of(outcome: Outcome) -> dict[str, Any]:
    return {"error": outcome.error.message} if isinstance(outcome, Failed) else {}


def needs_leave(call: Call, now: Judgement, decision: Decision | None) -> bool:
    """Whether nobody was asked about a call that people have to be asked about by now. Who has approved it has approved
    it under any rule that asks: whom to ask is said by the agent's file, and stays the same under a run."""
    approved = decision is not None and decision.decision == "approved"
    return now.verdict == "ask" and call.verdict == "allow" and not approved and not call.ran


def asked_about(call: Call) -> str:
    """What people are asked about a call, in a line."""
    return str(mapping(call.proposal.get("preview")).get("summary") or call.tool)


def bound_of(call: Call) -> dict[str, Any]:
    """What was bound when the call was looked at."""
    return mapping(mapping(call.proposal.get("preview")).get("bound"))


def workflow_of(call: Call, entry: Entry) -> str:
    """The workflow that a call starts."""
    return entry.target or str(mapping(call.arguments).get("workflow", ""))


def inputs_of(arguments: Any, entry: Entry) -> dict[str, Any]:
    """What a call gives to the workflow that it starts. Recordings and scripts of before give it as an object."""
    given = mapping(arguments)
    wrapped = given.keys() == {"inputs"} and "inputs" not in (entry.inputs or {})
    if entry.inputs is None or (wrapped and isinstance(given["inputs"], dict)):
        return mapping(given.get("inputs"))
    return given


def waits_for_end(call: Call) -> bool:
    """Whether a call that starts a workflow waits for its end."""
    return mapping(call.arguments).get("wait") is not False


def rejection(decision: Decision | None) -> str:
    if decision is None:
        return "nobody has approved it"
    if decision.reason == "timeout":
        return "nobody approved it in time"
    who = f" by {', '.join(decision.by)}" if decision.by else ""
    return f"rejected{who}" + (f": {decision.comment}" if decision.comment else "")
