"""`agent`: a model with tools that works on a goal until it has a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field, ValidationError

from fleetprompt.engine.definition.agents import AgentName
from fleetprompt.engine.definition.fields import Templated
from fleetprompt.engine.definition.step import Kinds, StepModel, step
from fleetprompt.engine.ports import Context, Outcome
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.steps._history import History
from fleetprompt.engine.steps._values import unusable

POOL = "model"


@step("agent")
class AgentStep(StepModel):
    """Hand a goal to an agent, which asks its model and calls tools until it has a result. The result is the output: a
    text, or the JSON value that `output_schema` describes.

    Every request, call, decision and message is on the record. After a crash the agent goes on where it was: an answer
    that was recorded is not paid for again, a call that must not be repeated is in doubt. Calls that the policy does
    not simply allow wait for people, one by one, with exactly what would be done; nothing is held meanwhile. `timeout`
    counts the time in which the agent is active.
    """

    resumes: ClassVar[bool] = True
    pool_name: ClassVar[str] = POOL
    schema_fields: ClassVar[tuple[str, ...]] = ("output_schema",)
    naming: ClassVar[Mapping[str, Kinds]] = {"agent": "agent"}

    agent: AgentName
    """Name of the agent: of a file `agents/<name>.yaml`, or under `agents:` of the workflow."""
    prompt: Annotated[str, Field(min_length=1)]
    """The goal; may hold expressions."""
    max_iterations: Templated[Annotated[int, Field(ge=1, le=1000)]] = 10
    """How many answers of the model there can be."""
    max_handoffs: Templated[Annotated[int, Field(ge=0, le=100)]] = 4
    """How often the task may be handed over to another agent."""
    output_schema: dict[str, Any] | str | None = None
    """JSON Schema of the result, or the path of a file with one, beside the workflow's."""
    history: Templated[History] = Field([])
    """Messages before the goal: `[{role: user, text: …}, {role: assistant, text: …}]`."""
    goal_type: str = ""
    """What kind of goal it is, for whoever analyses runs."""

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        try:
            wanted = cls.rendered(ctx.effect.input)
        except ValidationError as error:
            return unusable(error)
        from fleetprompt.engine.agents.loop import work
        from fleetprompt.engine.agents.worker import Task

        schema = wanted.output_schema
        task = Task(
            agent=wanted.agent,
            goal=wanted.prompt,
            schema=schema if isinstance(schema, dict) else None,
            max_iterations=wanted.max_iterations,
            max_handoffs=wanted.max_handoffs,
            history=tuple(said.model_dump() for said in wanted.history),
            goal_type=wanted.goal_type,
        )
        return await work(cast("WorkContext", ctx), task)
