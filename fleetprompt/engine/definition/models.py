"""A workflow file as a whole: its head, its inputs and its steps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from fleetprompt.engine.core.plan import Input
from fleetprompt.engine.definition.agents import MAX_AGENTS, AgentModel, AgentName
from fleetprompt.engine.definition.fields import VerbatimText, short_form, wrong
from fleetprompt.engine.definition.parts import (
    ConcurrencyModel,
    GuardrailsModel,
    InputType,
    Part,
    Pattern,
    check_default,
)
from fleetprompt.engine.definition.scalars import DurationField, WorkflowName
from fleetprompt.engine.definition.step import Steps, VarName
from fleetprompt.engine.definition.triggers import TriggerField


class InputModel(Part):
    """A value that is given when a run starts. Without a default it is required, unless `required: false`."""

    type: InputType = "any"
    """What kind of value it is."""
    required: bool | None = None
    """Default: required when there is no `default`."""
    default: Any = None
    """The value when none is given."""
    description: VerbatimText = ""
    """What it is for."""
    enum: list[Any] | None = Field(None, min_length=1, max_length=1000)
    """The values it can have."""
    pattern: Pattern = ""
    """Regular expression that a string must match as a whole."""
    minimum: float | None = None
    """The smallest number it can be."""
    maximum: float | None = None
    """The largest number it can be."""

    @model_validator(mode="after")
    def agrees(self) -> InputModel:
        check_default(self.default, self.type, self.enum)
        if self.required and "default" in self.model_fields_set:
            raise wrong("an input with a default is never missing", "remove `required` or `default`")
        return self

    def compiled(self) -> Input:
        given = "default" in self.model_fields_set
        return Input(
            type=self.type,
            required=not given if self.required is None else self.required,
            default=self.default,
            description=self.description,
            enum=tuple(self.enum or ()),
            pattern=self.pattern,
            minimum=self.minimum,
            maximum=self.maximum,
        )


InputField: TypeAlias = Annotated[InputModel, short_form("type", lambda value: isinstance(value, str))]
"""`x: string` is `x: {type: string}`."""
InputName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Label: TypeAlias = Annotated[str, Field(max_length=200)]


class WorkflowModel(Part):
    """A workflow file."""

    name: WorkflowName
    """What the workflow is called everywhere."""
    description: VerbatimText = ""
    """What it is for."""
    triggers: list[TriggerField] = Field(default_factory=list[TriggerField], max_length=100)
    """What starts runs."""
    inputs: dict[InputName, InputField] = Field(default_factory=dict[str, InputField])
    """Values that are given when a run starts."""
    vars: dict[VarName, Any] = Field(default_factory=dict[str, Any])
    """Variables with their first values; steps change them with `set`."""
    agents: dict[AgentName, AgentModel] = Field(default_factory=dict[str, AgentModel], max_length=MAX_AGENTS)
    """Agents of this workflow; others stand in files of their own, `agents/<name>.yaml`."""
    guardrails: GuardrailsModel | None = None
    """Limits of a run."""
    deadline: DurationField | None = None
    """Wall-clock time from the creation of a run to its end, waiting included."""
    output: Any = None
    """The run's output; may hold expressions. Default: the output of the last completed top-level step."""
    on_failure: Literal["compensate", "none"] = "none"
    """`compensate`: completed steps are undone in reverse order when the run fails, is cancelled or times out."""
    concurrency: ConcurrencyModel | None = None
    """A critical section across runs."""
    max_runs: int | None = Field(None, ge=1, le=100_000)
    """How many runs of this workflow may be active at a time."""
    priority: int = Field(0, ge=-100, le=100)
    """Runs with a higher one get slots first."""
    grace: DurationField = 10.0
    """How long work that must not be repeated may go on when the run is being ended."""
    labels: dict[Label, Label] = Field(default_factory=dict[str, str], max_length=50)
    """Labels of every run."""
    retention: DurationField | None = None
    """How long finished runs are kept."""
    steps: Annotated[Steps, Field(min_length=1)]
    """What is done."""
