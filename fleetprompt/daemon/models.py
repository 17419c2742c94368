"""What goes over the wire: the field names and values that clients rely on. Times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled", "timeout"]
StepStatus = Literal[
    "pending", "running", "waiting", "completed", "failed", "skipped", "cancelled", "timeout", "in_doubt"
]
WorkflowStatus = Literal["draft", "active", "paused", "archived"]

Name = Field(min_length=1, max_length=200)


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    """The name of the HTTP status."""
    status: int
    detail: str
    """What happened, for people."""
    code: str
    """One of the product's error codes."""
    where: str = ""
    """What it is about: `run <id>`, a file, a step."""
    hint: str = ""
    """What to do next."""
    errors: list[dict[str, Any]] = []
    """Each thing that is wrong with what was sent."""


class Body(BaseModel):
    """What is sent to us: a field that nobody knows is a mistake, and told."""

    model_config = ConfigDict(extra="forbid")


class Message(BaseModel):
    """A message of a conversation before this one."""

    role: Literal["user", "assistant", "system"]
    content: str


class TriggerBody(BaseModel):
    """What caused an execution. Fields beyond these go to the workflow as they are."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(default="api", pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    current_message: str | None = Field(default=None, max_length=1_000_000)
    history: list[Message] | None = None


class Execute(Body):
    """A wish to execute a workflow. What is null is not given: clients write out all fields that they have."""

    trigger: TriggerBody | None = None
    user_id: str | None = Field(default=None, max_length=200)
    """Whom the execution belongs to; only where no token says who asks."""
    session_id: str | None = Field(default=None, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    """The conversation that it belongs to."""
    context: dict[str, Any] | None = None
    input: dict[str, Any] | None = None


class Started(BaseModel):
    """An execution that has begun."""

    execution_id: str
    workflow_id: str
    status: Status
    started_at: str | None


class ExecutionStep(BaseModel):
    """One step of an execution."""

    step_id: str
    """Its path: `audit[3].deps` inside composites."""
    status: StepStatus
    started_at: str | None
    completed_at: str | None
    result: Any = None
    error: dict[str, Any] | None = None


class ExecutionHead(BaseModel):
    """An execution as lists have it."""

    id: str
    workflow_id: str
    status: Status
    started_at: str | None
    completed_at: str | None
    created_at: str | None
    waiting_on: str | None = None
    step: str = ""
    """Path of the step that is active or waited for."""
    error: dict[str, Any] | None = None
    owner: str = ""
    project: str = ""
    session_id: str = ""
    trigger: str = ""
    labels: dict[str, str] = {}
    cost_usd: float | None = None
    """None where nothing real was paid for: SIMULATED."""
    tokens: int = 0
    mode: str = ""
    result: Any = None
    """What came out; null until it is over."""


class Execution(ExecutionHead):
    """An execution with its steps."""

    steps: list[ExecutionStep]


class ApprovalRecord(BaseModel):
    """A question to people."""

    id: str
    execution_id: str
    step_id: str
    message: str
    approvers: list[str]
    barred: list[str] = []
    """Who may not decide, whatever `approvers` says: who started the execution, where duties are kept apart."""
    requested_at: str | None
    expires_at: str | None
    status: Literal["pending", "approved", "rejected", "failed", "withdrawn"]
    quorum: int = 1
    digest: str = ""
    """Of exactly what is shown and will be executed: send it back with a decision."""
    show: Any = None
    form: dict[str, Any] = {}
    votes: list[dict[str, Any]] = []


class Decision(Body):
    """An answer to an approval. What is null is not given."""

    decision: Literal["approved", "rejected"]
    comment: str | None = Field(default=None, max_length=10_000)
    values: dict[str, Any] | None = None
    """Fields of the form."""
    digest: str | None = Field(default=None, max_length=128)
    """Of what was shown; another one is refused."""


class Answer(BaseModel):
    """What became of a command."""

    status: Literal["accepted", "refused"]
    execution_id: str = ""
    reason: str = ""
    signal: str = ""


class WorkflowRecord(BaseModel):
    """A workflow."""

    id: str
    name: str
    status: WorkflowStatus
    created_at: str | None
    updated_at: str | None = None
    description: str = ""
    digest: str = ""
    file: str = ""
    inputs: dict[str, Any] = {}


class CreatedWorkflow(WorkflowRecord):
    """A workflow that was taken, and what of a foreign form has no counterpart here."""

    notes: list[dict[str, Any]] = []
    """What of a foreign form is not in it, or works otherwise: `unsupported`, `differs`, `assumed`, `suspicious`."""
    step_ids: dict[str, str] = {}
    """Ids of steps that had to be called otherwise in the file, by those that were sent. Executions show those that
    were sent."""


class CheckedWorkflow(BaseModel):
    """What is to be said about a definition."""

    valid: bool
    name: str = ""
    digest: str = ""
    yaml: str = ""
    """As it would be kept."""
    problems: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    """What of a foreign form has no counterpart here."""


class GraphStep(BaseModel):
    """A step of the graph form."""

    model_config = ConfigDict(extra="allow")

    step_id: str = Field(default="", max_length=200)
    """Made from `name` where it is missing."""
    step_type: Literal[
        "trigger", "agent_execution", "agent", "condition", "loop", "parallel", "human_approval", "tool_call",
        "tool_execution", "data_transform", "data_input", "data_processing", "api_call", "delay",
    ]  # fmt: skip
    name: str = Field(default="", max_length=200)
    parameters: dict[str, Any] = {}
    """Also as `config`."""
    next_steps: list[str] = []
    else_steps: list[str] = []
    """Of conditions and approvals: where the other way leads."""
    dependencies: list[str] = []
    """The same arrows from the other end."""
    input_mapping: dict[str, str] = {}
    conditions: Any = None
    retry: dict[str, Any] | None = None


class GraphWorkflow(BaseModel):
    """A workflow in the graph form of other systems; docs/import.md tells of each field."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(max_length=200)
    description: str = ""
    steps: list[GraphStep] = Field(min_length=1)


