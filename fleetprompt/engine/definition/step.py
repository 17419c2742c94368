"""The base of every step type: what all steps can carry, and what a type has to say about itself.

A step type is one class in one file: its fields are the schema and the reference of that type, its docstring is the
documentation, `perform` is the behaviour. Only effects perform; the core decides everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import get_annotations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self, TypeAlias, TypeVar, cast

from pydantic import Field, PlainValidator, ValidationError, ValidationInfo, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.plan import Block, Kind, Repeat, Test
from fleetprompt.engine.definition.fields import (
    MODELS,
    RENDERED,
    BareExpression,
    Sees,
    StepBody,
    StepList,
    TestField,
    VerbatimText,
    definition,
    one_or_many,
    wrong,
)
from fleetprompt.engine.definition.parts import (
    ApprovalModel,
    ConcurrencyModel,
    GuardrailsModel,
    Part,
    PollModel,
    RetryField,
    details,
)
from fleetprompt.engine.definition.scalars import DurationField, StepId
from fleetprompt.engine.registry import STEPS

if TYPE_CHECKING:
    pass

MAX_STEPS = 2_000
"""Steps of a workflow file, those inside other steps included."""

Kinds = Literal["agent", "function", "model", "tool", "workflow"]
"""What a field of a step can name."""


class Compiler(Protocol):
    """What a composite's `structure` may ask for."""

    def block(self, name: str, steps: list[StepModel]) -> Block:
        """The compiled form of nested steps."""
        ...


def _join(value: Any) -> Any:
    if value in ("all", "any") or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise wrong("`join` is `all`, `any` or a number from 1")


NeedText: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?$")]
Needs: TypeAlias = Annotated[list[NeedText], one_or_many(lambda value: isinstance(value, str)), Field(max_length=500)]
Join: TypeAlias = Annotated[
    int | Literal["all", "any"],
    PlainValidator(_join),
    WithJsonSchema({"anyOf": [{"enum": ["all", "any"]}, {"type": "integer", "minimum": 1}]}),
]
Asserts: TypeAlias = Annotated[list[TestField], one_or_many(lambda value: not isinstance(value, list))]
VarName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


def read_step(value: Any, info: ValidationInfo) -> StepModel:
    """One entry of a block, as the model of its type."""
    errors: list[InitErrorDetails] = []
    if isinstance(value, dict) and "id" not in value:
        errors += details(_located("missing-key", "a step needs an `id`", "give it a name such as `id: fetch`", value))
    try:
        model = _read(value, info, "a step is a mapping such as {id: fetch, type: http, url: …}")
    except ValidationError as error:
        errors += details(error)
        model = None
    if model is None or errors:
        raise ValidationError.from_exception_data("Step", errors)
    return model


def read_body(value: Any, info: ValidationInfo) -> StepModel:
    """A step without id and without a place in the order: a compensation or a reconciliation."""
    model = _read(value, info, "this is a step without `id`: a mapping such as {type: http, url: …}")
    if model.kind != "effect":
        message = f"a step of type `{model.type}` does no outside work and cannot stand here"
        raise _located("bad-value", message, "", value["type"], "type")
    for key in NOT_IN_A_BODY:
        if key in value:
            message = f"`{key}` has no meaning here: this step runs only when its owner calls for it"
            raise _located("unknown-key", message, "remove it", value[key], key)
    return model


def step_type(name: Any) -> type[StepModel]:
    """The class of a step type. Raises `NotFound` with a did-you-mean."""
    return cast("type[StepModel]", STEPS.get(str(name)))


def known_type(name: Any) -> type[StepModel] | None:
    """The class of a step type; None when there is none of that name."""
    return step_type(name) if isinstance(name, str) and name in STEPS else None


NOT_IN_A_BODY = (
    "id", "if", "needs", "join", "compensate", "reconcile", "approval", "concurrency", "set", "on_error",
)  # fmt: skip


