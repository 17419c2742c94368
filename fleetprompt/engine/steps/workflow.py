"""`workflow`: a run inside a run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fleetprompt.engine.definition.scalars import WorkflowName
from fleetprompt.engine.definition.step import StepModel, step


@step("workflow")
class Workflow(StepModel):
    """Start another workflow (or this one again) as a child run, and wait for its output."""

    kind = "workflow"

    workflow: WorkflowName
    """Name of the workflow; no expressions, since children are pinned when the run starts."""
    with_: dict[str, Any] = Field(default_factory=dict[str, Any], alias="with")
    """Its inputs; may hold expressions."""
    wait: bool = True
    """Whether to wait for the child to end; otherwise the output is `{run: <its id>}` at once."""
