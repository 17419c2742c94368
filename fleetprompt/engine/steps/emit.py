"""`emit`: send a signal."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from fleetprompt.engine.definition.fields import SignalType, Templated, wrong
from fleetprompt.engine.definition.step import StepModel, step


def _not_reserved(value: str) -> str:
    if value == "fleet" or value.startswith("fleet."):
        raise wrong("signal types that begin with `fleet.` are the engine's own", "choose another first word")
    return value


@step("emit")
class Emit(StepModel):
    """Send a signal: other runs may wait for it, and triggers may start workflows on it."""

    kind = "emit"

    signal: Annotated[Templated[SignalType], AfterValidator(_not_reserved)]
    """Type of the signal, such as `deploy.finished`."""
    data: Any = None
    """What it carries; may hold expressions."""
    subject: str = ""
    """What it is about; `wait` can listen for one subject only."""
    key: str = ""
    """Idempotency key: a second signal with the same key is not sent. Without it, the step's own."""