def _read(value: Any, info: ValidationInfo, shape: str) -> StepModel:
    if not isinstance(value, dict):
        raise PydanticCustomError("wrong-type", "{message}", {"message": "this is not a step", "hint": shape})
    body = cast("dict[Any, Any]", value)
    if "type" not in body:
        known = ", ".join(STEPS.names())
        meant = next((key for key in body if did_you_mean(str(key), ["type"])), None)
        if meant is not None and known_type(body[meant]) is not None:
            raise _located("unknown-key", f"unknown key `{meant}`", "did you mean `type`?", body[meant], meant)
        raise _located("missing-key", "a step needs a `type`", f"one of: {known}", body)
    try:
        model = step_type(body["type"])
    except NotFound as error:
        raise _located("unknown-type", error.message, error.hint, body["type"], "type") from None
    read = model.model_validate(body, context=info.context)
    if info.context is not None and MODELS in info.context:
        info.context[MODELS][id(body)] = read
    return read


def _located(code: str, message: str, hint: str, value: Any, *loc: str | int) -> ValidationError:
    """An error at a place below the value that is being validated."""
    error = PydanticCustomError(cast("Any", code), "{message}", {"message": message, "hint": hint})
    return ValidationError.from_exception_data(
        "Step", [InitErrorDetails(type=error, loc=loc, input=value)]
    )  # fmt: skip


Body: TypeAlias = Annotated["StepModel", PlainValidator(read_body), WithJsonSchema(definition("body")), StepBody()]
"""A step without an id."""


class ReconcileModel(Part):
    """What the result of a reconciling step means; its other keys are the step itself."""

    happened: Annotated[TestField, Sees("result", "error")]
    """Condition over `result` and `error` of that step: true means that the work was done."""
    output: Annotated[Any, Sees("result", "error")] = None
    """The output of the step if the work was done; may hold expressions over `result`."""
    step: Annotated[Any, Field(exclude=True)] = None


def read_reconcile(value: Any, info: ValidationInfo) -> ReconcileModel:
    """A mapping that is a step without id, plus `happened` and `output`."""
    if not isinstance(value, dict):
        hint = "this is a step without `id`, plus `happened`: {type: http, url: …, happened: result.status == 200}"
        raise PydanticCustomError("wrong-type", "{message}", {"message": "this is not a step", "hint": hint})
    whole = cast("dict[Any, Any]", value)
    own = {key: whole[key] for key in ("happened", "output") if key in whole}
    errors: list[InitErrorDetails] = []
    body: StepModel | None = None
    meaning: ReconcileModel | None = None
    try:
        body = read_body({key: item for key, item in whole.items() if key not in own}, info)
    except ValidationError as error:
        errors += details(error)
    try:
        meaning = ReconcileModel.model_validate(own, context=info.context)
    except ValidationError as error:
        errors += details(error)
    if meaning is None or body is None:
        raise ValidationError.from_exception_data("ReconcileModel", errors)
    return meaning.model_copy(update={"step": body})


ReconcileField: TypeAlias = Annotated[
    ReconcileModel, PlainValidator(read_reconcile), WithJsonSchema(definition("reconcile")), StepBody()
]


