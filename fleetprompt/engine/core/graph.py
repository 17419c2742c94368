"""The bookkeeping of the graph: what a settled step makes decidable, what a finished scope means to its composite.

Structure only. Ports, joins, barriers and dead paths follow from the plan; whether to start, retry or end is decided
in `advance.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.program import BlockProgram
from fleetprompt.engine.core.state import Inner, Meter, Run, Scope, Step, Todo, Wake
from fleetprompt.engine.core.timers import set_timer


def met(step: Step, port: str) -> bool:
    """Whether a settled step meets a need on it, or on one of its ports."""
    status = step.status
    if not port:
        if status == "completed":
            return True
        if status == "skipped":
            return step.reason != "dead"
        return status in ("failed", "timeout") and step.program.node.on_error == "continue"
    match port:
        case "completed":
            return status == "completed"
        case "failed":
            return status in ("failed", "timeout") and "rejected" not in step.port
        case "timeout":
            return status == "timeout" or "timeout" in step.port.split()
        case "skipped":
            return status == "skipped" and step.reason != "dead"
        case _:
            return port in step.port.split()


def handled(step: Step) -> bool:
    """Whether somebody takes care of this step's failure."""
    node = step.program
    return node.node.on_error == "continue" or any(met(step, port) for port in node.handled)


def open_scope(
    run: Run,
    owner: Step | None,
    block: BlockProgram,
    meters: tuple[Meter, ...],
    *,
    name: str = "",
    index: int = -1,
    item: Any = None,
) -> Scope:
    """Open a block under a composite: its steps exist from now on, the first ones become decidable."""
    prefix = ""
    if owner is not None:
        attempt = f"#{owner.attempt}" if owner.attempt > 1 else ""
        prefix = f"{owner.path}{attempt}[{index}]." if index >= 0 else f"{owner.path}{attempt}."
    scope = Scope(block, prefix, owner, meters, name=name, index=index, item=item)
    if owner is not None and owner.inner is not None:
        owner.inner.open[name if index < 0 else index] = scope
    for step in scope.steps:
        run.steps[step.path] = step
        needs = step.program.node.needs
        if needs is not None and not needs:
            run.agenda[step] = Todo.START
    _move_barrier(run, scope)
    scope_moved(run, scope)
    return scope


def settle(run: Run, step: Step) -> None:
    """A step has reached its final status: tell its neighbours and its scope."""
    scope = step.scope
    if step.inner is None or not step.inner.open:
        scope.active.pop(step, None)
    scope.unsettled -= 1
    if not scope.closing:
        if step.status in ("failed", "timeout") and (run.abort or not handled(step)):
            scope.failure = step.error or Failure("INTERNAL", "failed", path=step.path)
            close_scope(run, scope, "failed")
            return
        for index, position in step.program.dependents:
            _tell(run, scope, index, met(step, _port(scope, index, position)))
        _move_barrier(run, scope)
    scope_moved(run, scope)


def _port(scope: Scope, index: int, position: int) -> str:
    needs = scope.block.nodes[index].node.needs
    assert needs is not None
    return needs[position].port


def _tell(run: Run, scope: Scope, index: int, is_met: bool) -> None:
    target = scope.steps[index]
    if is_met:
        scope.met[index] += 1
    else:
        scope.lost[index] += 1
    if target.status != "pending" or target in run.agenda:
        return
    node = target.program.node
    total = len(node.needs or ())
    wanted = node.join or total
    if scope.met[index] >= wanted:
        run.agenda[target] = Todo.START
    elif total - scope.lost[index] < wanted:
        run.agenda[target] = Todo.DEAD


def _move_barrier(run: Run, scope: Scope) -> None:
    steps = scope.steps
    while scope.settled < len(steps) and steps[scope.settled].settled:
        step = steps[scope.settled]
        if not (step.status == "skipped" and step.reason == "dead"):
            scope.live = True
        scope.settled += 1
    if scope.settled < len(steps):
        step = steps[scope.settled]
        if step.program.barrier and step.status == "pending" and step not in run.agenda:
            run.agenda[step] = Todo.START if scope.live or scope.settled == 0 else Todo.DEAD


# ---------------------------------------------------------------- closing


def close_scope(run: Run, scope: Scope, reason: str) -> None:
    """Nothing new starts in a scope from here on; what is in flight is cancelled or given its grace."""
    if scope.done or scope.closing:
        return
    scope.closing = reason
    for step in scope.steps:
        if step.status == "pending":
            run.agenda.pop(step, None)
    for step in list(scope.active):
        _stop(run, step, reason)
    scope_moved(run, scope)


def _stop(run: Run, step: Step, reason: str) -> None:
    inner = step.inner
    if inner is not None:
        if not step.settled:
            inner.closing = inner.closing or reason
            run.agenda.pop(step, None)
            if not inner.open:
                run.agenda[step] = Todo.CANCEL
        for scope in list(inner.open.values()):
            close_scope(run, scope, reason)
    elif step.status == "running" and step.path in run.pending and step.unrepeatable:
        set_timer(run, run.at + run.program.plan.grace, Wake.GRACE, step)
    elif not step.called_off:
        step.wake = None
        run.agenda[step] = Todo.CANCEL


