"""`image`: pictures that a model draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

from pydantic import Field, ValidationError

from fleetprompt.engine.definition.fields import Templated
from fleetprompt.engine.definition.step import Kinds, StepModel, step
from fleetprompt.engine.ports import Context, Outcome
from fleetprompt.engine.ports.work import WorkContext
from fleetprompt.engine.steps._values import unusable
from fleetprompt.engine.steps.agent import POOL


@step("image")
class Image(StepModel):
    """Have a model draw pictures, which are written to files of the workspace and kept in the store with the run.
    Output: `{file, sha256, bytes, media_type, images, model, simulated}`, the first four those of the first picture.

    What a picture can cost at most is reserved before it is asked for. One that was made is not paid for again after a
    crash or with another attempt. Simulated models draw tiles by the hash of the prompt.
    """

    resumes: ClassVar[bool] = True
    pool_name: ClassVar[str] = POOL
    naming: ClassVar[Mapping[str, Kinds]] = {"model": "model"}

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    """What is to be seen; may hold expressions."""
    model: str = ""
    """An alias of `fleet.toml`, or a model such as `openai/gpt-image-1`; empty: the alias `default`."""
    size: str = "1024x1024"
    """Width and height in pixels."""
    n: Templated[Annotated[int, Field(ge=1, le=10)]] = 1
    """How many pictures; each is a request of its own."""
    file: str = ""
    """Where it is written in the workspace, such as `out/logo.png`; of several, each name gets a number (`logo-2.png`).
    Empty: `out/images/<run>/<step>`."""

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        try:
            wanted = cls.rendered(ctx.effect.input)
        except ValidationError as error:
            return unusable(error)
        from fleetprompt.engine.agents.pictures import Order, paint

        order = Order(prompt=wanted.prompt, model=wanted.model, size=wanted.size, count=wanted.n, file=wanted.file)
        return await paint(cast("WorkContext", ctx), order)
