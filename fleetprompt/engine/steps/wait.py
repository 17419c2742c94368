"""`wait`: for a signal."""

from __future__ import annotations

from typing import Annotated, Any

from fleetprompt.engine.definition.fields import Sees, Templated, TestField
from fleetprompt.engine.definition.scalars import DurationField, SignalPattern
from fleetprompt.engine.definition.step import Compiler, StepModel, step


@step("wait")
class Wait(StepModel):
    """Wait for a signal that matches, without holding anything. The engine's own (`fleet.*`) are not heard.

    The output is the signal: `{id, type, source, subject, at, data}`.
    """

    kind = "wait"
    ports = ("received",)
    structural = frozenset({"match"})

    signal: Templated[SignalPattern]
    """Type of the signal; `*` stands for one part, `**` for any number of them."""
    match: Annotated[TestField, Sees("data", "signal")] | None = None
    """Condition over `data` and `signal`; a signal for which it does not hold is not heard."""
    key: str = ""
    """Only a signal with this subject is heard."""
    timeout: Templated[DurationField] | None = None
    """How long to wait; then the step ends on its port `timeout`. Without it, for ever."""

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        return {"test": self.match}
