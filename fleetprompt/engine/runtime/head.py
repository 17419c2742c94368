"""The projection of a run: a row made from its state, written beside its facts."""

from __future__ import annotations

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import RunHead

MAX_MESSAGE = 2_000


def head_of(run: Run, host: str, now: float) -> RunHead:
    """What lists show of a run, and what wakes it."""
    created = run.created
    assert created is not None
    error = run.error
    if error is None and not run.ended and run.root is not None and run.root.failure is not None:
        error = run.root.failure
    last = run.last
    return RunHead(
        id=created.run,
        tenant=created.tenant,
        workflow=created.workflow,
        plan=created.plan,
        status=run.status,
        n=run.n,
        created_at=created.at,
        updated_at=max(run.at, now),
        waiting_on=run.waiting_on,
        started_at=run.started_at,
        finished_at=run.finished_at,
        wake_at=None if run.ended else run.wake_at,
        step=last.path if last is not None else "",
        steps_done=run.steps_done,
        attempt=1,
        error_code=error.code if error else "",
        error_message=error.message[:MAX_MESSAGE] if error else "",
        error_step=error.path if error else "",
        cost_nano=run.cost_nano,
        tokens=run.tokens,
        root=created.root,
        parent=created.parent,
        parent_path=created.parent_path,
        retry_of=created.retry_of,
        correlation=created.correlation,
        owner=created.owner,
        project=created.project,
        session=created.session,
        trigger=str(mapping(created.trigger).get("kind", "")),
        host=host,
        priority=created.priority,
        labels=created.labels,
    )
