"""`record_decision`: a model says what it decided and why. The engine notes the call; nothing else happens."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Done, Outcome
from fleetprompt.engine.tools.declare import ToolModel, tool


@tool("record_decision")
class RecordDecision(ToolModel):
    """Record a decision before you act on it: the question, the options that you considered, the one that you chose,
    why, and how sure you are."""

    question: Annotated[str, Field(min_length=1, max_length=2000)]
    options: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(min_length=1, max_length=50)]
    chosen: Annotated[str, Field(min_length=1, max_length=500)]
    """One of `options`, word for word."""
    reasoning: Annotated[str, Field(min_length=1, max_length=10_000)]
    confidence: Annotated[float, Field(ge=0, le=1)]
    """Between 0 and 1."""
    type: Annotated[str, Field(min_length=1, max_length=60)] = "choice"
    """What kind of decision it is, in a word: `root_cause`, `remedy` …"""
    rejected: dict[str, Annotated[str, Field(max_length=2000)]] = Field({}, max_length=50)
    """Why other options were not chosen, by option."""

    reach: ClassVar[Reach] = "read"
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"
    parallel: ClassVar[bool] = True
    action: ClassVar[ActionType] = "decision_point"

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.chosen not in self.options:
            raise ValueError("`chosen` has to be one of `options`, word for word")
        for option in self.rejected:
            if option not in self.options:
                raise ValueError(f"`rejected` names {option!r}, which is not one of `options`")
        return self

    async def preview(self, room: ToolRoom) -> Preview:
        """The decision in a line."""
        del room
        return Preview(summary=f"{inert(self.question)[:150]} → {inert(self.chosen)[:100]}", show=self.model_dump())

    async def call(self, room: ToolRoom) -> Outcome:
        """Give the decision back as it is noted."""
        del room
        return Done({**self.model_dump(), "index": self.options.index(self.chosen), "recorded": True})
