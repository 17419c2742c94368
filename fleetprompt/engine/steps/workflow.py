"""`workflow`: a run inside a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from fleetprompt.engine.definition.fields import Templated, wrong
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.definition.scalars import DurationField, WorkflowName
from fleetprompt.engine.definition.step import Kinds, StepModel, step


@step("workflow")
class Workflow(StepModel):
    """Start another workflow (or this one again) as a child run, and wait for its output.

    A child shares the deadline of its parent and ends with it: where the parent is cancelled, or no longer needs the
    child, the child is cancelled too, and the parent waits until it has ended before anything of its own is undone.
    """

    kind = "workflow"
    naming: ClassVar[Mapping[str, Kinds]] = {"workflow": "workflow"}

    workflow: WorkflowName
    """Name of the workflow; no expressions, since children are pinned when the run starts."""
    with_: dict[str, Any] = Field(default_factory=dict[str, Any], alias="with")
    """Its inputs; may hold expressions."""
    timeout: Templated[DurationField] | None = None
    """How long the child may take, its own waiting included. Then it is cancelled and, once it has ended, the step ends
    on its port `timeout`; with `retry`, another child is started. Without it, for ever."""
    wait: bool = True
    """Whether to wait for the child to end; otherwise the output is `{run: <its id>}` at once, and the child goes its
    own way."""

    @model_validator(mode="after")
    def has_an_end_to_wait_for(self) -> Workflow:
        if not self.wait and self.timeout is not None:
            raise wrong("`timeout` has no effect with `wait: false`", code=ProblemCode.CONFLICTING_KEYS)
        return self
