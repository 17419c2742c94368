"""`condition`: one of two blocks."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fleetprompt.engine.core.plan import Case
from fleetprompt.engine.definition.fields import TestField
from fleetprompt.engine.definition.step import Compiler, StepModel, Steps, step


@step("condition")
class Condition(StepModel):
    """Run one of two blocks. `if` is the question here, not a reason to skip the step."""

    kind = "choose"
    ports = ("then", "else")
    structural = frozenset({"if_", "then", "else_"})

    if_: TestField = Field(alias="if")  # pyright: ignore[reportIncompatibleVariableOverride] required here
    """The question."""
    then: Steps
    """Steps that run if it holds."""
    else_: Steps = Field(default_factory=list[StepModel], alias="else")
    """Steps that run if it does not."""

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        blocks = {"then": self.then, "else": self.else_}
        return {
            "cases": (Case("then", test=self.if_), Case("else")),
            "blocks": tuple(compiler.block(name, steps) for name, steps in blocks.items() if steps),
        }
