"""Why a step or a run is as it is, in a few words. PURE."""

from __future__ import annotations

from fleetprompt.client.wording import count, duration, rough
from fleetprompt.engine.core.facts import Slot, WaitingOn
from fleetprompt.engine.core.state import Run, Scope, Step, Wake
from fleetprompt.engine.ports import RunHead


def step_reason(step: Step, now: float) -> str:
    """What there is to say about a step besides its status and its duration."""
    match step.status:
        case "waiting":
            return _waiting(step, now)
        case "in_doubt":
            return f"in doubt: {step.reason}"
        case "failed" | "timeout":
            return _failure(step)
        case "skipped":
            return skipped_because(step.reason)
        case "cancelled":
            return f"{step.reason}, it may have taken effect" if step.error is not None else step.reason
        case "running" | "completed":
            return ", ".join(part for part in (_loop(step), _attempts(step), _branch(step)) if part)
        case _:
            return ""


def skipped_because(reason: str) -> str:
    """Why a step was skipped, in words."""
    return _SKIPPED.get(reason, reason)


_SKIPPED = {
    "if": "its condition is false",
    "dead": "not needed",
    "conflict": "someone else does it",
    "operator": "skipped by an operator",
}


def _attempts(step: Step) -> str:
    most = step.program.node.retry.max_attempts
    if step.tries <= 1:
        return ""
    return f"attempt {step.tries}/{most}" if most > 1 else f"attempt {step.tries}"


def _loop(step: Step) -> str:
    inner = step.inner
    if inner is None or step.program.node.loop is None or not inner.opened:
        return ""
    total = inner.total if step.program.node.loop.test is None else inner.opened
    parts = [f"×{total:,}"]
    if inner.ok:
        parts.append(f"ok {inner.ok:,}")
    if inner.open:
        parts.append(f"run {len(inner.open):,}")
    if inner.failed:
        parts.append(f"fail {inner.failed:,}")
    return " ".join(parts)


def _branch(step: Step) -> str:
    node = step.program.node
    if node.kind == "choose" and step.inner is not None and step.inner.taken:
        return step.inner.taken
    if node.kind == "approval" and step.port:
        return step.port
    return ""


def _failure(step: Step) -> str:
    error = step.error
    if error is None:
        return ""
    tried = f" (attempt {step.tries})" if step.tries > 1 else ""
    first = error.message.strip().splitlines()
    return f"{error.code}: {first[0] if first else ''}{tried}"


def _waiting(step: Step, now: float) -> str:
    until = f", {rough(step.until - now)} left" if step.until is not None and step.until > now else ""
    match step.on:
        case "approval":
            who = ", ".join(step.gate.approvers) if step.gate is not None and step.gate.approvers else ""
            several = len(step.open_gates)
            what = f"{several} approvals" if several > 1 else "approval"
            return f"waits for {what}{' by ' + who if who else ''}{_votes(step)}{until}"
        case "timer":
            return _timer(step, now)
        case "signal":
            return f"waits for signal {step.ref}{until}"
        case "child":
            return f"waits for run {step.ref[-8:]}{until}"
        case "slot":
            return f"waits for a place in {step.ref}" if step.ref else "waits for a place"
        case "budget":
            return "waits for budget"
        case "paused":
            return "paused"
        case _:
            return ""


def _votes(step: Step) -> str:
    gate = step.gate
    if gate is None or gate.quorum <= 1:
        return ""
    return f", {len(gate.votes)} of {gate.quorum} so far"


def _timer(step: Step, now: float) -> str:
    left = duration(max(0.0, (step.until if step.until is not None else now) - now))
    if step.why is Wake.RETRY:
        most = step.program.node.retry.max_attempts
        failed = step.error.message.strip().splitlines()[:1] if step.error is not None else []
        return f"attempt {step.tries + 1}/{most} in {left}{': ' + failed[0] if failed else ''}"
    if step.why is Wake.POLL:
        return f"looks again in {left}"
    return f"goes on in {left}"


def run_reason(run: Run, halted: str = "") -> str:
    """What a run that is not over waits for. `halted`: why nothing new starts in it, see `client/halted.py`."""
    if run.ended:
        return ""
    if run.paused:
        return "paused"
    if run.verdict is not None:
        return f"ending: {run.ending}"
    if halted and run.waiting_on in (None, "slot"):
        return f"starts nothing: {halted}" if run.status == "running" else f"waits: {halted}"
    match run.waiting_on:
        case None:
            return _place(run) if run.wants_slot else ""
        case "approval":
            open_ = sum(len(step.open_gates) for step in run.steps.values() if step.on == "approval")
            return f"waits for {count(open_, 'approval')}"
        case "in_doubt":
            return f"{count(run.waiting['in_doubt'], 'step')} in doubt"
        case "timer":
            return "waits for a time" if run.waiting["timer"] else ""
        case "child":
            return f"waits for {count(run.waiting['child'], 'run')}"
        case "signal":
            return "waits for a signal"
        case "slot":
            return _place(run)
        case "budget":
            return "waits for budget"
        case on:
            return on


def head_reason(head: RunHead, halted: str = "") -> str:
    """The same as far as lists know it; `fleet show` and `run_reason` name the places, and count what is waited for."""
    if head.finished_at is not None:
        return ""
    if halted and head.waiting_on in (None, "slot"):
        return f"starts nothing: {halted}" if head.status == "running" else f"waits: {halted}"
    if head.status == "pending":
        return "waits for a place"
    return _WAITS[head.waiting_on] if head.status == "waiting" and head.waiting_on is not None else ""


_WAITS: dict[WaitingOn, str] = {
    "approval": "waits for approval",
    "in_doubt": "a step is in doubt",
    "timer": "waits for a time",
    "child": "waits for a run",
    "signal": "waits for a signal",
    "slot": "waits for a place",
    "budget": "waits for budget",
    "paused": "paused",
}


def _place(run: Run) -> str:
    """What a run has to get a place in, and how many there are."""
    slots = run.created.slots if run.created is not None and run.wants_slot else ()
    return f"waits for a place{' in ' if slots else ''}{' and '.join(map(_limit, slots))}"


def _limit(slot: Slot) -> str:
    kind, _, name = slot.scope.partition(":")
    match kind:
        case "group":
            return f"group {name} (at most {slot.limit})"
        case "workflow" | "schedule":
            return f"{kind} {name} (at most {count(slot.limit, 'run')})"
        case "runs":
            return f"the fleet (at most {count(slot.limit, 'run')})"
        case _:
            return f"{slot.scope} (at most {slot.limit})"


def run_status(run: Run) -> str:
    """The run's status; between two facts that belong together it goes on, though nothing is started."""
    if run.status == "waiting" and not (run.paused or run.agenda or run.wants_slot or any(run.waiting.values())):
        return "running"
    return run.status


def run_seconds(run: Run, now: float) -> float | None:
    """How long the run took, or has taken; None before it starts."""
    if run.started_at is None:
        return None
    return max(0.0, (run.finished_at if run.finished_at is not None else now) - run.started_at)


def scope_status(scope: Scope) -> str:
    """The status of a branch or an iteration: what its steps make of it."""
    if scope.failure is not None:
        return "failed"
    statuses = {step.status for step in scope.steps}
    for status in ("running", "in_doubt", "waiting"):
        if status in statuses:
            return status
    if scope.done:
        return "cancelled" if "cancelled" in statuses else "completed"
    return "pending" if statuses == {"pending"} else "running"
