"""What can be asked about runs, approvals, signals, firings and workflows: one table of fields per list.

The filter language, its completions, its SQL and its documentation are all read from these tables; a new field is
one row here. A `column` is a key of the row that `query_match` is given and a column of the projection.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from fleetprompt.engine.core.facts import RunStatus, WaitingOn

Kind = Literal["enum", "text", "number", "money", "duration", "age", "time", "since", "label"]
"""How a field's value is written and compared:

`enum`      one of `Field.values`, any letter case.
`text`      text with `*` as wildcard.
`number`    a count: `3`, `10k`, `1.5m`, `2g` (thousand, million, thousand million).
`money`     US dollars: `0.5`, `$2`; rows hold integer nano-USD.
`duration`  how long something took: `90s`, `2h30m`; seconds from `column` to `until_column`, or to now without it.
`age`       how long ago `column` was: `10m`.
`time`      a date, a time, `today`, `yesterday`, or a duration before now (after now where `ahead`).
`since`     a `time` that allows `:` alone and means "at or after".
`label`     text under a key: `label.env:prod`; the column holds a mapping from text to text.
"""

ORDERED: frozenset[Kind] = frozenset({"number", "money", "duration", "age", "time"})
"""The kinds that `>`, `>=`, `<` and `<=` apply to."""


class Field(Struct, frozen=True, kw_only=True):
    """One thing that can be asked about a row."""

    name: str
    """What a user writes, in lower case; the canonical text uses it."""
    kind: Kind
    column: str
    doc: str
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """Every value of an `enum`, in lower case."""
    examples: tuple[str, ...] = ()
    """Values offered by completion when nothing better is known."""
    contains: bool = False
    """A text is found anywhere in the column, where other fields compare the whole of it."""
    many: bool = False
    """The column holds a list of texts, and one of them is enough."""
    ahead: bool = False
    """A duration means that long after now, where other times mean before now."""
    until_column: str = ""
    """Where a `duration` ends."""


class FieldSet(Struct, frozen=True, kw_only=True):
    """The fields of one list."""

    name: str
    """Plural noun for messages."""
    fields: tuple[Field, ...]
    search: tuple[str, ...]
    """Text columns in which bare words and regular expressions look."""

    def find(self, name: str) -> Field | None:
        """The field with that name or alias in any letter case; None when there is none."""
        wanted = name.lower()
        return next((field for field in self.fields if wanted == field.name or wanted in field.aliases), None)

    def names(self) -> tuple[str, ...]:
        """Every name and alias, in the order of the table."""
        return tuple(name for field in self.fields for name in (field.name, *field.aliases))


RUN_STATUS: tuple[str, ...] = get_args(RunStatus)
WAITING_ON: tuple[str, ...] = get_args(WaitingOn)
RUN_MODE = ("live", "local", "simulated", "replay", "mixed")
AGENT_STATUS = ("running", "waiting", "completed", "failed", "cancelled")
APPROVAL_STATUS = ("pending", "approved", "rejected", "failed", "withdrawn")
SIGNAL_STATUS = ("pending", "accepted", "refused")
SCHEDULE_STATUS = ("active", "paused", "off")
FIRING_OUTCOME = ("fired", "skipped", "missed", "duplicate", "failed")
DEAD_LETTER_STATUS = ("dead", "replayed", "dismissed")
DEAD_LETTER_KIND = ("workflow", "subscription")
RHYTHMIC = ("schedule", "watch")
DELIVERY_STATUS = ("pending", "delivered", "dead")
WORKFLOW_STATUS = ("draft", "active", "paused", "archived")

_PERIODS = ("15m", "1h", "24h", "7d", "today")
_DAYS = ("today", "yesterday", "1h", "24h")
_LENGTHS = ("30s", "10m", "1h")


def _since(what: str) -> Field:
    return Field(name="since", kind="since", column="created_at", doc=f"{what} at or after", examples=_PERIODS)


def _age(what: str) -> Field:
    return Field(name="age", kind="age", column="created_at", doc=f"how long ago it was {what}", examples=_LENGTHS)


RUN_FIELDS = FieldSet(
    name="runs",
    search=("id", "workflow", "error"),
    fields=(
        Field(name="status", kind="enum", column="status", doc="status of the run", values=RUN_STATUS),
        Field(
            name="waiting",
            kind="enum",
            column="waiting_on",
            doc="what a waiting run waits for",
            aliases=("waiting_on",),
            values=WAITING_ON,
        ),
        Field(name="wf", kind="text", column="workflow", doc="name of the workflow", aliases=("workflow",)),
        Field(name="run", kind="text", column="id", doc="id of the run", aliases=("id",)),
        Field(name="by", kind="text", column="owner", doc="identity that started it", aliases=("owner",)),
        Field(name="label", kind="label", column="labels", doc="label of that key", aliases=("labels",)),
        Field(name="step", kind="text", column="step", doc="part of the current step's path", contains=True),
        Field(name="tool", kind="text", column="tool", doc="a tool it called", many=True),
        Field(name="model", kind="text", column="model", doc="a model it called", many=True),
        Field(name="agent", kind="text", column="agent", doc="an agent that worked in it", many=True),
        Field(name="mode", kind="enum", column="mode", doc="how its words came about", values=RUN_MODE),
        Field(name="error", kind="text", column="error", doc="part of error code, message or step", contains=True),
        Field(name="cost", kind="money", column="cost_nano", doc="money spent, in USD", examples=("0.1", "0.5", "1")),
        Field(
            name="tok",
            kind="number",
            column="tokens",
            doc="tokens used",
            aliases=("tokens",),
            examples=("10k", "100k", "1m"),
        ),
        Field(
            name="dur",
            kind="duration",
            column="started_at",
            until_column="finished_at",
            doc="time from start to end, or until now",
            aliases=("duration",),
            examples=_LENGTHS,
        ),
        _age("created"),
        _since("created"),
        Field(name="started", kind="time", column="started_at", doc="when it started", examples=_DAYS),
        Field(name="attempt", kind="number", column="attempt", doc="number of the attempt", examples=("1", "2", "3")),
        Field(name="host", kind="text", column="host", doc="machine that drives it"),
        Field(name="project", kind="text", column="project", doc="project it belongs to"),
        Field(name="session", kind="text", column="session", doc="conversation it belongs to"),
        Field(name="tenant", kind="text", column="tenant", doc="tenant it belongs to"),
        Field(name="root", kind="text", column="root", doc="id of the topmost run of its family"),
        Field(name="parent", kind="text", column="parent", doc="id of the run that started it"),
        Field(name="retry_of", kind="text", column="retry_of", doc="id of the run it retries"),
        Field(name="plan", kind="text", column="plan", doc="digest of its plan"),
        Field(
            name="trigger",
            kind="text",
            column="trigger",
            doc="kind of trigger that started it",
            examples=("manual", "schedule", "webhook", "signal", "completion", "chat"),
        ),
    ),
)
"""`fleet runs FILTER`, the run list, and every verb that takes a filter."""

APPROVAL_FIELDS = FieldSet(
    name="approvals",
    search=("id", "run", "workflow", "step", "message"),
    fields=(
        Field(name="status", kind="enum", column="status", doc="status of the approval", values=APPROVAL_STATUS),
        Field(name="run", kind="text", column="run", doc="id of the run that asks"),
        Field(name="wf", kind="text", column="workflow", doc="workflow of that run", aliases=("workflow",)),
        Field(name="step", kind="text", column="step", doc="part of the asking step's path", contains=True),
        Field(name="approver", kind="text", column="approvers", doc="identity or group that may decide", many=True),
        _age("requested"),
        Field(
            name="expires", kind="time", column="expires_at", doc="when it expires", ahead=True, examples=("10m", "1h")
        ),
    ),
)

SIGNAL_FIELDS = FieldSet(
    name="signals",
    search=("id", "type", "source", "key"),
    fields=(
        Field(name="type", kind="text", column="type", doc="type of the signal"),
        Field(name="source", kind="text", column="source", doc="where it came from"),
        Field(name="run", kind="text", column="run", doc="a run it started or reached", many=True),
        Field(name="key", kind="text", column="key", doc="idempotency key"),
        Field(name="status", kind="enum", column="status", doc="what became of it", values=SIGNAL_STATUS),
        Field(name="correlation", kind="text", column="correlation", doc="correlation id"),
        Field(
            name="dead",
            kind="text",
            column="dead",
            doc="a workflow or subscription that it did not get to, and still has to",
            many=True,
            examples=("*",),
        ),
        Field(name="at", kind="time", column="created_at", doc="when it was sent", examples=_DAYS),
        _age("received"),
        _since("received"),
    ),
)

DEAD_LETTER_FIELDS = FieldSet(
    name="dead letters",
    search=("id", "type", "target", "reason"),
    fields=(
        Field(name="status", kind="enum", column="status", doc="whether it is dead still", values=DEAD_LETTER_STATUS),
        Field(name="kind", kind="enum", column="kind", doc="what it was to get to", values=DEAD_LETTER_KIND),
        Field(
            name="target",
            kind="text",
            column="target",
            doc="name of that workflow or subscription",
            aliases=("wf", "workflow", "subscription"),
        ),
        Field(name="trigger", kind="text", column="trigger", doc="id of the trigger that it was for"),
        Field(name="type", kind="text", column="type", doc="type of the signal"),
        Field(name="source", kind="text", column="source", doc="where the signal came from"),
        Field(name="signal", kind="text", column="signal", doc="id of the signal"),
        Field(name="code", kind="text", column="code", doc="code of the error", aliases=("error",)),
        Field(name="attempts", kind="number", column="attempts", doc="how often it was tried"),
        _age("tried"),
        _since("tried"),
    ),
)

DELIVERY_FIELDS = FieldSet(
    name="deliveries",
    search=("id", "type", "subscription", "reason"),
    fields=(
        Field(name="status", kind="enum", column="status", doc="how far it has come", values=DELIVERY_STATUS),
        Field(name="subscription", kind="text", column="subscription", doc="name of the subscription"),
        Field(name="type", kind="text", column="type", doc="type of the signal"),
        Field(name="source", kind="text", column="source", doc="the run that has sent it, and its step"),
        Field(name="signal", kind="text", column="signal", doc="id of the signal"),
        Field(name="attempts", kind="number", column="attempts", doc="how often it was tried"),
        Field(name="http", kind="number", column="http", doc="status of the last answer; 0 without one"),
        Field(name="due", kind="time", column="due", doc="when it is tried next", ahead=True, examples=_LENGTHS),
        _age("made"),
        _since("made"),
    ),
)

AGENT_FIELDS = FieldSet(
    name="agents",
    search=("name", "description"),
    fields=(
        Field(name="name", kind="text", column="name", doc="name of the agent", aliases=("agent",)),
        Field(
            name="status",
            kind="enum",
            column="status",
            doc="how its last execution went, `idle` without one, `broken` where it cannot be used",
            values=(*AGENT_STATUS, "idle", "broken"),
        ),
        Field(name="model", kind="text", column="model", doc="alias or model it works with"),
        Field(name="tool", kind="text", column="tools", doc="a tool it is given, as it is written", many=True),
        Field(name="wf", kind="text", column="workflow", doc="workflow it is written in", aliases=("workflow",)),
    ),
)

AGENT_SESSION_FIELDS = FieldSet(
    name="executions of agents",
    search=("run", "agent", "workflow", "goal"),
    fields=(
        Field(name="status", kind="enum", column="status", doc="status of the execution", values=AGENT_STATUS),
        Field(name="agent", kind="text", column="agent", doc="name of the agent"),
        Field(name="wf", kind="text", column="workflow", doc="workflow of its run", aliases=("workflow",)),
        Field(name="run", kind="text", column="run", doc="id of its run"),
        Field(name="step", kind="text", column="path", doc="part of the path of its step", contains=True),
        Field(name="parent", kind="text", column="parent", doc="agent that delegated to it"),
        Field(name="goal", kind="text", column="goal", doc="part of its goal", contains=True),
        Field(name="mode", kind="enum", column="mode", doc="how its words came about", values=RUN_MODE),
        Field(name="error", kind="text", column="error_code", doc="code of its error"),
        Field(name="cost", kind="money", column="cost_nano", doc="money spent, in USD", examples=("0.1", "0.5", "1")),
        Field(name="tok", kind="number", column="tokens", doc="tokens used", aliases=("tokens",), examples=("10k",)),
        Field(
            name="dur",
            kind="duration",
            column="started_at",
            until_column="ended_at",
            doc="time from start to end, or until now",
            aliases=("duration",),
            examples=_LENGTHS,
        ),
        _age("begun"),
        _since("begun"),
    ),
)

FIRING_FIELDS = FieldSet(
    name="firings",
    search=("workflow", "trigger", "scheduled", "reason"),
    fields=(
        Field(
            name="outcome",
            kind="enum",
            column="outcome",
            doc="what became of it",
            aliases=("status",),
            values=FIRING_OUTCOME,
        ),
        Field(name="wf", kind="text", column="workflow", doc="name of the workflow", aliases=("workflow",)),
        Field(name="trigger", kind="text", column="trigger", doc="id of the trigger"),
        Field(name="kind", kind="text", column="kind", doc="kind of the trigger", examples=("schedule", "watch")),
        Field(name="scheduled", kind="text", column="scheduled", doc="the local minute it was for"),
        Field(name="run", kind="text", column="run", doc="id of the run that it started"),
        Field(name="signal", kind="text", column="signal", doc="id of the signal that it sent"),
        Field(name="by", kind="text", column="by", doc="identity that asked for it"),
        Field(name="due", kind="time", column="due", doc="when it was to fire", examples=_DAYS),
        _age("recorded"),
        _since("recorded"),
    ),
)

SCHEDULE_FIELDS = FieldSet(
    name="schedules",
    search=("name", "rhythm"),
    fields=(
        Field(name="name", kind="text", column="name", doc="workflow and trigger, such as deploy/nightly"),
        Field(name="wf", kind="text", column="workflow", doc="name of the workflow", aliases=("workflow",)),
        Field(name="trigger", kind="text", column="trigger", doc="id of the trigger"),
        Field(name="kind", kind="enum", column="kind", doc="what makes it fire: times, or files", values=RHYTHMIC),
        Field(
            name="status",
            kind="enum",
            column="status",
            doc="whether it fires; `off` where its workflow is not active",
            values=SCHEDULE_STATUS,
        ),
        Field(name="timezone", kind="text", column="timezone", doc="zone of its times"),
        Field(name="overlap", kind="text", column="overlap", doc="what happens beside a run that goes on"),
        Field(name="catchup", kind="text", column="catchup", doc="which missed times are made up for"),
        Field(name="next", kind="time", column="next_at", doc="when it fires next", ahead=True, examples=_LENGTHS),
        Field(name="last", kind="time", column="last_at", doc="when it fired last", examples=_DAYS),
        Field(name="outcome", kind="enum", column="outcome", doc="what became of that", values=FIRING_OUTCOME),
    ),
)

WORKFLOW_FIELDS = FieldSet(
    name="workflows",
    search=("name", "description"),
    fields=(
        Field(name="name", kind="text", column="name", doc="name of the workflow", aliases=("wf", "workflow")),
        Field(name="status", kind="enum", column="status", doc="status of the workflow", values=WORKFLOW_STATUS),
    ),
)
