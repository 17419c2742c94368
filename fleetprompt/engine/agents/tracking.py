"""What is noted of an agent's way besides its requests and calls: sessions, states and messages between agents.

The names of the fields are permanent: they are read by whatever analyses journals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fleetprompt.engine.core.codec import mapping

CommunicationType = Literal[
    "task_delegation",
    "question",
    "result",
    "error_notification",
    "collaboration_request",
    "status_update",
    "resource_request",
]


def session(
    agent: str,
    goal: str,
    *,
    names: Mapping[str, Any],
    definition: str,
    tools: Mapping[str, str],
    fresh: bool,
    goal_type: str = "",
    parent: str = "",
    root: str = "",
    task: str = "",
    root_task: str = "",
    history: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """An agent begins to work on a goal. `definition` is a digest of what it is, `tools` those of what it can call.
    `task`: the part of a decomposed task that it has, `root_task` the whole."""
    trigger = names.get("trigger")
    return {
        "fresh": fresh,
        "agent_id": agent,
        "agent_type": "llm",
        "goal": goal,
        "goal_type": goal_type,
        "codebase": names.get("codebase", ""),
        "triggered_by": mapping(trigger).get("kind", ""),
        "metadata": trigger,
        "parent": parent,
        "root": root or agent,
        "task": task,
        "root_task": root_task or task,
        "phase": "execution",
        "history": history or [],
        "definition": definition,
        "tools": dict(tools),
    }


def state(
    before: str,
    after: str,
    sequence: int,
    reason: str,
    *,
    event: str = "",
    type: Literal["normal", "error", "retry", "skip", "jump"] = "normal",
    data: Any = None,
) -> dict[str, Any]:
    """An agent goes from one state to another."""
    return {
        "from": before,
        "to": after,
        "sequence": sequence,
        "reason": reason,
        "type": type,
        "triggered_by_event": event,
        "state_data": data,
    }


def communication(
    type: CommunicationType,
    sender: str,
    receiver: str,
    content: Any,
    *,
    request: str = "",
    response_to: str = "",
    channel: str = "run",
    at: float = 0.0,
) -> dict[str, Any]:
    """A message from one agent to another. `request`: its id where it wants an answer; `response_to`: the id of the
    request that it answers."""
    return {
        "from": sender,
        "to": receiver,
        "type": type,
        "content": content,
        "is_request": bool(request),
        "request_id": request,
        "in_response_to": response_to,
        "channel": channel,
        "sent_at": at,
        "received_at": at,
        "responded_at": at if response_to else None,
    }
