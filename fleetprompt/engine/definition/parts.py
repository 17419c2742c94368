"""The parts that several step types share: retry, poll, approval, concurrency, guardrails."""

from __future__ import annotations

import math
from functools import cache
from types import NoneType
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from fleetprompt.engine.core.entered import is_of_type
from fleetprompt.engine.core.errors import Code
from fleetprompt.engine.core.expr_pattern import compile_pattern
from fleetprompt.engine.core.expr_values import Refusal
from fleetprompt.engine.core.plan import Concurrency, Guardrails, Poll, Retry
from fleetprompt.engine.core.rendered import MAX_APPROVERS, MAX_GROUP, MAX_QUORUM, quorum_problem
from fleetprompt.engine.definition.fields import (
    RENDERED,
    Sees,
    Templated,
    TestField,
    Verbatim,
    VerbatimText,
    one_or_many,
    short_form,
    wrong,
)
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.definition.scalars import DurationField

NANO = 1_000_000_000


class Part(BaseModel):
    """A mapping of a workflow file: no unknown keys, no silent conversions, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def nothing_is_unfinished(cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """`if:` with nothing behind it is a line that somebody did not finish, not a step that always runs."""
        if not isinstance(value, dict) or (info.context and info.context.get(RENDERED)):
            return handler(value)
        body = cast("dict[Any, Any]", value)
        unfinished = [key for key, given in body.items() if given is None and key in _optional(cls)]
        if not unfinished:
            return handler(value)
        problems = [
            (key, wrong(f"`{key}` has no value", "give it one, or remove it", ProblemCode.WRONG_TYPE))
            for key in unfinished
        ]
        errors = [InitErrorDetails(type=problem, loc=(key,), input=None) for key, problem in problems]
        try:
            handler(value)
        except ValidationError as error:
            errors += details(error)
        raise ValidationError.from_exception_data(cls.__name__, errors)


@cache
def _optional(model: type[BaseModel]) -> frozenset[str]:
    """Keys that can be left out, and for which null would mean just that."""
    fields = model.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if NoneType in get_args(field.annotation))


_KNOWN_ERRORS = frozenset(get_args(ErrorType))


def details(error: ValidationError) -> list[InitErrorDetails]:
    """The errors of a validation, to be raised again together with others."""
    return [
        InitErrorDetails(type=_type_of(item), loc=item["loc"], input=item["input"], ctx=item.get("ctx", {}))
        for item in error.errors(include_url=False)
    ]


def _type_of(item: ErrorDetails) -> str | PydanticCustomError:
    if item["type"] in _KNOWN_ERRORS:
        return item["type"]
    return PydanticCustomError(cast("Any", item["type"]), "{message}", {"message": item["msg"], **item.get("ctx", {})})


class RetryModel(Part):
    """Try again after a definite failure. The delay before attempt n+1 is backoff · factor^(n-1), with jitter."""

    max_attempts: int = Field(3, ge=1, le=1000)
    """Tries in all, the first one included."""
    backoff: DurationField = 1.0
    """Delay before the second attempt."""
    factor: float = Field(2.0, ge=1, le=100)
    """What the delay is multiplied by after each attempt."""
    max_backoff: DurationField = 300.0
    """The longest delay."""
    jitter: float = Field(0.1, ge=0, le=1)
    """Share of the delay that is spread: 0.1 means ±10 %."""
    on: list[Code] = []
    """Error codes that are retried; empty means every retryable one."""

    def compiled(self) -> Retry:
        return Retry(self.max_attempts, self.backoff, self.factor, self.max_backoff, self.jitter, tuple(self.on))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


RetryField: TypeAlias = Annotated[RetryModel, short_form("max_attempts", _is_count)]
"""`retry: 3` is `retry: {max_attempts: 3}`."""


class ConcurrencyModel(Part):
    """A critical section across runs: at most `limit` holders of `group` at a time."""

    group: str = Field(min_length=1, max_length=MAX_GROUP)
    """Name of the section; may hold expressions, such as `deploy-${{ inputs.service }}`."""
    limit: int = Field(1, ge=1, le=100_000)
    """How many holders there can be at a time."""
    on_conflict: Literal["queue", "skip", "cancel_running"] = "queue"
    """What happens when the section is full: wait, skip, or cancel the oldest holder."""

    def compiled(self) -> Concurrency:
        return Concurrency(self.group, self.limit, self.on_conflict)


class PollModel(Part):
    """Perform the step again every so often until a condition over `result` holds."""

    until: Annotated[TestField, Sees("result")]
    """Condition over `result`, the step's output."""
    every: DurationField = 10.0
    """Pause between two tries."""
    timeout: DurationField | None = None
    """How long to go on: no try begins after it, and when none is left the step ends with TIMEOUT."""

    def compiled(self) -> Poll:
        return Poll(self.until, self.every, self.timeout)


