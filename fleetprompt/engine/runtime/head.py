"""The projection of a run: a row made from its state, written beside its facts."""

from __future__ import annotations

from msgspec.structs import replace

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import RunHead

MAX_MESSAGE = 2_000
_NO_ERROR = {"error_code": "", "error_message": "", "error_step": ""}


def head_of(run: Run, host: str, now: float, before: RunHead | None = None) -> RunHead:
    """What lists show of a run, and what wakes it. `before` is its head after fewer facts, on the same host."""
    spot = run.spot
    head = before or _origin(run, host)
    return replace(
        head,
        status=run.status,
        n=run.n,
        updated_at=max(run.at, now),
        # A paused run whose steps still go on is active, and its row tells both.
        waiting_on="paused" if run.paused and not run.ended else run.waiting_on,
        started_at=run.started_at,
        finished_at=run.finished_at,
        wake_at=None if run.ended else run.wake_at,
        step=spot.path if spot is not None else "",
        steps_done=run.steps_done,
        cost_nano=run.cost_nano,
        tokens=run.tokens,
        uncertain_nano=run.uncertain_nano,
        mode=run.mode,
        agents=tuple(run.agents) if run.agents else (),
        tools=tuple(run.tools) if run.tools else (),
        models=tuple(run.models) if run.models else (),
        **_error(run),
    )


def _error(run: Run) -> dict[str, str]:
    error = run.error
    if error is None and not run.ended and run.root is not None:
        error = run.root.failure
    if error is None:
        return _NO_ERROR
    return {"error_code": error.code, "error_message": error.message[:MAX_MESSAGE], "error_step": error.path}


def _origin(run: Run, host: str) -> RunHead:
    """What the first fact says for good."""
    created = run.created
    assert created is not None
    return RunHead(
        id=created.run,
        tenant=created.tenant,
        workflow=created.workflow,
        plan=created.plan,
        status="pending",
        n=0,
        created_at=created.at,
        updated_at=created.at,
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
