"""`tool`: one call of a tool, as an agent makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from pydantic import Field, ValidationError, field_validator

from fleetprompt.engine.definition.agents import AgentApprovalModel, ToolPattern
from fleetprompt.engine.definition.fields import Templated, wrong
from fleetprompt.engine.definition.step import Kinds, StepModel, step
from fleetprompt.engine.ports import Context, Outcome
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.steps._values import unusable


@step("tool")
class Tool(StepModel):
    """Call a tool; its result is the output. The policy's rules hold, and where one says `ask`, people are shown what
    exactly would be done. What the tool would ask about by itself is not asked about here: the workflow says to do it.
    Use `approval` to ask before the step begins. A call that must not be repeated is in doubt after a crash."""

    resumes: ClassVar[bool] = True
    pool_name: ClassVar[str] = "tool"
    naming: ClassVar[Mapping[str, Kinds]] = {"tool": "tool"}

    tool: ToolPattern
    """Name of the tool, such as `git.log`."""
    with_: Templated[dict[str, Any]] = Field({}, alias="with")
    """Its arguments; may hold expressions."""
    ask: AgentApprovalModel | None = None
    """Whom to ask where a rule of the policy says so."""

    @field_validator("tool")
    @classmethod
    def is_one(cls, value: str) -> str:
        if "*" in value:
            raise wrong("a step calls one tool, and this is a pattern", "`fleet tools` lists them")
        return value

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        try:
            wanted = cls.rendered(ctx.effect.input)
        except ValidationError as error:
            return unusable(error)
        from fleetprompt.engine.agents.single import call_tool

        approval = wanted.ask.compiled() if wanted.ask is not None else None
        return await call_tool(cast("WorkContext", ctx), wanted.tool, wanted.with_, approval)
