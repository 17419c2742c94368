"""`parallel`: several blocks at once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from fleetprompt.engine.definition.fields import Port, wrong
from fleetprompt.engine.definition.step import Compiler, Join, StepModel, Steps, step


@step("parallel")
class Parallel(StepModel):
    """Run several blocks at once. The output is `{branch: output of its last step}`."""

    kind = "parallel"
    structural = frozenset({"branches", "until", "cancel_rest"})

    branches: Annotated[dict[Port, Annotated[Steps, Field(min_length=1)]], Field(min_length=1, max_length=500)]
    """Blocks by name."""
    until: Join = "all"
    """How many branches must complete: `all`, `any`, or a number."""
    cancel_rest: bool = True
    """Cancel the branches that are still running when enough have completed."""

    @model_validator(mode="after")
    def enough_branches(self) -> Parallel:
        if isinstance(self.until, int) and self.until > len(self.branches):
            raise wrong(f"`until: {self.until}` can never be met by {len(self.branches)} branches")
        return self

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        return {
            "blocks": tuple(compiler.block(name, steps) for name, steps in self.branches.items()),
            "until": {"all": 0, "any": 1}.get(str(self.until)) if isinstance(self.until, str) else self.until,
            "cancel_rest": self.cancel_rest,
        }
