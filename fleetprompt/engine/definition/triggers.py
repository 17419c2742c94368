"""What can start a run, as a workflow file declares it. Expressions here see `body`, `headers`, `query`, `data`
and `trigger`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.cron import parse_cron
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.plan import Trigger
from fleetprompt.engine.core.template import compile_template
from fleetprompt.engine.definition.agents import AgentName
from fleetprompt.engine.definition.fields import (
    TestField,
    VerbatimText,
    definition,
    either,
    needs_one_of,
    one_or_many,
    wrong,
)
from fleetprompt.engine.definition.parts import Part
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.definition.scalars import DurationField, SignalPattern, SizeField, StepId, WorkflowName

DEFAULT_BODY = 1024 * 1024
MAX_BODY = 16 * 1024 * 1024
"""Bytes of the body of a webhook."""
_MISSING = ProblemCode.MISSING_KEY


class TriggerModel(Part):
    """What every trigger may carry."""

    secret_fields: ClassVar[tuple[str, ...]] = ()
    """JSON-pointer prefixes of fields in which secrets may be referred to."""

    type: VerbatimText
    """What kind of trigger it is."""
    id: StepId | None = None
    """How it is called, such as by `fleet schedules pause`; it stays the same one when what makes it go off changes."""
    if_: TestField | None = Field(None, alias="if")
    """Condition; when it does not hold, no run starts."""
    inputs: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Inputs of the run; may hold expressions."""

    def compiled(self) -> Trigger:
        config = self.model_dump(mode="json", by_alias=True, exclude={"type"}, exclude_defaults=True)
        return Trigger(self.type, config)


class ManualTrigger(TriggerModel):
    """Someone starts it: `fleet run`. Also without this trigger a workflow can be started so."""


def _cron(text: str) -> str:
    try:
        parse_cron(text)
    except InvalidInput as error:
        raise wrong(error.message, error.hint) from None
    return text


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise wrong(f"unknown time zone `{text}`", "an IANA name such as `Europe/Berlin` or `UTC`") from None
    return text


class ScheduleTrigger(TriggerModel):
    """At times: by a cron expression, or at a fixed interval."""

    cron: Annotated[str, AfterValidator(_cron)] | None = None
    """minute hour day month weekday, such as `*/15 * * * *`, or one of `@hourly @daily @weekly @monthly @yearly`.
    Sunday is 0 and 7; where both day and weekday are restricted, one of them is enough."""
    every: Annotated[DurationField, Field(ge=1)] | None = None
    """Interval, at least a second; counted from 1970 in UTC, so that `15m` means the quarters of the hour."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """Zone in which cron fields are read: an IANA name."""
    overlap: Literal["skip", "queue", "allow", "cancel_running"] = "skip"
    """What happens when the run before has not ended: no run, one that waits for it, one beside it, or its end."""
    catchup: Literal["none", "latest", "all"] = "none"
    """Which missed times are made up for after the engine was down; of `all` the latest 100."""
    jitter: DurationField = 0.0
    """Each start is delayed by up to this much."""

    @model_validator(mode="after")
    def one_rhythm(self) -> ScheduleTrigger:
        either(self, "cron", "every", "a schedule has either `cron` or `every`")
        return self


def _secret(text: str) -> str:
    try:
        template = compile_template(text)
    except ExpressionError:
        return text  # the expressions of a file are checked by themselves, and told of with their place
    if text and (isinstance(template, str) or template.names or not template.secret_names):
        raise wrong(
            "a secret is not written into the file, it is referred to",
            "write ${{ secrets.NAME }}",
            ProblemCode.BAD_SECRET,
        )
    return text


class WebhookTrigger(TriggerModel):
    """An HTTP request to `/api/webhooks/<path>`."""

    secret_fields = ("/secret",)

    path: str = Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)
    """The last part of the URL."""
    secret: Annotated[str, AfterValidator(_secret)] = ""
    """What the sender signs with: `${{ secrets.NAME }}`. Without it, the API's own tokens are needed."""
    scheme: Literal["any", "standard", "github"] = "any"
    """How it signs: as Standard Webhooks say, as GitHub does, or either."""
    key: str = ""
    """Idempotency key: a second request with the same key starts nothing. Default: the sender's id of the delivery.
    May hold expressions."""
    max_body: Annotated[SizeField, Field(ge=1, le=MAX_BODY)] = DEFAULT_BODY
    """The largest body that is taken."""

    @model_validator(mode="after")
    def signed_with_something(self) -> WebhookTrigger:
        if self.scheme != "any" and not self.secret:
            raise wrong("`scheme` says how a sender signs, and there is no `secret` to sign with", code=_MISSING)
        return self


