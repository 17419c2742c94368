"""`chat`: one answer of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field, ValidationError

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.definition.fields import Templated
from fleetprompt.engine.definition.step import Kinds, StepModel, step
from fleetprompt.engine.ports import Context, Outcome
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.steps._history import History
from fleetprompt.engine.steps._values import unusable
from fleetprompt.engine.steps.agent import POOL

NAME = "chat"


@step("chat")
class Chat(StepModel):
    """Ask a model once, without tools. The answer is the output: a text, or the JSON value that `output_schema`
    describes (it is asked for again where it does not fit). What was answered is not paid for again after a crash."""

    resumes: ClassVar[bool] = True
    pool_name: ClassVar[str] = POOL
    naming: ClassVar[Mapping[str, Kinds]] = {"model": "model"}
    schema_fields: ClassVar[tuple[str, ...]] = ("output_schema",)

    prompt: Annotated[str, Field(min_length=1)]
    """What is asked; may hold expressions."""
    system: str = ""
    """System prompt; may hold expressions."""
    model: str = ""
    """An alias of `fleet.toml`, or a model such as `openai/gpt-5.4-mini`; empty: the alias `default`."""
    temperature: Templated[Annotated[float, Field(ge=0, le=2)]] | None = None
    """How freely the model chooses its words; without it, the provider's default."""
    max_tokens: Templated[Annotated[int, Field(ge=1, le=1_000_000)]] = 4096
    """Of the answer."""
    output_schema: dict[str, Any] | str | None = None
    """JSON Schema of the answer, or the path of a file with one, beside the workflow's."""
    history: Templated[History] = Field([])
    """Messages before: `[{role: user, text: …}, {role: assistant, text: …}]`."""

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
            agent=NAME,
            inline=Agent(
                name=NAME,
                system=wanted.system,
                model=wanted.model,
                temperature=wanted.temperature,
                max_tokens=wanted.max_tokens,
            ),
            goal=wanted.prompt,
            schema=schema if isinstance(schema, dict) else None,
            history=tuple(said.model_dump() for said in wanted.history),
        )
        return await work(cast("WorkContext", ctx), task)
