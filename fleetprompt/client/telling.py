"""What a fact means, in a few words: the same in a list of facts, in a log and on a screen. PURE."""

from __future__ import annotations

from typing import assert_never

from fleetprompt.client.reasons import run_seconds, skipped_because, step_reason
from fleetprompt.client.values import preview
from fleetprompt.client.wording import count, decided_by, duration, mode_label, money, perhaps, short
from fleetprompt.engine.core import facts as f
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.state import Run, Step

NOTE = 80
"""Characters of a note's value that are told."""


def told_fact(fact: AnyFact, run: Run) -> tuple[str, str]:
    """The status that a fact speaks of, and what it says; `run` has just been moved by it.

    The text comes from outside and is not inert.
    """
    step = run.steps.get(getattr(fact, "path", ""))
    match fact:
        case f.RunCreated():
            return "pending", f"{fact.workflow} {short(fact.run)} created by {fact.owner or _trigger(fact)}"
        case f.RunStarted():
            return "running", "started"
        case f.RunForked():
            again = f", again: {', '.join(fact.steps[:8])}" if fact.steps else ""
            return "running", f"retry of {short(fact.run)}{again}"
        case f.RunPaused():
            return "paused", f"paused by {fact.by}{': ' + fact.reason if fact.reason else ''}"
        case f.RunResumed():
            return "running", f"resumed by {fact.by}"
        case f.RunCancelRequested():
            return "cancelled", f"ending: {fact.reason}"
        case f.RunFinished():
            return fact.status, _finished(fact, run)
        case f.StepStarted():
            return "running", "started" if fact.attempt == 1 else f"started, attempt {fact.attempt}"
        case f.StepNoted(kind="reconcile"):
            return "in_doubt", f"{preview(fact.value)}; {_answers(run)}"
        case f.StepNoted():
            return "running", f"noted {fact.kind} {fact.key} {preview(fact.value, NOTE)}".strip()
        case f.StepWaiting():
            return "waiting", step_reason(step, fact.at) if step is not None else f"waits for {fact.on}"
        case f.StepSucceeded():
            return "completed", _took(step, fact.at) + (f", {fact.port}" if fact.port else "")
        case f.StepFailed():
            return "failed", f"{fact.error.code}: {fact.error.message}{_again(fact)}"
        case f.StepSkipped():
            return "skipped", f"skipped: {skipped_because(fact.reason)}"
        case f.StepCancelled():
            return "cancelled", f"cancelled{': ' + fact.reason if fact.reason else ''}"
        case f.StepExpanded():
            return "running", _expanded(fact)
        case f.StepInDoubt():
            checked = step is not None and step.program.node.reconcile is not None
            return "in_doubt", f"in doubt: {fact.reason}; {'its check will tell' if checked else _answers(run)}"
        case f.StepResolved():
            return "completed", f"{fact.by} says: {_ANSWERS[fact.answer]}"
        case f.ApprovalRequested():
            on = f"handed on to {', '.join(fact.approvers) or 'others'}, " if fact.level else ""
            return "waiting", f"{on}waits for approval {fact.id}: {fact.message}"
        case f.ApprovalVoted():
            return fact.decision, f"{fact.by} has {fact.decision}{': ' + fact.comment if fact.comment else ''}"
        case f.ApprovalDecided():
            who = decided_by(fact.by, fact.reason)
            return fact.decision, f"{fact.decision}{who}{': ' + fact.comment if fact.comment else ''}"
        case f.BudgetRaised():
            return "running", _raised(fact)
        case _:
            assert_never(fact)


def _raised(fact: f.BudgetRaised) -> str:
    more = money(fact.amount) if fact.limit == "cost_nano" else f"{fact.amount:,} {fact.limit.replace('_', ' ')}"
    kind, _, of = fact.scope.partition("/")
    whose = "the run" if kind == "run" else f"{kind} {of.partition('/')[2]}"
    return f"{fact.by} lets {whose} spend {more} more{': ' + fact.reason if fact.reason else ''}"


_ANSWERS = {"happened": "it happened", "run": "it did not, run it", "skip": "skip it", "abort": "abort"}


def _answers(run: Run) -> str:
    """Where the answers to a step in doubt are."""
    return f"`fleet show {short(run.id)}` has the answers"


def _trigger(fact: f.RunCreated) -> str:
    return str(mapping(fact.trigger).get("kind") or "nobody")


def _finished(fact: f.RunFinished, run: Run) -> str:
    seconds = run_seconds(run, fact.at)
    parts = [fact.status + (f" after {duration(seconds)}" if seconds is not None else "")]
    if run.cost_nano or run.uncertain_nano:
        parts.append(money(run.cost_nano) + perhaps(run.uncertain_nano))
    if label := mode_label(run.mode):
        parts.append(label)
    if fact.error is not None:
        parts.append(f"{fact.error.code}: {fact.error.message}")
    return ", ".join(parts)


def _took(step: Step | None, at: float) -> str:
    if step is None or step.started_at is None:
        return "completed"
    return f"completed in {duration(at - step.started_at)}"


def _again(fact: f.StepFailed) -> str:
    return f" (again in {duration(fact.retry_at - fact.at)})" if fact.retry_at is not None else ""


def _expanded(fact: f.StepExpanded) -> str:
    if fact.branches:
        return f"opens {', '.join(fact.branches)}"
    return count(fact.count, "iteration")
