"""What a command asks of the run that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.engine.core import command
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.runtime.message import Ask

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

COMMANDS = frozenset({types.CANCEL, types.PAUSE, types.RESUME, types.RAISE, types.VOTE, types.ESCALATE, types.RESOLVE})
"""What is asked of one run."""


def asked(engine: Engine, signal: Signal, *, edited: str = "", previewed: str = "") -> Ask:
    """The facts that follow from a command, or why none do. `edited`, `previewed`: digests of the call that a vote
    changes, which was looked at."""
    data = mapping(signal.data)

    def ask(run: Run, now: float) -> list[AnyFact] | command.Refusal:
        match signal.type:
            case types.CANCEL:
                return command.cancel(run, now, by=signal.by, reason=str(data.get("reason") or ""))
            case types.PAUSE:
                return command.pause(run, now, by=signal.by, reason=str(data.get("reason") or ""))
            case types.RESUME:
                return command.resume(run, now, by=signal.by)
            case types.RAISE if "above" in data:
                return command.raised_above(run, now, data["above"])
            case types.RAISE:
                return command.raise_limits(
                    run,
                    now,
                    by=signal.by,
                    step=str(data.get("step") or ""),
                    amounts=mapping(data.get("amounts")),
                    reason=str(data.get("reason") or ""),
                )
            case types.VOTE:
                return command.vote(
                    run,
                    now,
                    approval=str(data.get("approval")),
                    by=signal.by,
                    groups=engine.groups_of(signal.by),
                    decision=str(data.get("decision")),
                    comment=str(data.get("comment") or ""),
                    values=data.get("values") or {},
                    via=str(data.get("via") or ""),
                    digest=str(data.get("digest") or ""),
                    level=data.get("level"),
                    sent=signal.at,
                    grant=str(data.get("grant") or ""),
                    ends=data.get("ends") is True,
                    edited=edited,
                    previewed=previewed,
                )
            case types.ESCALATE:
                return command.escalate(
                    run,
                    now,
                    approval=str(data.get("approval")),
                    by=signal.by,
                    groups=engine.groups_of(signal.by),
                    comment=str(data.get("comment") or ""),
                )
            case _:
                return command.resolve(
                    run,
                    now,
                    path=str(data.get("path")),
                    answer=str(data.get("answer")),
                    attempt=data.get("attempt"),
                    output=data.get("output"),
                    by=signal.by,
                    comment=str(data.get("comment") or ""),
                )

    return ask
