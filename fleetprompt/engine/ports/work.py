"""Work that can be put aside: what an agent step is given of the run it belongs to, and how it records what it does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeAlias

from msgspec import Struct

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.ports.budget import Allowance, BudgetRefused
from fleetprompt.engine.ports.memory import Memories
from fleetprompt.engine.ports.model import Delta, Models, ModelTarget
from fleetprompt.engine.ports.tool import Judgement, Preview, Startable, Tool, ToolInfo
from fleetprompt.engine.ports.world import Context


class Note(Struct, frozen=True):
    """Something that was recorded; `value` is whole, also where it was spilled."""

    kind: str
    key: str
    value: Any
    attempt: int = 1


NoteValue: TypeAlias = tuple[str, str, Any]
"""Kind, key and value of something to record."""


class Decision(Struct, frozen=True, kw_only=True):
    """What became of a question."""

    call: str
    about: str
    decision: str
    """Empty while it is open; `approved`, `rejected`, `failed` or `withdrawn`."""
    at: float = 0.0
    """When that was, in seconds since the epoch."""
    by: tuple[str, ...] = ()
    reason: str = ""
    comment: str = ""
    values: Mapping[str, Any] = {}
    grant: str = ""
    ends: bool = False
    input: Any = None
    """What was released."""
    id: str = ""
    edited: str = ""
    previewed: str = ""
    """Digests of the changed call that was approved, see `core/edited.py`; empty: of none, or nobody was shown it."""


class Question(Struct, frozen=True, kw_only=True):
    """What is asked of people in the middle of the work."""

    call: str
    about: str
    """`tool`, `question`, `budget`, `stuck` or `definition`."""
    message: str
    show: Any = None
    input: Any = None
    form: dict[str, Any] = {}
    approvers: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    """Who may not decide, see `ApprovalRequested.excludes`."""
    quorum: int = 1
    seconds: float | None = None
    on_timeout: str = "reject"
    escalate: dict[str, Any] = {}
    notes: tuple[NoteValue, ...] = ()
    """What is recorded together with it, when it is asked for the first time."""


class BudgetWait(Protocol):
    """A request that may have to wait for budget: to be entered before it is tried, and left when it is made or given
    up."""

    def __enter__(self) -> BudgetWait: ...
    def __exit__(self, *_: object) -> None: ...

    async def freed(self, refused: BudgetRefused) -> bool:
        """Wait until it may fit; False at once where nobody is left who could give back what it lacks."""
        ...


class WorkContext(Context, Protocol):
    """A step type's door to the world, for work that can be put aside."""

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents that the plan names."""
        ...

    @property
    def models(self) -> Models: ...

    def credential(self, target: ModelTarget) -> str:
        """The key for a model, at the last moment; empty for one that needs none. Raises `NotFound`."""
        ...

    @property
    def workspace(self) -> Path:
        """Folder in which tools work."""
        ...

    @property
    def allowances(self) -> Sequence[Allowance]:
        """The scopes in which this step spends, the widest first, and what they allow."""
        ...

    def on_limit(self, scope: str) -> str:
        """What happens at the limits of a scope: `fail`, `ask` or `wrap_up`."""
        ...

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """Questions of this attempt by the call they are about."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """The variables that the workflow declares, as they are now."""
        ...

    @property
    def codebase(self) -> str:
        """The folder in which it works, and the Git commit of the workflow's file: `shop@1f2e3d4c5b6a`, with `+` where
        the file differs from that."""
        ...

    @property
    def names(self) -> Mapping[str, Any]:
        """What scripts and recordings see of the run: inputs, workflow, step."""
        ...

    async def notes(self) -> list[Note]:
        """Everything that was recorded about this step, oldest first, of all attempts."""
        ...

    async def record(self, *notes: NoteValue, reserves: Collection[str] = ()) -> Sequence[NoteValue]:
        """Record notes together; returns them as they were recorded, without secrets, when they are durable. Whoever
        goes on goes on from these. `reserves` are the ids of the reservations among them. Raises `BudgetRefused` where
        one does not fit: then nothing was recorded."""
        ...

    def budget_wait(self, key: str, *, finishes: bool = False) -> BudgetWait:
        """For the request of a key, which may have to wait for budget. `finishes`: where that is in vain, its agent
        finishes with what it has."""
        ...

    async def go_on(self) -> None:
        """To be awaited before anything new is begun. While the run is paused, the engine closes or somebody has
        stopped everything, the work is put aside here; it is then begun again from its notes."""
        ...

    async def ask(self, questions: Sequence[Question]) -> NoReturn:
        """Put the work aside until people have answered."""
        ...

    async def wait_for_child(self, call: str, workflow: str, timeout: float | None) -> NoReturn:
        """Put the work aside until the child run has ended whose inputs the note `tool.started` of the call holds."""
        ...

    async def start_child(self, call: str, workflow: str) -> str:
        """Start a run that nobody waits for, with what the note `tool.started` of the call holds; its id. Once for each
        call. Raises `Refused`."""
        ...

    async def startable(self, workflow: str, inputs: Mapping[str, Any], own: Sequence[Allowance] = ()) -> Startable:
        """See `ToolRoom.startable`; `own`: limits besides those of the step."""
        ...

    async def pinned(self, workflow: str) -> Plan | None:
        """The plan of a workflow that this run may start, as it was when the run began; None where it was not known
        then."""
        ...

    async def wait_until(self, at: float) -> NoReturn:
        """Put the work aside until a time, in seconds since the epoch."""
        ...

    async def doubt(self, call: str, reason: str) -> NoReturn:
        """Put the work aside until an operator has said whether a call happened."""
        ...

    def show(self, call: str, delta: Delta) -> None:
        """Let those who watch see a piece of an answer; nobody keeps it."""
        ...

    async def judge(self, agent: Agent, info: ToolInfo, preview: Preview, *, tainted: bool) -> Judgement:
        """What the policy says about a call of an agent, and what people have granted for the run or its workflow.
        `tainted`: something from outside was read in this work."""
        ...

    def switched_off(self, name: str) -> str:
        """By which rule nobody may call a tool now, or ask a model (`model`); empty where none says so. Looked at anew
        each time. Raises `InvalidInput` for a policy that cannot be read."""
        ...

    def tool_settings(self, name: str) -> Mapping[str, Any]:
        """What the project's settings say about a tool."""
        ...

    async def tools(self, patterns: Sequence[str]) -> Sequence[Tool]:
        """The tools with these names, or with names that match, such as `git.*`. Raises `NotFound`, `InvalidInput`,
        `Refused`."""
        ...

    def secret(self, name: str) -> str:
        """The value of a secret, at the last moment. Raises `NotFound`."""
        ...

    @property
    def memories(self) -> Memories:
        """What agents remember."""
        ...

    def redact(self, text: str) -> str:
        """A text without secrets."""
        ...

    async def whole(self, value: Mapping[str, Any]) -> Any:
        """The `output` of a value, also where it was spilled to its `blob`."""
        ...

    async def keep(self, content: bytes, *, with_run: bool = False) -> str:
        """Keep bytes for ever, or as long as the run is kept; their SHA-256 in hexadecimal digits."""
        ...

    async def kept(self, digest: str) -> bytes:
        """Bytes that were kept. Raises `NotFound`."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...
