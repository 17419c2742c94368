"""What an outcome means: success with its checks, another attempt, or the end of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetprompt.engine.core.duration import format_duration
from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.core.evolve_work import KILLED, PROCESS, RESOLVED
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.facts import (
    AnyFact,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSucceeded,
    StepWaiting,
    told,
)
from fleetprompt.engine.core.keys import spread
from fleetprompt.engine.core.names import names, seen
from fleetprompt.engine.core.plan import Retry
from fleetprompt.engine.core.program import Compiled
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.working import call_in_doubt, forfeited, interrupted, killed_told

UNREADABLE = "match"
"""Kind of the note about a signal for which the `match` of a `wait` could not be evaluated."""
NOT_IN_TIME = "it did not finish in time"
"""Why a child run is told to end when the `timeout` of its step has passed."""
MAX_RECONCILED_RUNS = 5
"""How often a reconcile check may order the work to be done again before a person is asked."""


def invalid(step: Step, field: str, error: Exception) -> Failure:
    """The failure of an expression or of a computed value; `field` is what the error's own `where` is relative to."""
    known = isinstance(error, FleetError)
    place = field + (error.where if known else "")
    message = f"`{place.strip('/').replace('/', '.')}`: {error}" if place else str(error)
    return Failure("VALIDATION_ERROR", message, hint=error.hint if known else "", path=step.path, retryable=False)


def holds(run: Run, step: Step, compiled: Compiled, extra: dict[str, Any] | None = None) -> bool:
    """Whether a condition holds for a step. Raises `ExpressionError`, `NeedsValue`."""
    assert compiled.condition is not None
    return compiled.condition.evaluate(names(run, step.scope, compiled, extra))


def rendered(run: Run, step: Step, compiled: Compiled, extra: dict[str, Any] | None = None) -> Any:
    """A rendered value without secrets. Raises `ExpressionError`, `NeedsValue`."""
    assert compiled.value is not None
    return compiled.value.render(names(run, step.scope, compiled, extra)).value


def succeeded(
    run: Run,
    step: Step,
    at: float,
    output: Any,
    *,
    port: str = "",
    usage: dict[str, int] | None = None,
    attempt: int | None = None,
    retry_after: float | None = None,
) -> list[AnyFact]:
    """The facts of a step whose work is done: its `poll`, `assert` and `set` are looked at first."""
    node = step.program.node
    attempt = step.attempt if attempt is None else attempt
    values: dict[str, Any] = {}
    if node.asserts or node.poll is not None or node.set:
        extra = {"result": seen(run, output)}
        field = "poll.until"
        try:
            # First what is waited for: what is asserted may be true of the last result only.
            if node.poll is not None and not holds(run, step, step.program.condition(node.poll.until), extra):
                every = max(node.poll.every, retry_after or 0.0)
                return _poll_again(run, step, at, every, node.poll.timeout, attempt)
            field = "assert"
            for test in node.asserts:
                if not holds(run, step, step.program.condition(test), extra):
                    text = test if isinstance(test, str) else msgspec.json.encode(test).decode()
                    error = Failure("TOOL_ERROR", f"assertion does not hold: {text}", path=step.path)
                    return failed(run, step, at, error, retry_after=retry_after, usage=usage, attempt=attempt)
            field = "set"
            values = variables(run, step, output)
        except ExpressionError as error:
            return failed(run, step, at, invalid(step, field, error), usage=usage, attempt=attempt)
    return [
        *forfeited(step, at, "the step ended"),
        StepSucceeded(
            at=at,
            path=step.path,
            attempt=attempt,
            **told(output),
            port=port,
            vars=values,
            usage=usage or {},
        ),
    ]


def variables(run: Run, step: Step, output: Any) -> dict[str, Any]:
    """What a step sets when it completes with this output. Raises `ExpressionError`, `NeedsValue`."""
    extra = {"result": seen(run, output)}
    program = step.program
    return {name: rendered(run, step, program.expression(source), extra) for name, source in program.node.set.items()}


def _poll_again(run: Run, step: Step, at: float, every: float, timeout: float | None, attempt: int) -> list[AnyFact]:
    started = step.started_at if step.started_at is not None else at
    if step.scope.closing and step.role == "step":
        return [StepCancelled(at=at, path=step.path, reason=step.scope.closing)]
    if _still_runs(step):
        error = Failure("TOOL_ERROR", "the condition does not hold, and branches still run", path=step.path)
        return failed(run, step, at, error, attempt=attempt)
    if timeout is not None and at + every > started + timeout:
        message = (
            f"the condition did not hold after {format_duration(at - started)}; "
            f"another try would begin after {format_duration(timeout)}, the limit"
        )
        error = Failure("TIMEOUT", message, path=step.path, retryable=False)
        return failed(run, step, at, error, attempt=attempt)
    return [StepWaiting(at=at, path=step.path, on="timer", until=at + every)]


