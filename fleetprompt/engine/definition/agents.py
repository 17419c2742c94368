"""Agents as people write them: in files of their own (`agents/<name>.yaml`), or in a workflow under `agents:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from fleetprompt.engine.core.agent import Agent, ApprovalSettings, Function, Limits, MemorySettings, Stuck
from fleetprompt.engine.core.rendered import MAX_APPROVERS
from fleetprompt.engine.definition.fields import Verbatim, VerbatimText, short_form, wrong
from fleetprompt.engine.definition.parts import CostField, Excluding, Part, not_mapping, somebody
from fleetprompt.engine.definition.scalars import DurationField, WorkflowName

MAX_AGENTS = 50
"""Agents that one workflow can name, those included to whom others may hand over."""

NAME = r"^[a-z][a-z0-9_-]{0,63}$"
AgentName: TypeAlias = Annotated[str, Field(pattern=NAME), Verbatim()]
ToolPattern: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_*][A-Za-z0-9_.*-]{0,99}$"), Verbatim()]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$"), Verbatim()]


class AgentGuardrails(Part):
    """Limits of one piece of work of an agent."""

    requests: int | None = Field(None, ge=0)
    """Requests to models."""
    tokens: int | None = Field(None, ge=0)
    """Input and output tokens of all requests."""
    tool_calls: int | None = Field(None, ge=0)
    """Calls of tools."""
    cost_usd: CostField | None = None
    """Spent money in US dollars; uncertain spend counts."""
    on_limit: Literal["fail", "ask", "wrap_up"] = "fail"
    """At a limit: fail, ask people for more, or finish with what there is."""

    def compiled(self) -> Limits:
        return Limits(self.requests, self.tokens, self.tool_calls, self.cost_usd, self.on_limit)


class FunctionModel(Part):
    """A function that is a workflow: a call starts a child run, and its output is the result."""

    workflow: WorkflowName
    """Name of the workflow."""
    description: VerbatimText = ""
    """What the model is told of it."""
    timeout: DurationField | None = None
    """How long the child run may take, its own waiting included."""


FunctionField: TypeAlias = Annotated[FunctionModel, short_form("workflow", lambda value: isinstance(value, str))]


class StuckModel(Part):
    """When an agent counts as stuck, and what happens the second time; the first time it is told."""

    repeats: int = Field(3, ge=2, le=100)
    """Equal calls in a row, or equal failures of one tool."""
    cycles: int = Field(3, ge=2, le=100)
    """Repetitions of a cycle of two to four calls."""
    stale: int = Field(4, ge=2, le=100)
    """Results in a row that hold nothing new."""
    on_stuck: Literal["ask", "fail", "handoff"] = "ask"
    """The second time: ask people, fail, or let another agent go on."""
    handoff: AgentName = ""
    """Who goes on, with `on_stuck: handoff`."""

    @model_validator(mode="after")
    def hands_over_to_somebody(self) -> StuckModel:
        if (self.on_stuck == "handoff") != bool(self.handoff):
            raise wrong("`on_stuck: handoff` and `handoff: AGENT` belong together")
        return self

    def compiled(self) -> Stuck:
        return Stuck(self.repeats, self.cycles, self.stale, self.on_stuck, self.handoff)


class AgentApproversModel(Excluding):
    """Who may decide, and who may not."""

    any_of: list[VerbatimText] = Field(default_factory=list[str], max_length=MAX_APPROVERS)
    """Who may: `user:ana` or `group:oncall`; empty means every operator with the right to approve."""

    @property
    def people(self) -> list[str]:
        return self.any_of


AgentApproversField: TypeAlias = Annotated[
    AgentApproversModel,
    short_form("any_of", not_mapping, {"type": "array", "items": {"type": "string"}, "maxItems": MAX_APPROVERS}),
]


class EscalationModel(Part):
    """Whom to ask when nobody answered in time."""

    to: Annotated[AgentApproversField, AfterValidator(somebody)]
    """Who may decide then."""
    timeout: DurationField | None = None
    """How long they have."""
    on_timeout: Literal["reject", "fail"] = "reject"
    """What happens when they do not answer either."""


class AgentApprovalModel(Part):
    """How people are asked about calls that are not simply allowed."""

    approvers: AgentApproversField = AgentApproversModel.model_validate({})
    """Who may decide: `user:ana` or `group:oncall`; empty means every operator with the right to approve.
    `{any_of: [group:oncall], not: run.starter}`: but whoever started the run."""
    quorum: int = Field(1, ge=1, le=50)
    """How many different people must approve. One rejection rejects."""
    timeout: DurationField | None = None
    """How long a call waits for a decision; then it is rejected. Without it, for ever."""
    escalate: EscalationModel | None = None
    """Whom to ask when nobody answered in time: `{to, timeout, on_timeout}`."""
    batch: Literal["hold_all", "run_reads"] = "hold_all"
    """Whether calls that only read are made while others of the same answer wait for a decision."""

    def compiled(self) -> ApprovalSettings:
        escalate = self.escalate.model_dump(mode="json", by_alias=True) if self.escalate else {}
        who = self.approvers
        return ApprovalSettings(tuple(who.any_of), tuple(who.not_), self.quorum, self.timeout, escalate, self.batch)


class MemoryModel(Part):
    """What an agent remembers from one run to the next."""

    scope: Literal["agent", "workflow", "shared"] = "agent"
    """Whose memory it reads and writes: its own, that of the workflow in which it works, or the one of all."""
    recall: int = Field(0, ge=0, le=20)
    """How many memories that fit the goal are put into its prompt."""
    remember: Literal["nothing", "conversation"] = "nothing"
    """`conversation`: keep goal and result of each piece of its work."""
    keep: DurationField | None = None
    """How long what it writes is kept; without it, until it is forgotten."""

    def compiled(self) -> MemorySettings:
        return MemorySettings(self.scope, self.recall, self.remember, self.keep)


MemoryField: TypeAlias = Annotated[MemoryModel, short_form("scope", lambda value: isinstance(value, str))]


class AgentModel(Part):
    """An agent."""

    description: VerbatimText = ""
    """What it is for; agents that may delegate to it are told so."""
    system: VerbatimText = ""
    """System prompt, as it is: expressions belong into the prompt of a step."""
    model: Annotated[str, Field(max_length=200), Verbatim()] = ""
    """An alias of `fleet.toml`, or a model such as `openai/gpt-4o-mini`; empty: the alias `default`."""
    temperature: float | None = Field(None, ge=0, le=2)
    """How freely the model chooses its words; without it, the provider's default."""
    max_tokens: int = Field(4096, ge=1, le=1_000_000)
    """Of each answer."""
    tools: list[ToolPattern] = Field([], max_length=100)
    """Names or patterns, such as `fs.read` or `git.*`."""
    functions: dict[FunctionName, FunctionField] = Field({}, max_length=50)
    """Functions that are workflows, by the name under which the model calls them."""
    handoffs: list[AgentName] = Field([], max_length=20)
    """Agents to whom it may hand the whole task over."""
    delegates: list[AgentName] = Field([], max_length=20)
    """Agents whom it may give a part of the task, and ask."""
    guardrails: AgentGuardrails | None = None
    """Limits of each piece of its work, within those of the workflow."""
    stuck: StuckModel | None = None
    """When it goes in circles: `{repeats, cycles, stale, on_stuck, handoff}`."""
    approval: AgentApprovalModel | None = None
    """How people are asked about its calls: `{approvers, quorum, timeout, escalate, batch}`."""
    memory: MemoryField | None = None
    """What it remembers from one run to the next: `{scope, recall, remember, keep}`; without it, nothing."""
    policy: dict[str, Any] = Field({}, max_length=20)
    """Rules about calls, as in `policy.toml`; they only narrow what the project allows."""
    labels: dict[str, str] = Field({}, max_length=50)
    """For people and filters."""

    @model_validator(mode="after")
    def remembers_somewhere(self) -> AgentModel:
        called = next((name for name in self.tools if name.startswith("memory.")), "")
        if called and self.memory is None:
            raise wrong(f"the agent calls `{called}` and has no memory", hint="add `memory: {scope: agent}`")
        return self

    def compiled(self, name: str, file: str = "") -> Agent:
        return Agent(
            name=name,
            description=self.description,
            system=self.system,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            tools=tuple(self.tools),
            functions=tuple(
                Function(called, each.workflow, each.description, each.timeout)
                for called, each in self.functions.items()
            ),
            handoffs=tuple(self.handoffs),
            delegates=tuple(self.delegates),
            limits=self.guardrails.compiled() if self.guardrails else Limits(),
            stuck=self.stuck.compiled() if self.stuck else Stuck(),
            approval=self.approval.compiled() if self.approval else ApprovalSettings(),
            memory=self.memory.compiled() if self.memory else None,
            policy=self.policy,
            file=file,
            labels=self.labels,
        )


class AgentFileModel(AgentModel):
    """A file of its own."""

    name: AgentName
    """What the agent is called everywhere; the file is called so, too."""