def _cost(value: Any) -> int:
    if not _is_count(value) and not isinstance(value, float):
        raise wrong("an amount of money is a number of dollars, such as 0.40")
    if not math.isfinite(value) or value < 0 or value > 1_000_000:
        raise wrong("an amount of money is between 0 and 1,000,000 dollars")
    return round(value * NANO)


CostField: TypeAlias = Annotated[
    int, PlainValidator(_cost), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000})
]
"""US dollars in the file, whole nano-dollars in the model."""


class CapsModel(Part):
    """Limits on what is used, without time."""

    requests: int | None = Field(None, ge=0)
    """Model calls."""
    tokens: int | None = Field(None, ge=0)
    """Input and output tokens of all model calls."""
    tool_calls: int | None = Field(None, ge=0)
    """Calls of tools by agents."""
    cost_usd: CostField | None = None
    """Spent money in US dollars; uncertain spend counts."""

    def compiled(self) -> Guardrails:
        return Guardrails(self.requests, self.tokens, self.tool_calls, self.cost_usd)


class GuardrailsModel(Part):
    """Limits. What is used by steps inside counts too."""

    requests: int | None = Field(None, ge=0)
    """Model calls."""
    tokens: int | None = Field(None, ge=0)
    """Input and output tokens of all model calls."""
    tool_calls: int | None = Field(None, ge=0)
    """Calls of tools by agents."""
    cost_usd: CostField | None = None
    """Spent money in US dollars; uncertain spend counts."""
    timeout: DurationField | None = None
    """Active time, waiting excluded."""
    on_limit: Literal["fail", "ask", "wrap_up"] = "fail"
    """At a limit: fail, ask the operator to raise it, or let agents finish with what they have."""
    each: CapsModel | None = None
    """Limits of each branch of a `parallel` or iteration of a `loop`."""
    per_day: CapsModel | None = None
    """Limits of all runs of the workflow together in a day (UTC); only on the workflow itself."""

    def compiled(self) -> Guardrails:
        return Guardrails(
            self.requests,
            self.tokens,
            self.tool_calls,
            self.cost_usd,
            self.timeout,
            self.on_limit,
            self.each.compiled() if self.each else None,
            self.per_day.compiled() if self.per_day else None,
        )


InputType = Literal["string", "integer", "number", "boolean", "array", "object", "any"]


def check_default(default: Any, type_: str, enum: list[Any] | None) -> None:
    """Check that a default, if there is one, is a value that may be entered. Raises what `wrong` returns."""
    if default is None:
        return
    if not is_of_type(default, type_):
        raise wrong(f"the default is not of type `{type_}`")
    if enum is not None and default not in enum:
        raise wrong("the default is not among the values of `enum`")


def _pattern(value: str) -> str:
    try:
        compile_pattern(value)
    except Refusal as refusal:
        raise wrong(refusal.message, refusal.hint) from None
    return value


Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern), Verbatim()]


class FormField(Part):
    """One value that an approver enters."""

    type: InputType
    """What kind of value it is."""
    required: bool = False
    """Whether an approval without it is refused."""
    default: Any = None
    """The value when none is entered."""
    enum: list[Any] | None = Field(None, min_length=1, max_length=200)
    """The values it can have."""
    min_length: int | None = Field(None, ge=0)
    """Characters, at least."""
    max_length: int | None = Field(None, ge=0)
    """Characters, at most."""
    pattern: Pattern = ""
    """Regular expression that text must match as a whole."""
    minimum: float | None = None
    """The smallest number it can be."""
    maximum: float | None = None
    """The largest number it can be."""
    description: VerbatimText = ""
    """What to enter."""

    @model_validator(mode="after")
    def agrees(self) -> FormField:
        check_default(self.default, self.type, self.enum)
        for low, high in ((self.min_length, self.max_length), (self.minimum, self.maximum)):
            if low is not None and high is not None and low > high:
                raise wrong(f"nothing is at least {low} and at most {high}")
        return self


FormFieldField: TypeAlias = Annotated[FormField, short_form("type", lambda value: isinstance(value, str))]
"""`reason: string` is `reason: {type: string}`."""


FieldName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Approver: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Approvers: TypeAlias = Annotated[
    list[Approver], one_or_many(lambda value: isinstance(value, str)), Field(max_length=MAX_APPROVERS)
]
"""`user:ana` or `group:oncall`; one or a list."""


