"""What notes do to an effect that can be put aside: it goes on, spends, holds budget, has calls in flight."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.core.mode import joined
from fleetprompt.engine.core.outbox import agent_ended
from fleetprompt.engine.core.state import Run, Step, Todo, Work
from fleetprompt.engine.core.transition import count_active, start_performing, stop_waiting, take_up

BEGUN = "session"
"""Kind of the note with which an agent begins to work on a goal."""
FINISHED = "agent.completed"
GAVE_UP = "agent.failed"
HANDED_OVER = "handoff"
OWN = "/tool/"
"""Stands in the path of an agent that another one has delegated to."""
"""Kinds of the notes with which an agent's work on a goal ends."""
RESUMED = "resumed"
"""Kind of the note with which work that was put aside goes on."""
CHILD_FINISHED = "child.finished"
REQUESTED = "llm.started"
"""Kind of the note of a request to a model for an answer."""
ANSWERED = "llm.completed"
FAILED = "llm.failed"
REQUESTS = frozenset({REQUESTED, "image.started", "embedding.started"})
"""Kinds of the notes of requests to models, for whatever they are."""
REPLIES = frozenset({ANSWERED, FAILED, "image.completed", "image.failed", "embedding.completed", "embedding.failed"})
"""Kinds of the notes of what came of them."""
CALLED = "tool.started"
OWN_CALL = "workflow/tool/"
"""How the key of a call begins that is all that its step does, and not one of an agent."""
RESOLVED = "tool.resolved"
"""Kind of what stands among the notes where somebody has answered for a call in doubt."""
GRANTED = "grant"
SPARED = "budget.spare"
"""Kind of the note about what an agent keeps for its last request, by the agent's path: held, or given back."""
BROKEN_OFF = "tool.broken_off"
"""Kind of the note about a call that was in flight when the step ended; what became of it is not known."""
PROCESS = "process"
"""Kind of the note about a program that a step, or a call inside it, has started: what a later engine knows it by."""
KILLED = "process.killed"
"""Kind of the note about such a program that an engine which is gone had left running, and that was killed."""
RETURNED = frozenset({"tool.completed", "tool.failed", "tool.reconciled"})


def noted(run: Run, step: Step, work: Work, fact: StepNoted) -> None:
    """Fold a note of such a step."""
    if fact.kind == RESUMED:
        _resumed(run, step, work, fact.at)
        return
    if step.path in run.pending:
        count_active(work, fact.at)
    value = mapping(fact.value)
    reserve, settle = mapping(value.get("reserve")), mapping(value.get("settle"))
    if settle:
        run.outbox.settles.append(settle)
    if reserve:
        run.outbox.reserves.append(reserve)
    if (fact.kind in REQUESTS or fact.kind == CALLED) and reserve:
        work.held[fact.key] = value
    elif fact.kind in RETURNED or fact.kind in REPLIES or fact.kind == BROKEN_OFF:
        work.held.pop(fact.key, None)
    if fact.kind == SPARED:
        work.spares.pop(fact.key, None)
        if reserve:
            work.spares[fact.key] = value
    if fact.kind == BEGUN:
        agent = str(value.get("agent_id", ""))
        run.agents.setdefault(agent)
        if step.agents is None:
            step.agents = {}
        step.agents[fact.key] = agent
    elif fact.kind in (FINISHED, HANDED_OVER):
        agent_ended(run, step, fact.key, "completed", fact.at)
    elif fact.kind == GAVE_UP and OWN in fact.key:
        # Who has delegated to it goes on. Of one that has the whole task a further attempt may follow.
        agent_ended(run, step, fact.key, "failed", fact.at)
    elif fact.kind in REQUESTS:
        run.models.setdefault(str(value.get("model", "")))
        run.mode = joined(run.mode, str(value.get("mode") or ""))
    elif fact.kind == CALLED:
        run.tools.setdefault(str(value.get("tool", "")))
        if value.get("repeat") == "never":
            work.risky.add(fact.key)
    elif fact.kind in RETURNED:
        run.vars.update({name: new for name, new in mapping(value.get("vars")).items() if name in run.vars})
        _returned(run, step, work, fact.key)
    elif fact.kind == GRANTED:
        run.grants.append(value)
    elif fact.kind == CHILD_FINISHED:
        work.call = ""
        take_up(run, step)


def started_by(step: Step, call: str) -> Any:
    """What was noted when a call of this attempt began: a value, or the `Blob` that holds it; None for none."""
    found = [value for kind, key, value, n in step.notes or () if (kind, key, n) == (CALLED, call, step.attempt)]
    return found[-1] if found else None


def doubted_call(step: Step) -> dict[str, Any]:
    """What was noted when the call began of which nobody knows whether it happened: `tool`, `arguments`. Empty: it is
    the step itself, or what was noted is kept elsewhere."""
    call = step.work.doubt if step.work is not None and step.status == "in_doubt" else ""
    return mapping(started_by(step, call)) if call else {}


def _resumed(run: Run, step: Step, work: Work, at: float) -> None:
    """Also after a crash, when nothing was put aside: the time until now was nobody's."""
    work.since = at
    if not work.aside:
        return
    work.aside = False
    stop_waiting(run, step)
    run.agenda.pop(step, None)
    run.last = step
    step.status = "running"
    if step.role == "step":
        step.scope.active[step] = None
    start_performing(run, step, at)


def _returned(run: Run, step: Step, work: Work, key: str) -> None:
    if key not in work.risky:
        return
    work.risky.discard(key)
    if step.scope.closing and step.role == "step" and not step.unrepeatable and step.path in run.pending:
        # It was given its grace to end what must not be repeated; it has.
        step.wake = None
        run.agenda[step] = Todo.CANCEL
