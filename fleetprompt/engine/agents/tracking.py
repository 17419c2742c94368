"""What is noted of an agent's way besides what its requests and calls carry: sessions, states, and what kind of action
each request and call is.

The names of the fields are permanent: they are read by whatever analyses journals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.ports.tool import ActionType

ActionStatus = Literal["running", "completed", "failed", "rejected", "in_doubt", "cancelled"]


def action(
    type: ActionType,
    name: str,
    *,
    capability: str,
    status: ActionStatus,
    tool: str = "",
    retry_count: int = 0,
    max_retries: int = 0,
) -> dict[str, Any]:
    """A request to a model or a call of a tool, as an `action` in each of the notes with which it begins and ends. What
    went in and came out, what it cost and how long it took stands beside it in the same notes.

    `capability`: what it takes: of a model what it is asked for, of a tool its family or server. `retry_count`: how
    often it was tried before; `max_retries`: how often it is tried again by itself at most."""
    return {
        "type": type,
        "name": name,
        "tool": tool,
        "capability": capability,
        "status": status,
        "retry_count": retry_count,
        "max_retries": max_retries,
    }


def session(
    agent: str,
    goal: str,
    *,
    names: Mapping[str, Any],
    codebase: str = "",
    definition: str,
    tools: Mapping[str, str],
    fresh: bool,
    goal_type: str = "",
    parent: str = "",
    root: str = "",
    task: str = "",
    root_task: str = "",
    request: str = "",
    history: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """An agent begins to work on a goal. `definition` is a digest of what it is, `tools` those of what it can call.
    `task`: the part of a decomposed task that it has, `root_task` the whole. `request`: id of the message by which
    another agent has asked for it. `codebase`: where it works, and the commit of the file that says what to do."""
    trigger = names.get("trigger")
    return {
        "fresh": fresh,
        "agent_id": agent,
        "agent_type": "llm",
        "goal": goal,
        "goal_type": goal_type,
        "codebase": codebase,
        "triggered_by": mapping(trigger).get("kind", ""),
        "metadata": trigger,
        "parent": parent,
        "root": root or agent,
        "task": task,
        "root_task": root_task or task,
        "request": request,
        "phase": "execution",
        "history": history or [],
        "definition": definition,
        "tools": dict(tools),
    }


STATE = "state"
"""Kind of the note of a change of state."""
State = Literal["planning", "executing", "wrapping_up", "completed", "failed", "handed_over"]
"""It has its goal; it calls what its answers ask for; it gives what it has, without calls; how it ended."""
MoveType = Literal["normal", "error", "retry", "skip", "jump"]
"""`retry`: another attempt goes on with it; `skip`: the rest of the work is left out; `jump`: another agent goes on."""


def state(
    before: str,
    after: State,
    sequence: int,
    reason: str,
    *,
    event: str = "",
    type: MoveType = "normal",
    data: Any = None,
) -> dict[str, Any]:
    """An agent goes from one state to another. `sequence`: changes of its state before this one; `event`: kind of the
    note that comes with it."""
    return {
        "from": before,
        "to": after,
        "sequence": sequence,
        "reason": reason,
        "type": type,
        "triggered_by_event": event,
        "state_data": data,
    }
