"""What can be done now with the row that is selected, and why the rest cannot, as the core would say it. PURE."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from fleetprompt.engine.core import command
from fleetprompt.engine.core.command import Refusal, Reply
from fleetprompt.engine.core.fork import start_of
from fleetprompt.engine.core.gate import Gate, entitled, is_barred
from fleetprompt.engine.core.state import Run, Step

Name = Literal["resolve", "retry", "retry_from", "cancel", "pause", "resume", "raise"]


class Verb(Struct, frozen=True):
    """Something that can be done, or why not."""

    name: Name
    possible: bool
    why_not: str = ""
    target: str = ""
    """What it is done to, besides the run: the step's path."""
    attempt: int = 0
    """`resolve`: the attempt that is in doubt, as it is seen now."""


def verbs(run: Run, step: Step | None, *, me: str) -> dict[Name, Verb]:
    """Every verb by name, for a step of a run or (None) for the run as a whole. `me` is who would do it."""
    at = run.at
    found = (
        _resolve(step),
        _verb("retry", start_of(run)),
        _retry_from(run, step),
        _verb("cancel", command.cancel(run, at, by=me)),
        _verb("pause", command.pause(run, at, by=me)),
        _verb("resume", command.resume(run, at, by=me)),
        _raise(run, step),
    )
    return {verb.name: verb for verb in found}


def _verb(name: Name, said: Reply | Step | None, target: str = "") -> Verb:
    return Verb(name, not isinstance(said, Refusal), said.reason if isinstance(said, Refusal) else "", target)


def why_no_vote(step: Step, gate: Gate, me: str, groups: Collection[str] | None) -> str:
    """Why somebody cannot decide about something that a step asks; empty where they can. Where their groups are not
    known (None), nobody but the engine can tell of those who are in one."""
    if gate.decision or not step.asks:
        return f"the approval is already {gate.decision or 'closed'}"
    if me in gate.votes:
        return f"you have {gate.votes[me][0]} it already"
    if is_barred(gate.barred, me):
        return "you started the run, and its workflow keeps these duties apart"
    unsure = groups is None and any(approver.startswith("group:") for approver in gate.approvers)
    if not unsure and not entitled(gate.approvers, me, groups or ()):
        return f"only {', '.join(gate.approvers)} may decide this"
    return ""


def _resolve(step: Step | None) -> Verb:
    if step is None:
        return Verb("resolve", False, "select the step that is in doubt")
    if step.status != "in_doubt":
        return Verb("resolve", False, f"{step.path} is {step.status}, not in doubt", step.path)
    return Verb("resolve", True, "", step.path, step.attempt)


def limits_of(run: Run, path: str = "") -> list[str]:
    """The limits of a run, or of a step of it, that can be raised."""
    caps = command.CAPS
    return [
        cap
        for cap in caps
        if not isinstance(command.raise_limits(run, run.at, by="", step=path, amounts={cap: 1}), Refusal)
    ]


def _raise(run: Run, step: Step | None) -> Verb:
    if run.ended:
        return Verb("raise", False, f"the run is already {run.status}")
    own = step.path if step is not None and limits_of(run, step.path) else ""
    if own or limits_of(run):
        return Verb("raise", True, "", own)
    return Verb("raise", False, "the run has no limits; they are in `guardrails` of its file")


def _retry_from(run: Run, step: Step | None) -> Verb:
    if step is None:
        return Verb("retry_from", False, "select the step to start again from")
    return _verb("retry_from", start_of(run, step.path), step.path)
