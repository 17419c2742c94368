"""`transform`: compute a value."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.definition.step import StepModel, step


@step("transform")
class Transform(StepModel):
    """Compute a value from what is known, without touching the world."""

    kind = "transform"

    output: Any
    """The value; expressions anywhere in it are evaluated, and it becomes the step's output."""
