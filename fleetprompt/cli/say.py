"""One line for each fact that is worth one: what a run says where no tree can be drawn, and the list of its facts."""

from __future__ import annotations

from typing import assert_never

from rich.text import Text

from fleetprompt.cli.render import marked, plain
from fleetprompt.cli.tree import Tree
from fleetprompt.client.reasons import skipped_because, step_reason
from fleetprompt.client.values import preview
from fleetprompt.client.wording import count, duration, money, short
from fleetprompt.engine.core import facts as f
from fleetprompt.engine.core.facts import AnyFact

NOT_WORTH_IT = (f.RunStarted, f.StepNoted, f.ApprovalVoted)


def news(tree: Tree, fact: AnyFact) -> Text | None:
    """What a fact that was just applied means to somebody who waits for the run; None where it means nothing."""
    if isinstance(fact, NOT_WORTH_IT) and getattr(fact, "kind", "") != "reconcile":
        return None
    if isinstance(fact, f.StepStarted) and fact.attempt == 1 and not fact.approval:
        step = tree.run.steps.get(fact.path)
        if step is None or step.program.node.kind in ("transform", "choose", "approval", "delay", "wait", "emit"):
            return None
    return summary(fact, tree)


def summary(fact: AnyFact, tree: Tree) -> Text:
    """A fact in a few words."""
    status, text = _status_and_text(fact, tree)
    path = getattr(fact, "path", "")
    line = marked(status)
    line.append(" ")
    if path:
        line.append_text(plain(path, "bold")).append("  " if text else "")
    return line.append_text(plain(text))


def _status_and_text(fact: AnyFact, tree: Tree) -> tuple[str, str]:
    step = tree.run.steps.get(getattr(fact, "path", ""))
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
            return fact.status, _finished(fact, tree)
        case f.StepStarted():
            return "running", "started" if fact.attempt == 1 else f"started, attempt {fact.attempt}"
        case f.StepNoted(kind="reconcile"):
            return "in_doubt", f"{preview(fact.value)}; {_answers(tree)}"
        case f.StepNoted():
            return "running", f"noted {fact.kind} {fact.key} {preview(fact.value, 80)}".strip()
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
            return "in_doubt", f"in doubt: {fact.reason}; {'its check will tell' if checked else _answers(tree)}"
        case f.StepResolved():
            return "completed", f"{fact.by} says: {_ANSWERS[fact.answer]}"
        case f.ApprovalRequested():
            return "waiting", f"waits for approval {fact.id}: {fact.message}"
        case f.ApprovalVoted():
            return fact.decision, f"{fact.by} has {fact.decision}{': ' + fact.comment if fact.comment else ''}"
        case f.ApprovalDecided():
            who = " by " + ", ".join(fact.by) if fact.by else f" ({fact.reason})" if fact.reason else ""
            return fact.decision, f"{fact.decision}{who}{': ' + fact.comment if fact.comment else ''}"
        case f.BudgetRaised():
            return "running", f"{fact.limit} of {fact.scope} raised by {fact.amount} by {fact.by}"
        case _:
            assert_never(fact)


_ANSWERS = {"happened": "it happened", "run": "it did not, run it", "skip": "skip it", "abort": "abort"}


def _answers(tree: Tree) -> str:
    """Where the answers to a step in doubt are."""
    return f"`fleet show {short(tree.id)}` has the answers"


def _trigger(fact: f.RunCreated) -> str:
    return str(fact.trigger.get("kind")) if isinstance(fact.trigger, dict) else "nobody"


def _finished(fact: f.RunFinished, tree: Tree) -> str:
    seconds = tree.seconds(fact.at)
    parts = [fact.status + (f" after {duration(seconds)}" if seconds is not None else "")]
    if tree.run.cost_nano:
        parts.append(money(tree.run.cost_nano))
    if fact.error is not None:
        parts.append(f"{fact.error.code}: {fact.error.message}")
    return ", ".join(parts)


def _took(step: object, at: float) -> str:
    started = getattr(step, "started_at", None)
    return f"completed in {duration(at - started)}" if started is not None else "completed"


def _again(fact: f.StepFailed) -> str:
    return f" (again in {duration(fact.retry_at - fact.at)})" if fact.retry_at is not None else ""


def _expanded(fact: f.StepExpanded) -> str:
    if fact.branches:
        return f"opens {', '.join(fact.branches)}"
    return count(fact.count, "iteration")
