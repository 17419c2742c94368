"""Dead letters: what did not get where it was to go, for good, until somebody has it done again or dismisses it. PURE.

There is one of a signal and a place: the trigger of a workflow that it could not start, or the subscription to which
it could not be delivered. What fails again is the same letter, with one attempt more.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

from fleetprompt.engine.core.errors import Code
from fleetprompt.engine.core.signal import AGENT_FINISHED, FINISHED, RESERVED, Signal, replayable

Kind = Literal["workflow", "subscription"]
Status = Literal["dead", "replayed", "dismissed"]
KINDS: Final[tuple[Kind, ...]] = ("workflow", "subscription")
STATUSES: Final[tuple[Status, ...]] = ("dead", "replayed", "dismissed")
MAX_REASON: Final = 2000
"""Characters of a reason that are kept."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A signal that did not get to one place."""

    id: str
    tenant: str
    kind: Kind
    target: str
    """Name of the workflow or subscription; empty: the signal got nowhere at all."""
    trigger: str = ""
    """Of a workflow: the trigger that it was for."""
    signal: str
    """The signal as it first came: of a replay the one that it is a replay of."""
    type: str
    source: str
    code: Code
    reason: str
    at: float
    """When it failed last, in epoch seconds."""
    attempts: int = 1
    status: Status = "dead"
    settled_at: float | None = None
    """When it was replayed with success, or dismissed."""
    by: str = ""
    """Who dismissed it."""
    seq: int = 0
    """Position in the list; 0 until stored."""

    @property
    def place(self) -> str:
        """Where it was to go, for people."""
        if self.kind == "subscription":
            return f"subscription {self.target}"
        return f"{self.target}/{self.trigger}" if self.trigger else self.target or "nobody"


def letter_id(signal: str, kind: Kind, target: str, trigger: str, tenant: str) -> str:
    """The id of the letter about a signal and a place."""
    return "dl-" + sha256("\0".join(("dead", tenant, signal, kind, target, trigger)).encode()).hexdigest()[:16]


def dead_letter(
    signal: Signal, kind: Kind, target: str, trigger: str = "", *, code: Code, reason: str, at: float, attempts: int = 1
) -> DeadLetter:
    """The letter about a signal that did not get to a place."""
    first = signal.replay_of or signal.id
    return DeadLetter(
        id=letter_id(first, kind, target, trigger, signal.tenant),
        tenant=signal.tenant,
        kind=kind,
        target=target,
        trigger=trigger,
        signal=first,
        type=signal.type,
        source=signal.source,
        code=code,
        reason=reason[:MAX_REASON],
        at=at,
        attempts=attempts,
    )


def mourned(signal: Signal) -> bool:
    """Whether somebody has to hear that a signal came to nothing: of a command, whoever sent it has been told."""
    return not signal.type.startswith(RESERVED) or signal.type in (FINISHED, AGENT_FINISHED) or replayable(signal.type)
