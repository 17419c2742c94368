"""`wait`: for a signal."""

from __future__ import annotations

from fleetprompt.engine.definition.fields import Templated, TestField
from fleetprompt.engine.definition.scalars import DurationField, SignalPattern
from fleetprompt.engine.definition.step import StepModel, step


@step("wait")
class Wait(StepModel):
    """Wait for a signal that matches, without holding anything. The output is the signal's data."""

    kind = "wait"
    ports = ("received",)
    structural = frozenset({"match"})

    signal: Templated[SignalPattern]
    """Type of the signal; `*` stands for one part, `**` for any number of them."""
    match: TestField | None = None
    """Condition over `data` and `signal`; a signal for which it does not hold is not heard."""
    key: str = ""
    """Only a signal with this subject is heard."""
    timeout: Templated[DurationField] | None = None
    """How long to wait; then the step ends on its port `timeout`. Without it, for ever."""

    def structure(self, compiler: object) -> dict[str, object]:
        return {"test": self.match}
