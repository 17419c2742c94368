"""What is noted of who says what to whom: agents among each other, to people, to runs that they start, and back. Pure.

The names of the fields are permanent: they are read by whatever analyses journals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from fleetprompt.engine.ports.work import Decision, NoteValue

COMMUNICATION = "communication"
"""Kind of the note of a message."""
CommunicationType = Literal[
    "task_delegation",
    "question",
    "result",
    "error_notification",
    "collaboration_request",
    "status_update",
    "resource_request",
]
RUN, CHILD, PEOPLE, NOTIFY = "run", "child", "people", "notify"
"""Channels: between the agents of a step, to runs that they start, by questions to people, and by the tool `notify`.
`people` is also who is asked where nobody is named, and `notify` the tool's name."""
TOLD_CHARS = 200
"""Of what people were told that is repeated in the message."""


class Said(Struct, frozen=True):
    """What is said, and by whom."""

    type: CommunicationType
    sender: str
    content: Any


def message(
    said: Said,
    receiver: str,
    *,
    sent: float,
    received: float | None = None,
    request: str = "",
    response_to: str = "",
    channel: str = RUN,
) -> dict[str, Any]:
    """A message. `sent`, `received`: when, in seconds since the epoch; None: nobody knows when it was taken up.
    `request`: its id where it wants an answer; `response_to`: the id of the request that it answers."""
    return {
        "from": said.sender,
        "to": receiver,
        "type": said.type,
        "content": said.content,
        "is_request": bool(request),
        "request_id": request,
        "in_response_to": response_to,
        "channel": channel,
        "sent_at": sent,
        "received_at": received,
        "responded_at": sent if response_to else None,
    }


def requested(said: Said, receiver: str, key: str, *, sent: float, channel: str = RUN) -> NoteValue:
    """A request, which has the key of the call, or of the agent, that makes it."""
    return COMMUNICATION, key, message(said, receiver, sent=sent, request=key, channel=channel)


def taken_up(request: NoteValue, at: float) -> NoteValue:
    """The same once whoever was asked begins with it."""
    kind, key, told = request
    return kind, key, told | {"received_at": at}


def answered(said: Said, receiver: str, key: str, *, sent: float, received: float, channel: str = RUN) -> NoteValue:
    """What comes back of the request of a key."""
    told = message(said, receiver, sent=sent, received=received, response_to=key, channel=channel)
    return COMMUNICATION, key, told


def to_people(said: Said, key: str, question: str, approvers: Sequence[str], at: float) -> NoteValue:
    """What an agent asks people. `key`: of the note; `question`: of what they answer."""
    whom = ", ".join(approvers) or PEOPLE
    return COMMUNICATION, key, message(said, whom, request=question, channel=PEOPLE, sent=at)


def from_people(key: str, agent: str, decision: Decision | None, at: float) -> list[NoteValue]:
    """What people have answered an agent, as it is taken up; nothing where nobody has. `key`: of the note."""
    if decision is None or decision.decision not in ("approved", "rejected") or not decision.by:
        return []
    content = dict(decision.values) | ({"comment": decision.comment} if decision.comment else {})
    said = Said(
        "result" if decision.decision == "approved" else "error_notification",
        ", ".join(decision.by),
        content or {"decision": decision.decision},
    )
    told = message(said, agent, response_to=decision.call, channel=PEOPLE, sent=decision.at, received=at)
    return [(COMMUNICATION, key, told)]


def notified(agent: str, key: str, arguments: Mapping[str, Any], at: float) -> NoteValue:
    """What people were told by a channel, shortened: all of it stands in the call."""
    text = str(arguments.get("title") or arguments.get("text") or "")[:TOLD_CHARS]
    told = message(Said("status_update", agent, text), str(arguments.get("channel", "")), channel=NOTIFY, sent=at)
    return COMMUNICATION, key, told


def handed_over(sender: str, path: str, handed: Mapping[str, Any], now: float) -> NoteValue:
    """The request with which one agent, at a path, has handed the task over to another, as it is noted."""
    said = Said("task_delegation", sender, handed.get("reason", ""))
    key, sent = str(handed.get("call") or path), float(handed.get("at") or now)
    return requested(said, str(handed.get("to", "")), key, sent=sent)
