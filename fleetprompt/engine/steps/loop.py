"""`loop`: a block again and again."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from fleetprompt.engine.core.expr_syntax import RESERVED
from fleetprompt.engine.core.plan import Loop as LoopPlan
from fleetprompt.engine.definition.fields import (
    USUAL_NAMES,
    Bare,
    Sees,
    TestField,
    Verbatim,
    either,
    needs_one_of,
    wrong,
)
from fleetprompt.engine.definition.step import Compiler, StepModel, Steps, step

MAX_CONCURRENCY = 1_000
MAX_ITERATIONS = 1_000_000


def _over(value: Any) -> Any:
    if isinstance(value, str | list):
        return cast("Any", value)
    raise wrong("`over` is an expression such as inputs.files, or a list")


Over: TypeAlias = Annotated[Any, PlainValidator(_over), WithJsonSchema({"type": ["string", "array"]}), Bare()]


def _free_name(value: str) -> str:
    if value in USUAL_NAMES | RESERVED or value in ("index", "loop"):
        raise wrong(f"`{value}` already has a meaning in expressions", "choose another name for the item")
    return value


def _not_a_group(value: Any) -> Any:
    if isinstance(value, dict):
        raise wrong(
            "`concurrency` of a loop is a number: how many iterations run at once",
            "for a critical section, put it on the steps inside, or on the workflow",
        )
    return value


@step("loop")
class Loop(StepModel):
    """Run a block for each item of a list, or while a condition holds. The output is the list of results."""

    model_config = needs_one_of("over", "while")
    kind = "loop"
    structural = frozenset({"over", "while_", "as_", "concurrency", "max_iterations", "on_item_error", "steps"})

    over: Over = None
    """Expression that gives the items, or a list."""
    while_: Annotated[TestField, Sees("index", "loop")] | None = Field(None, alias="while")
    """Condition, asked before each iteration; `loop.previous` is the last result."""
    as_: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64), AfterValidator(_free_name), Verbatim()] = (
        Field("item", alias="as")
    )
    """The item's name in expressions of the steps inside; `index` counts from 0."""
    concurrency: Annotated[int, BeforeValidator(_not_a_group)] = Field(1, ge=1, le=MAX_CONCURRENCY)  # pyright: ignore[reportIncompatibleVariableOverride] a loop's own meaning
    """How many iterations run at once."""
    max_iterations: int = Field(10_000, ge=1, le=MAX_ITERATIONS)
    """More items or iterations than this fail the step."""
    on_item_error: Literal["fail", "continue"] = "fail"
    """`continue`: a failed iteration gives null, or its error, and the others go on."""
    steps: Annotated[Steps, Field(min_length=1)]
    """The block."""

    @model_validator(mode="after")
    def one_kind(self) -> Loop:
        either(self, "over", "while_", "a loop has either `over` (items) or `while` (a condition)")
        if self.while_ is not None and self.concurrency > 1:
            raise wrong("a `while` loop runs one iteration at a time", "remove `concurrency`")
        return self

    def names_inside(self) -> tuple[str, ...]:
        return ("index", "loop") if self.over is None else (self.as_, "index", "loop")

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        plan = LoopPlan(
            over=self.over,
            test=self.while_,
            name=self.as_,
            concurrency=self.concurrency,
            max_iterations=self.max_iterations,
            on_item_error=self.on_item_error,
        )
        return {"loop": plan, "blocks": (compiler.block("steps", self.steps),)}
