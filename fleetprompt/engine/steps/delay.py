"""`delay`: let time pass."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from fleetprompt.engine.definition.fields import TEMPLATE, Templated, either, needs_one_of, wrong
from fleetprompt.engine.definition.scalars import DurationField
from fleetprompt.engine.definition.step import StepModel, step


def _time(value: Any) -> Any:
    if isinstance(value, str) and TEMPLATE not in value:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise wrong("a time is written like 2026-11-20T18:30:00Z") from None
        if moment.tzinfo is None:
            raise wrong("a time needs its offset from UTC", f"{value}Z or {value}+01:00")
    return value


@step("delay")
class Delay(StepModel):
    """Wait for a while, or until a time, without holding anything."""

    model_config = needs_one_of("for", "until")
    kind = "delay"

    for_: Templated[DurationField] | None = Field(None, alias="for")
    """How long."""
    until: Annotated[str, BeforeValidator(_time)] | None = None
    """Until when: a time with its offset, such as `2026-11-20T18:30:00Z`. A time that has passed is no delay."""

    @model_validator(mode="after")
    def one_end(self) -> Delay:
        either(self, "for_", "until", "a delay has either `for` (a duration) or `until` (a time)")
        return self