class Reason(Body):
    """Why a command is given."""

    reason: str = Field(default="", max_length=2_000)


class RetryBody(Body):
    """From where an execution is done again."""

    from_step: str = Field(default="", max_length=500)


class Resolution(Body):
    """What is known of a step that is in doubt."""

    step_id: str = Field(min_length=1, max_length=500)
    answer: Literal["happened", "run", "skip", "abort"]
    output: Any = None
    comment: str = Field(default="", max_length=2_000)


class PlainSignal(Body):
    """A signal by its fields."""

    type: str = Field(min_length=1, max_length=255)
    data: Any = None
    source: str = Field(default="", max_length=500)
    subject: str = Field(default="", max_length=500)
    key: str = Field(default="", max_length=500)
    """Idempotency key: of two signals with the same one only the first counts."""
    correlation: str = Field(default="", max_length=200)


class PublishedSignal(BaseModel):
    """A signal that is stored."""

    id: str
    type: str
    duplicate: bool
    """Its key was seen before: this is the earlier one."""
    sequence: int


class Outcome(BaseModel):
    """What became of a signal at one place."""

    status: Literal["accepted", "refused"]
    execution_id: str = ""
    workflow_id: str = ""
    """Which it could not start; empty elsewhere."""
    reason: str = ""


class SignalRecord(BaseModel):
    """A signal."""

    id: str
    type: str
    source: str
    time: str | None
    subject: str = ""
    data: Any = None
    key: str = ""
    correlation: str = ""
    causation: str = ""
    by: str = ""
    sequence: int = 0
    routed: bool | None = None
    outcomes: list[Outcome] | None = None


class FactRecord(BaseModel):
    """A fact of a journal."""

    n: int
    seq: int
    at: str | None
    fact: dict[str, Any]


class LogRecord(BaseModel):
    """A line of a step's log."""

    at: str | None
    level: str
    text: str
    data: Any = None
    step_id: str