class StepModel(Part):
    """What every step may carry."""

    kind: ClassVar[Kind] = "effect"
    """What the core does with a step of this type."""
    pool_name: ClassVar[str] = ""
    """Pool of slots that steps of this type use unless they say otherwise."""
    gated: ClassVar[bool] = False
    """The work does not begin before a note of kind `process` is durable; after a crash without it, it never began."""
    resumes: ClassVar[bool] = False
    """The work is recorded in notes, can be put aside and taken up again in the same attempt."""
    secret_fields: ClassVar[tuple[str, ...]] = ()
    """JSON-pointer prefixes of own fields in which secrets may be referred to, such as `/headers`."""
    file_fields: ClassVar[tuple[str, ...]] = ()
    """Own fields (keys) that name a file beside the workflow's: the plan's digest covers its content."""
    schema_fields: ClassVar[tuple[str, ...]] = ()
    """Own fields (keys) that hold a JSON Schema, or name a file beside the workflow's that does."""
    naming: ClassVar[Mapping[str, Kinds]] = {}
    """Own fields (keys) that name something outside of the file, and what; the arguments of a tool or function are in
    `with`."""
    structural: ClassVar[frozenset[str]] = frozenset()
    """Own fields (Python names) that `structure` turns into parts of the node: they are not configuration."""
    ports: ClassVar[tuple[str, ...]] = ()
    """Ports besides the common ones (completed, failed, timeout, skipped)."""
    type_name: ClassVar[str] = ""
    """The `type` of a workflow file; set by `@step`."""

    id: StepId | None = None
    """Name of the step, unique in the file."""
    type: VerbatimText
    """What kind of step it is."""
    name: VerbatimText = ""
    """A label for people."""
    description: VerbatimText = ""
    """What the step is for."""
    if_: TestField | None = Field(None, alias="if")
    """Condition; when it does not hold, the step is skipped."""
    needs: Needs | None = None
    """Steps, or ports of steps, this one waits for. Without it: everything listed before it in its block."""
    join: Join = "all"
    """How many needs must be met: `all`, `any`, or a number."""
    retry: RetryField | None = None
    """Tries after a definite failure."""
    timeout: DurationField | None = None
    """Active time per attempt, waiting excluded; of steps that do outside work, and of blocks."""
    repeat: Repeat | None = None
    """Whether the step may be performed again when nobody knows if it took effect."""
    on_error: Literal["fail", "continue"] = "fail"
    """`continue`: a failure does not fail the run."""
    compensate: Body | None = None
    """A step that undoes this one; performed in reverse order when the run fails (`on_failure: compensate`)."""
    reconcile: ReconcileField | None = None
    """How to find out after a crash whether the step took effect: a step without id, whose expressions also see `key`
    (the idempotency key) and `input`, plus `happened` and `output`."""
    guardrails: GuardrailsModel | None = None
    """Limits for this step."""
    approval: ApprovalModel | None = None
    """Ask people before the step starts."""
    concurrency: ConcurrencyModel | None = None
    """A critical section across runs."""
    set: Annotated[dict[VarName, BareExpression], Sees("result")] = Field(
        default_factory=lambda: cast(dict[str, str], {})
    )
    """Variables that are set when the step completes: name to expression over `result`."""
    asserts: Annotated[Asserts, Sees("result")] = Field(default_factory=lambda: cast(list[Test], []), alias="assert")
    """Conditions over `result` that must hold, or the step fails."""
    poll: PollModel | None = None
    """Perform the step again until a condition over `result` holds."""
    pool: VerbatimText = Field("", max_length=64)
    """Pool of slots this step uses."""

    def repeats(self) -> Repeat:
        """`repeat`, or the type's default where it is not written."""
        return self.repeat or "safe"

    def config(self) -> dict[str, Any]:
        """Own fields as plain JSON: templates untouched, defaults omitted."""
        own = own_fields(type(self)) - self.structural
        return self.model_dump(
            mode="json", by_alias=True, include=set(own), exclude_defaults=True, warnings=False
        )  # fmt: skip

    def structure(self, compiler: Compiler) -> dict[str, Any]:
        """Fields of the node that are more than configuration: `blocks`, `cases`, `loop`, `until`, `test` …"""
        return {}

    def names_inside(self) -> tuple[str, ...]:
        """Names that expressions of the steps inside see besides the usual ones."""
        return ()

    def port_names(self) -> tuple[str, ...]:
        """Ports of this very step besides the common ones."""
        return self.ports

    @classmethod
    def rendered(cls, value: Any) -> Self:
        """The step with real values in place of templates, from an effect's input: `cls.rendered(ctx.effect.input)`.

        Raises `pydantic.ValidationError` when a template became something the field cannot hold.
        """
        return cls.model_validate({"type": cls.type_name, **value}, context={RENDERED: True})


M = TypeVar("M", bound=StepModel)


def step(name: str) -> Callable[[type[M]], type[M]]:
    """Register a step type under the name that `type:` has in workflow files.

    One of the kind `effect` does its work in a class method `async perform(ctx: Context) -> Outcome`, which raises
    nothing for what the world does: that is an outcome. Raises `TypeError` for one that has none.
    """

    def add(model: type[M]) -> type[M]:
        if model.kind == "effect" and not hasattr(model, "perform"):
            raise TypeError(f"the step type {name!r} has no `perform`, so there is nothing that it does")
        model.type_name = name
        return STEPS.register(name)(model)

    return add


@cache
def own_fields(model: type[StepModel]) -> frozenset[str]:
    """Python names of the fields a step type declares itself, common ones that it redefines included."""
    names: set[str] = set()
    for parent in model.__mro__[: model.__mro__.index(StepModel)]:
        names.update(name for name in get_annotations(parent) if name in model.model_fields)
    return frozenset(names)


Steps: TypeAlias = Annotated[
    list[Annotated[StepModel, PlainValidator(read_step), WithJsonSchema(definition("step"))]],
    Field(max_length=MAX_STEPS),
    StepList(),
]
"""A block: steps in order."""