def failed(
    run: Run,
    step: Step,
    at: float,
    error: Failure,
    *,
    retry_after: float | None = None,
    port: str = "",
    usage: dict[str, int] | None = None,
    attempt: int | None = None,
) -> list[AnyFact]:
    """The fact of a failed attempt: with the time of the next one, or final."""
    if not error.path:
        error = msgspec.structs.replace(error, path=step.path)
    if error.retryable and step.inner is not None and step.inner.unknown:
        # Another attempt would do again what nobody knows to be undone.
        hint = f"not tried again: {step.inner.unknown} was interrupted and may have taken effect"
        error = msgspec.structs.replace(error, hint=hint, retryable=False)
    return [
        *forfeited(step, at, "the step failed"),
        StepFailed(
            at=at,
            path=step.path,
            attempt=step.attempt if attempt is None else attempt,
            error=error,
            retry_at=_retry_at(run, step, at, error, retry_after, attempt),
            port=port,
            usage=usage or {},
        ),
    ]


def _still_runs(step: Step) -> bool:
    """A composite that has enough has branches which go on: another attempt beside them would mix up what is theirs."""
    return step.inner is not None and bool(step.inner.open)


def _retry_at(
    run: Run, step: Step, at: float, error: Failure, retry_after: float | None, attempt: int | None
) -> float | None:
    retry = step.program.node.retry
    # An attempt that starts and ends in one decision is not counted yet.
    tries = step.tries + (attempt is not None and attempt > step.attempt)
    if not error.retryable or tries >= retry.max_attempts or _still_runs(step):
        return None
    if step.scope.closing and step.role == "step":
        return None
    if retry.on and error.code not in retry.on:
        return None
    return at + max(backoff(run, step, retry, tries), retry_after or 0.0)


def backoff(run: Run, step: Step, retry: Retry, tries: int) -> float:
    """Seconds until the next attempt: exponential, capped, spread by a hash so that replays agree."""
    exponent = min(max(tries - 1, 0), 64)
    delay = min(retry.backoff * retry.factor**exponent, retry.max_backoff)
    return max(0.0, delay * (1.0 + retry.jitter * spread(run, step.path, step.attempt)))


def unknown(run: Run, step: Step, at: float, reason: str, code: str = "INTERNAL") -> list[AnyFact]:
    """The facts when nobody can tell whether the work was done: `safe` is tried again, `never` is in doubt."""
    if step.work is not None and step.work.risky:
        call = next(iter(step.work.risky))
        return [*forfeited(step, at, reason), call_in_doubt(step, call, at, reason)]
    if step.program.node.repeat == "never" and step.work is None:
        return [StepInDoubt(at=at, path=step.path, attempt=step.attempt, reason=reason)]
    return failed(run, step, at, Failure("TIMEOUT" if code == "TIMEOUT" else "INTERNAL", reason, path=step.path))


def recovered(run: Run, at: float, reason: str, killed: Sequence[tuple[str, str, Any]] = ()) -> list[AnyFact]:
    """The facts after a crash: what was in flight and must not be repeated is in doubt; the rest is performed again,
    or goes on. `killed`: programs that were left running, by the path of their step and the key of their call."""
    return [
        *_killed(run, at, killed),
        *interrupted(run, at),
        *_doubtful(run, at, reason, killed),
    ]


def _killed(run: Run, at: float, killed: Sequence[tuple[str, str, Any]]) -> list[AnyFact]:
    return [
        StepNoted(at=max(at, run.at), path=path, kind=KILLED, key=key, value=who, attempt=run.pending[path].attempt)
        for path, key, who in killed
        if path in run.pending
    ]


def _doubtful(run: Run, at: float, reason: str, killed: Sequence[tuple[str, str, Any]]) -> list[AnyFact]:
    left = {path: who for path, _, who in killed}
    return [
        StepInDoubt(
            at=max(at, run.at), path=step.path, attempt=step.attempt, reason=reason + killed_told(left.get(step.path))
        )
        for step in run.pending.values()
        if step.status == "running" and step.program.node.repeat == "never" and not _knows(step)
    ]


def _knows(step: Step) -> bool:
    """Its notes tell what it has done: it goes on, and says itself what nobody knows."""
    return step.work is not None or _never_began(step)


def _never_began(step: Step) -> bool:
    notes = step.notes or ()
    return step.program.node.gated and not any(kind == PROCESS and n == step.attempt for kind, _, _, n in notes)


def reconciled(run: Run, step: Step, at: float, result: Any, error: Failure | None) -> list[AnyFact]:
    """What a reconcile check found: it happened, it did not, or it cannot tell and a person must."""
    spec = step.program.node.reconcile
    assert spec is not None
    extra = {"result": result, "error": msgspec.to_builtins(error) if error else None}
    try:
        if holds(run, step, step.program.condition(spec.happened), extra):
            output = rendered(run, step, step.program.value(spec.output), extra) if spec.output is not None else result
            values = variables(run, step, output)
            return [StepResolved(at=at, path=step.path, answer="happened", output=output, by="reconcile", vars=values)]
    except ExpressionError as problem:
        if error is None:
            return [_unreconciled(step, at, f"the reconcile check could not be read: {problem}")]
    if error is not None:
        return [_unreconciled(step, at, f"the reconcile check failed: {error.message}")]
    attempts = step.attempt + sum(kind == RESOLVED and n == step.attempt for kind, _, _, n in step.notes or ())
    if attempts >= MAX_RECONCILED_RUNS:
        return [_unreconciled(step, at, f"still undone after {attempts} attempts")]
    return [StepResolved(at=at, path=step.path, answer="run", by="reconcile")]


def _unreconciled(step: Step, at: float, reason: str) -> StepNoted:
    return StepNoted(at=at, path=step.path, kind="reconcile", value=reason, attempt=step.attempt)