class SignalTrigger(TriggerModel):
    """A signal whose type matches."""

    match: SignalPattern
    """Type of the signal: `*` is one word, `**` any number of words."""
    key: str = ""
    """Idempotency key; default: the signal's own. May hold expressions."""


class CompletionTrigger(TriggerModel):
    """The end of a run of another workflow, or of an agent's work."""

    model_config = needs_one_of("workflow", "agent")

    workflow: WorkflowName | None = None
    """Name of the other workflow."""
    agent: AgentName | None = None
    """Name of an agent: each time that it has worked on a goal, in whatever run. Either this or `workflow`."""
    status: Annotated[
        list[Literal["completed", "failed", "cancelled", "timeout"]],
        one_or_many(lambda value: isinstance(value, str)),
        Field(min_length=1),
    ] = ["completed"]  # noqa: RUF012
    """How it ended: one or a list. Of an agent `completed` also where it has handed the task over."""

    @model_validator(mode="after")
    def one_subject(self) -> CompletionTrigger:
        either(self, "workflow", "agent", "a completion is that of either a `workflow` or an `agent`")
        return self


class ChatTrigger(TriggerModel):
    """A message of a conversation; `data` holds `message`, `history` and `session`."""


def _watched(text: str) -> str:
    if text.startswith("/"):
        hint = "write it relative to the workflow's file: it has to lead below the project's folder"
        raise wrong("a watch is of files of the project", hint)
    if text.endswith(("/", "/..", "/.")) or text in ("..", ".") or "\0" in text:
        raise wrong("this names no file", "such as inbox/*.csv")
    return text


class WatchTrigger(TriggerModel):
    """A change of files: each of them starts a run. `data` holds `path`, `name`, `event`, `size`, `modified`."""

    paths: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_watched)]],
        one_or_many(lambda value: isinstance(value, str)),
        Field(min_length=1, max_length=100),
    ]
    """Files or glob patterns, relative to the workflow file; `**` is any number of folders. One or a list."""
    events: Annotated[
        list[Literal["created", "modified", "deleted"]],
        one_or_many(lambda value: isinstance(value, str)),
        Field(min_length=1),
    ] = ["created", "modified"]  # noqa: RUF012
    """Which changes count."""
    settle: DurationField = 1.0
    """How long a file must be left alone before a run starts."""
    catchup: Literal["none", "latest", "all"] = "all"
    """Which changes are made up for that nobody was there for."""


TRIGGERS: dict[str, type[TriggerModel]] = {
    "manual": ManualTrigger,
    "schedule": ScheduleTrigger,
    "webhook": WebhookTrigger,
    "signal": SignalTrigger,
    "completion": CompletionTrigger,
    "chat": ChatTrigger,
    "watch": WatchTrigger,
}


def _read_trigger(value: Any, info: ValidationInfo) -> TriggerModel:
    if not isinstance(value, dict):
        hint = f"write {{type: {value}}}" if str(value) in TRIGGERS else "a trigger is a mapping such as {type: manual}"
        raise wrong("this is not a trigger", hint, ProblemCode.WRONG_TYPE)
    body = cast("dict[str, Any]", value)
    known = ", ".join(TRIGGERS)
    if "type" not in body:
        raise wrong("a trigger needs a `type`", f"one of: {known}", ProblemCode.MISSING_KEY)
    model = TRIGGERS.get(str(body["type"]))
    if model is None:
        hint = did_you_mean(str(body["type"]), TRIGGERS) or f"known: {known}"
        error = wrong(f"unknown trigger type `{body['type']}`", hint, ProblemCode.UNKNOWN_TYPE)
        details = InitErrorDetails(type=error, loc=("type",), input=body["type"])
        raise ValidationError.from_exception_data("Trigger", [details])
    return model.model_validate(body, context=info.context)


TriggerField: TypeAlias = Annotated[TriggerModel, PlainValidator(_read_trigger), WithJsonSchema(definition("trigger"))]
