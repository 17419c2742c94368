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
    """A wish to execute a workflow."""

    trigger: TriggerBody = TriggerBody.model_validate({})
    user_id: str = Field(default="", max_length=200)
    """Whom the execution belongs to; only where no token says who asks."""
    session_id: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    """The conversation that it belongs to."""
    context: dict[str, Any] = {}
    input: dict[str, Any] = {}


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


class Execution(ExecutionHead):
    """An execution with its steps."""

    steps: list[ExecutionStep]
    result: Any = None


class ApprovalRecord(BaseModel):
    """A question to people."""

    id: str
    execution_id: str
    step_id: str
    message: str
    approvers: list[str]
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
    """An answer to an approval."""

    decision: Literal["approved", "rejected"]
    comment: str = Field(default="", max_length=10_000)
    values: dict[str, Any] = {}
    """Fields of the form."""
    digest: str = Field(default="", max_length=128)
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
    description: str = ""
    digest: str = ""
    file: str = ""
    inputs: dict[str, Any] = {}


class CreatedWorkflow(WorkflowRecord):
    """A workflow that was taken, and what of a foreign form has no counterpart here."""

    notes: list[dict[str, Any]] = []


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


class Health(BaseModel):
    """Whether the daemon does its work."""

    status: Literal["ok", "unwell"]
    version: str
    uptime_seconds: float
    live_executions: int
    troubles: int = 0


class Ticket(BaseModel):
    """Admits a browser, which cannot send headers, to streams: `?ticket=…`."""

    ticket: str
    expires_at: str