class Excluding(Part):
    """Who may answer a question, and who may not."""

    not_: Annotated[list[Literal["run.starter"]], one_or_many(lambda value: isinstance(value, str))] = Field(
        default_factory=list[Literal["run.starter"]], alias="not"
    )
    """Who may not: `run.starter`, whoever has had a part in starting the run."""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Where nobody is excluded, the plain list."""
        return handler(self) if self.not_ else [*self.people]

    @property
    def people(self) -> list[str]:
        """Who may answer; empty: everybody."""
        raise NotImplementedError


class ApproversModel(Excluding):
    """Who may decide, and who may not."""

    any_of: Approvers = []
    """Who may: `user:ana` or `group:oncall`; empty means every operator with the right to approve."""

    @property
    def people(self) -> list[str]:
        return self.any_of


def not_mapping(value: Any) -> bool:
    """Whether a value is the short form of a part."""
    return not isinstance(value, dict | BaseModel)


_APPROVER = {"type": "string", "minLength": 1, "maxLength": 200}
_APPROVERS = {"anyOf": [_APPROVER, {"type": "array", "items": _APPROVER, "maxItems": MAX_APPROVERS}]}
ApproversField: TypeAlias = Annotated[ApproversModel, short_form("any_of", not_mapping, _APPROVERS)]
"""`[user:ana]` is `{any_of: [user:ana]}`."""
NOBODY_EXCLUDED: Final = ApproversModel.model_validate({})


def somebody(approvers: Excluding) -> Excluding:
    """Check that it is said who is asked. Raises what `wrong` returns."""
    if not approvers.people and not approvers.not_:
        raise wrong("`to` must not be empty")
    return approvers


class EscalateModel(Part):
    """Whom to ask when nobody answered in time, and what happens when they do not answer either."""

    to: Annotated[ApproversField, AfterValidator(somebody)]
    """Who is asked then."""
    timeout: Templated[DurationField] | None = None
    """How long to wait for them; without it, for ever."""
    on_timeout: Literal["reject", "approve", "fail"] = "reject"
    """What happens then."""


class Asking(Part):
    """A question to people."""

    message: str = Field("", max_length=10_000)
    """What is asked; may hold expressions."""
    show: Any = None
    """Value that is shown with the question. What is shown is what the approval is bound to."""
    approvers: ApproversField = NOBODY_EXCLUDED
    """Who may decide: `user:ana` or `group:oncall`, and where an expression stands for one, also a list of them; empty
    means every operator with the right to approve. `{any_of: [group:oncall], not: run.starter}`: but whoever started
    the run."""
    quorum: Templated[Annotated[int, Field(ge=1, le=MAX_QUORUM)]] = 1
    """How many different people must approve. One rejection rejects."""
    timeout: Templated[DurationField] | None = None
    """How long to wait; without it, for ever."""
    on_timeout: Literal["reject", "approve", "fail", "escalate"] = "reject"
    """What happens then; with `escalate`, `escalate` says whom to ask next."""
    escalate: EscalateModel | None = None
    """Whom to ask when nobody answered in time: `{to, timeout, on_timeout}`."""
    form: dict[FieldName, FormFieldField] = {}
    """Values that an approver enters, as `{name: {type, required, …}}`."""

    @model_validator(mode="after")
    def ends_somehow(self) -> Asking:
        if self.on_timeout == "escalate" and (self.escalate is None or self.timeout is None):
            raise wrong("`on_timeout: escalate` needs `timeout` and `escalate`", code=ProblemCode.MISSING_KEY)
        if self.escalate is not None and self.on_timeout != "escalate":
            raise wrong("`escalate` has no effect without `on_timeout: escalate`", code=ProblemCode.CONFLICTING_KEYS)
        if self.timeout is None and "on_timeout" in self.model_fields_set:
            raise wrong("`on_timeout` has no effect without `timeout`", code=ProblemCode.MISSING_KEY)
        policies = {self.on_timeout, self.escalate.on_timeout if self.escalate else ""}
        unfilled = next((name for name, field in self.form.items() if field.required and field.default is None), "")
        if unfilled and "approve" in policies:
            raise wrong(f"nobody fills in `{unfilled}` when time approves", "give it a `default`")
        quorum: Any = self.quorum
        for approvers in (self.approvers.any_of, self.escalate.to.any_of if self.escalate else []):
            if isinstance(quorum, int) and not any("${{" in who for who in approvers):
                problem = quorum_problem(quorum, approvers)
                if problem:
                    raise wrong(problem, "name more people, or a group")
        return self


class ApprovalModel(Asking):
    """Ask before the step starts; the answer is bound to the step's rendered input."""
