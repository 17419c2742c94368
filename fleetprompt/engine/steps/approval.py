"""`approval`: ask people."""

from __future__ import annotations

from pydantic import Field

from fleetprompt.engine.definition.parts import Asking
from fleetprompt.engine.definition.step import StepModel, step


@step("approval")
class Approval(Asking, StepModel):
    """Ask people and wait, without holding anything. The output is `{decision, by, comment, values, approval}`."""

    kind = "approval"
    ports = ("approved", "rejected")

    message: str = Field(min_length=1, max_length=10_000)
    """What is asked; may hold expressions."""