# ---------------------------------------------------------------- the end of a scope


def scope_moved(run: Run, scope: Scope) -> None:
    """Finish a scope once nothing in it is open."""
    if scope.done or scope.active or not (scope.closing or scope.unsettled == 0):
        return
    scope.done = True
    owner = scope.owner
    if owner is None:
        run.finish = True
        return
    inner = owner.inner
    if inner is None:
        return
    _collect(scope, inner)
    if owner.settled:
        if not inner.open:
            owner.scope.active.pop(owner, None)
            scope_moved(run, owner.scope)
        return
    if inner.closing:
        _inner_done(run, owner, inner)
        return
    match owner.program.node.kind:
        case "parallel":
            _branch_done(run, owner, inner)
        case "loop":
            _item_done(run, owner, inner)
        case _:
            inner.error = scope.failure
            _inner_done(run, owner, inner)


def _collect(scope: Scope, inner: Inner) -> None:
    key: Any = scope.name if scope.index < 0 else scope.index
    inner.open.pop(key, None)
    inner.done += 1
    result: Any = None
    if scope.failure is not None:
        inner.failed += 1
        result = {"error": {"code": scope.failure.code, "message": scope.failure.message, "path": scope.failure.path}}
        if inner.error is None and not inner.closing:
            inner.error = scope.failure
    elif not scope.closing:
        inner.ok += 1
        result = last_output(scope)
    inner.results[key] = result
    inner.previous = result


def last_output(scope: Scope) -> Any:
    """Output of the last listed completed step: a value, or the `Blob` that holds it."""
    for step in reversed(scope.steps):
        if step.status == "completed":
            return step.blob or step.output
    return None


def _inner_done(run: Run, owner: Step, inner: Inner) -> None:
    if not inner.open:
        run.agenda[owner] = Todo.CANCEL if owner.scope.closing else Todo.CONCLUDE


def _close_rest(run: Run, owner: Step, inner: Inner, reason: str) -> None:
    inner.closing = reason
    for scope in list(inner.open.values()):
        close_scope(run, scope, reason)
    _inner_done(run, owner, inner)


def _branch_done(run: Run, owner: Step, inner: Inner) -> None:
    node = owner.program.node
    wanted = node.until or inner.total
    if inner.ok >= wanted:
        inner.error = None
        if node.cancel_rest:
            _close_rest(run, owner, inner, "enough")
        else:
            run.agenda[owner] = Todo.CONCLUDE
    elif inner.total - inner.failed < wanted:
        _close_rest(run, owner, inner, "failed")


def _item_done(run: Run, owner: Step, inner: Inner) -> None:
    loop = owner.program.node.loop
    assert loop is not None
    if inner.error is not None and loop.on_item_error == "fail":
        _close_rest(run, owner, inner, "failed")
        return
    inner.error = None
    if loop.test is not None:
        if not inner.open:
            run.agenda[owner] = Todo.NEXT
    elif inner.opened < inner.total:
        open_items(run, owner)
    else:
        _inner_done(run, owner, inner)


def open_items(run: Run, step: Step) -> None:
    """Open as many iterations as the loop's concurrency allows."""
    loop = step.program.node.loop
    inner = step.inner
    assert loop is not None
    assert inner is not None
    while inner.opened < inner.total and len(inner.open) < loop.concurrency:
        _open_next(run, step, inner)


def _open_next(run: Run, step: Step, inner: Inner) -> None:
    meters = step.scope.meters + ((inner.meter,) if inner.meter else ())
    block = next(iter(step.program.blocks.values()))
    index = inner.opened
    inner.opened += 1
    # The scope outlives `inner`, which a new attempt replaces, and its compensations still need the item.
    item: Any = cast("list[Any]", inner.items)[index] if isinstance(inner.items, list) else inner.items
    open_scope(run, step, block, meters, index=index, item=item)


def open_item(run: Run, path: str) -> Step | None:
    """The step at a path in an iteration that is not open yet, though a fact says that it was.

    So it is in a fork: an earlier iteration is done again and has not ended in the copy, but later ones began.
    """
    place, _, index = path.rpartition(".")[0].removesuffix("]").rpartition("[")
    owner, _, attempt = place.rpartition("#")
    step = run.steps.get(owner) if attempt.isdigit() else run.steps.get(place)
    inner = step.inner if step is not None else None
    if step is None or inner is None or step.program.node.loop is None or not index.isdigit():
        return None
    if step.attempt != (int(attempt) if attempt.isdigit() else 1) or int(index) >= inner.total or inner.closing:
        return None
    while inner.opened <= int(index):
        _open_next(run, step, inner)
    return run.steps.get(path)


def open_steps(run: Run) -> Iterator[Step]:
    """Steps that have started and not settled, wherever they are. What is done is not looked at."""
    scopes = [run.root] if run.root is not None else []
    for scope in scopes:
        for step in scope.active:
            if step.inner is not None:
                scopes += step.inner.open.values()
            if not step.settled:
                yield step
