"""Signals: CloudEvents 1.0 envelopes with our extensions. Every input of the engine is one; so is every output.

Types under `fleet.` are the engine's own and cannot be published from outside. Times are seconds since the epoch
in memory; an edge that speaks CloudEvents turns them into RFC 3339.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

from fleetprompt.engine.core.audit import AuditNote

START = "fleet.run.start"
CANCEL = "fleet.run.cancel"
PAUSE = "fleet.run.pause"
RESUME = "fleet.run.resume"
RETRY = "fleet.run.retry"
RAISE = "fleet.run.raise"
VOTE = "fleet.approval.vote"
ESCALATE = "fleet.approval.escalate"
RESOLVE = "fleet.step.resolve"
FINISHED = "fleet.run.finished"
AGENT_FINISHED = "fleet.agent.finished"
STARTED = "fleet.run.started"
PAUSED = "fleet.run.paused"
RESUMED = "fleet.run.resumed"
APPROVAL_REQUESTED = "fleet.approval.requested"
APPROVAL_DECIDED = "fleet.approval.decided"
IN_DOUBT = "fleet.step.in_doubt"
SET_WORKFLOW = "fleet.workflow.set"
REVOKE = "fleet.grant.revoke"
REMEMBER = "fleet.memory.add"
FORGET = "fleet.memory.forget"
FIRE = "fleet.schedule.fire"
SET_SCHEDULE = "fleet.schedule.set"
SET_SWITCH = "fleet.switch.set"
TRIGGER_SCHEDULE = "fleet.trigger.schedule"
TRIGGER_WEBHOOK = "fleet.trigger.webhook"
TRIGGER_WATCH = "fleet.trigger.watch"
TRIGGER_CHAT = "fleet.trigger.chat"
DISMISS = "fleet.letter.dismiss"
REDELIVER = "fleet.delivery.retry"

RESERVED = "fleet."
UNDERWAY: Final = frozenset({STARTED, PAUSED, RESUMED, APPROVAL_REQUESTED, APPROVAL_DECIDED, IN_DOUBT})
"""Types of what is told of runs on their way, to those who subscribe to it: see `lifecycle.py`."""
MUTED = "fleet.muted"
"""Label of runs that were started by a replay of which no subscription is to hear, and of all that they start."""
MAX_CHAIN: Final = 32
"""How many runs may start one another in a row by their signals: workflows that trigger each other would never end."""
OF_RUNS: Final = frozenset({START, CANCEL, PAUSE, RESUME, RETRY, RAISE, VOTE, ESCALATE, RESOLVE})
"""Types of the commands that are about a run."""
OF_TRIGGERS = frozenset({TRIGGER_SCHEDULE, TRIGGER_WEBHOOK, TRIGGER_WATCH, TRIGGER_CHAT})
"""Types of the signals that triggers publish, and nobody else."""

TYPE: Final = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
"""What the type of a signal looks like."""
MAX_TYPE: Final = 255
_WORD = r"(?:\*{1,2}|[A-Za-z0-9_-]+)"
PATTERN: Final = rf"^{_WORD}(?:\.{_WORD})*$"
"""What `type_matches` takes for a pattern."""
MAX_PATTERN: Final = 200


class Signal(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An immutable event that entered or left the engine."""

    id: str
    type: str
    source: str
    """Who sent it, as a URI reference: `cli/ana`, `run/<id>`, `trigger/<workflow>/<trigger>`."""
    at: float
    data: Any = None
    subject: str = ""
    """What it is about: for the engine's own types the run id."""
    tenant: str = "default"
    key: str = ""
    """Idempotency key: of two signals of a tenant with the same key only the first counts."""
    correlation: str = ""
    causation: str = ""
    traceparent: str = ""
    by: str = ""
    """The identity that sent it; empty for the engine itself."""
    sequence: int = 0
    """Position in the store; 0 until stored."""
    replay_of: str = ""
    """Id of the signal that it says again; empty for one that says something new."""
    only: str = ""
    """The workflow, or its trigger as `<workflow>/<trigger>`, that it is for alone: of a replay, the one that missed
    it; empty for everyone who listens."""
    muted: bool = False
    """What it leads to is delivered to no subscription: of a replay that was not asked to."""
    starters: tuple[str, ...] = ()
    """Of one that a run sends, or that starts a run: everybody who has had a part in starting it, besides `by`."""
    unfit: str = ""
    """Why nobody hears it, of one that left a run: its data does not fit what its type carries."""
    chain: int = 0
    """Of one that a run sends: how many runs have started one another by their signals before, that one included."""
    audit: AuditNote | None = None
    """Of a command, on its way into the store: what the audit log is to tell of it, in the transaction that keeps the
    signal. It is no part of what is kept, and nothing that runs sees it."""
    extensions: dict[str, str | int | bool] = {}
    """What else its CloudEvents envelope carried: extensions that mean nothing here, `dataschema`, and
    `datacontenttype` where that is not JSON."""


def replayable(type_: str) -> bool:
    """Whether signals of this type can be said again: all from outside, and those that triggers of ours have sent."""
    return not type_.startswith(RESERVED) or type_ in OF_TRIGGERS


class Result(Struct, frozen=True, omit_defaults=True):
    """What became of a signal at one place."""

    signal: str
    status: Literal["accepted", "refused"]
    run: str = ""
    reason: str = ""
    data: Any = None


def type_matches(pattern: str, type_: str) -> bool:
    """Whether a signal type matches a pattern: dot-separated, `*` is one segment, `**` any number."""
    return _match(pattern.split("."), type_.split("."))


def _match(pattern: list[str], parts: list[str]) -> bool:
    for i, want in enumerate(pattern):
        if want == "**":
            rest = pattern[i + 1 :]
            return any(_match(rest, parts[j:]) for j in range(i, len(parts) + 1)) if rest else True
        if i >= len(parts) or (want != "*" and want != parts[i]):
            return False
    return len(pattern) == len(parts)