class AgentWork(BaseModel):
    """One time that an agent was at work."""

    execution_id: str
    workflow_id: str
    step_id: str
    status: Literal["running", "waiting", "completed", "failed", "cancelled"]
    goal: str
    """The beginning of it, in one line."""
    started_at: str | None
    completed_at: str | None
    seconds: float
    """In which it was active, and did not wait."""
    requests: int
    tool_calls: int
    tokens: int
    cost_usd: float | None
    """None where nothing real was paid for: SIMULATED."""
    mode: str
    error_code: str


class AgentFigures(BaseModel):
    """What an agent has done."""

    statuses: dict[str, int]
    """How many times have each status."""
    success_rate: float | None
    """Of those that were not cancelled, from 0 to 1."""
    requests: int
    tool_calls: int
    tokens: int
    cost_usd: float | None
    """None where nothing real was paid for: SIMULATED."""
    uncertain_usd: float
    """What may have been spent besides."""
    mean_seconds: float | None
    p95_seconds: float | None
    """Of those that completed and were not simulated."""
    retries: int
    simulated: int
    last: AgentWork


class AgentRecord(BaseModel):
    """An agent as it is written."""

    id: str
    name: str
    workflow_id: str = ""
    """The workflow whose own it is."""
    description: str = ""
    model: str = ""
    tools: list[str] = []
    definition: dict[str, Any] | None = None
    errors: int = 0
    figures: AgentFigures | None = None


class WrittenAgent(AgentRecord):
    """An agent that was written, and what is to be said about it."""

    notes: list[dict[str, Any]] = []
    """Warnings."""


class MemoryBody(Body):
    """Something to be remembered."""

    text: str = Field(min_length=1, max_length=10_000)
    scope: str = Field(min_length=1, max_length=200)
    type: Literal["conversation", "fact", "learned"] = "fact"
    tags: list[str] = Field(default=[], max_length=20)


class Remembered(BaseModel):
    """Something that is remembered now."""

    id: str
    new: bool
    """It was not known before."""


class MemoryRecord(BaseModel):
    """Something that agents remember."""

    id: str
    scope: str
    type: str
    text: str
    tags: list[str]
    created_at: str | None
    last_accessed_at: str | None
    execution_id: str = ""
    agent: str = ""
    by: str = ""
    untrusted: bool = False
    """Something from outside had been read in the work that wrote it."""


class CostRecord(BaseModel):
    """What was spent on one thing."""

    key: str
    workflow_id: str = ""
    cost_usd: float | None
    """None where nothing real was paid for: SIMULATED."""
    uncertain_usd: float
    tokens: int
    executions: int
    calls: int
    simulated_calls: int


class WebhookAnswer(BaseModel):
    """A request that was let in."""

    id: str | None
    """Id of its signal; None where the trigger's `if` did not want it: nothing was kept."""
    duplicate: bool = False
    """Its id was seen before: this is what came of the earlier one."""
    wanted: bool = True
    execution_ids: list[str] = []
    """Executions that it has started."""


class WebhookRecord(BaseModel):
    """A webhook, and how many requests came since the daemon began."""

    path: str
    url: str
    workflow_id: str
    trigger_id: str
    signed: bool
    scheme: str | None
    """How senders sign; None: they show a token."""
    max_body: int
    accepted: int
    duplicates: int
    filtered: int
    refused: dict[str, int]
    """By why."""


class Health(BaseModel):
    """Whether the daemon does its work."""

    status: Literal["ok", "unwell"]
    version: str
    uptime_seconds: float
    live_executions: int
    switch: Literal["on", "draining", "paused", "off"] = "on"
    """How the switch of the whole fleet stands."""
    troubles: int = 0
    problems: dict[int, int] = {}
    """Problem documents given out since the process began, by status."""


class Ticket(BaseModel):
    """Admits a browser, which cannot send headers, to streams: `?ticket=…`."""

    ticket: str
    expires_at: str


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model without references, to stand where nothing refers to components."""
    schema = model.model_json_schema()
    defined = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            reference = value.get("$ref", "")
            if isinstance(reference, str) and reference.startswith("#/$defs/"):
                return resolved(defined[reference.removeprefix("#/$defs/")])
            return {name: resolved(each) for name, each in value.items()}
        return [resolved(each) for each in value] if isinstance(value, list) else value

    return resolved(schema)
