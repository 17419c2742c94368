"""`stop`: end the run."""

from __future__ import annotations

from typing import Any, Literal

from fleetprompt.engine.definition.step import StepModel, step


@step("stop")
class Stop(StepModel):
    """End the run now: what is still in flight is cancelled."""

    kind = "stop"

    status: Literal["completed", "failed", "cancelled"] = "completed"
    """How the run ends."""
    message: str = ""
    """Why; may hold expressions."""
    output: Any = None
    """The run's output; may hold expressions."""
