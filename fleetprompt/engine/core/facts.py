"""The facts a run can record: past tense, append-only, self-sufficient. The list is closed, its names are permanent.

A fact never changes meaning; fields are only added, with a default. `path` names a step instance (`audit#2[3].deps`),
`at` is seconds since the epoch as the engine's clock gave it when the fact was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from fleetprompt.engine.core.errors import Failure

RunStatus = Literal["pending", "running", "waiting", "completed", "failed", "cancelled", "timeout"]
StepStatus = Literal[
    "pending", "running", "waiting", "completed", "failed", "skipped", "cancelled", "timeout", "in_doubt"
]
WaitingOn = Literal["approval", "timer", "signal", "child", "slot", "budget", "paused", "in_doubt"]
ASKS = frozenset({"approval", "budget"})
"""What is waited for that people decide."""
Answer = Literal["happened", "run", "skip", "abort"]


class Blob(Struct, frozen=True, array_like=True):
    """Where a value over 64 KiB is kept: its digest and its size in bytes."""

    digest: str
    size: int


class LargeBlob(Blob, frozen=True, array_like=True):
    """Where a mapping is kept that is too large to be loaded, and its small members. Facts say it in two fields."""

    head: dict[str, Any]


def told(output: Any) -> dict[str, Any]:
    """An output as the fields of a fact: `output`, or `blob` for one that was spilled."""
    if isinstance(output, LargeBlob):
        return {"output": output.head, "blob": Blob(output.digest, output.size)}
    return {"blob": output} if isinstance(output, Blob) else {"output": output}


def output_of(fact: StepSucceeded | StepResolved | RunFinished) -> Any:
    """The output that a fact tells: a value, or the `Blob` that holds it."""
    if fact.blob is None:
        return fact.output
    return LargeBlob(fact.blob.digest, fact.blob.size, fact.output) if fact.output is not None else fact.blob


class Source(Struct, frozen=True, omit_defaults=True):
    """The file a run was started from."""

    file: str = ""
    """From the project's folder where it lies in it, else absolute."""
    digest: str = ""
    """Digest of the YAML text, which is kept as a blob."""
    commit: str = ""
    """Git commit of the file's repository; empty outside one."""
    dirty: bool = False
    """The file differed from that commit."""


_KEPT: Final[Mapping[str, str]] = {"group": "@", "schedule": "@schedule"}


class Slot(Struct, frozen=True, array_like=True):
    """A claim a run or step must hold to be active: at most `limit` units of `scope` in all."""

    scope: str
    limit: int
    amount: int = 1

    @property
    def place(self) -> str:
        """Under which path a run's own slot is held. What is not given back while the run waits has a path of its own:
        its group, and its turn in a schedule, which is over when the run has ended."""
        return _KEPT.get(self.scope.partition(":")[0], "")


class Within(Struct, frozen=True, omit_defaults=True):
    """A budget above a run: what a child spends counts there as well. Amounts as in guardrails; None: no limit."""

    scope: str
    requests: int | None = None
    tokens: int | None = None
    tool_calls: int | None = None
    cost_nano: int | None = None
    on_limit: Literal["fail", "ask", "wrap_up"] = "fail"


class Fact(Struct, frozen=True, tag=True, omit_defaults=True, kw_only=True):
    at: float = 0.0


class RunCreated(Fact, frozen=True, tag="RunCreated"):
    run: str
    plan: str
    workflow: str
    tenant: str = "default"
    inputs: Any = None
    trigger: Any = None
    """What started it: `{kind, signal, type, data}`."""
    root: str = ""
    """The topmost ancestor's id; empty when this run is its own root."""
    key_root: str = ""
    """What idempotency keys are derived from; empty means the root. A retry keeps its original's."""
    parent: str = ""
    parent_path: str = ""
    depth: int = 0
    retry_of: str = ""
    correlation: str = ""
    owner: str = ""
    project: str = ""
    session: str = ""
    priority: int = 0
    labels: dict[str, str] = {}
    source: Source = Source()
    children: dict[str, str] = {}
    """Pinned child workflows: name to plan digest."""
    deadline: float | None = None
    within: tuple[Within, ...] = ()
    """The budgets of the step that started it, and of what that is in, the widest first."""
    starters: tuple[str, ...] = ()
    """Everybody who has had a part in starting it, as they were authenticated: of the topmost run, by the signals that
    led to it, by retries. Empty for what only a clock started."""
    slots: tuple[Slot, ...] = ()
    last_run: Any = None
    blob: Blob | None = None
    """Where `inputs` are kept when they are large."""
    traceparent: str = ""
    """The caller's place in a trace (W3C) that the run goes on with; empty: it is a trace of its own."""
    links: tuple[str, ...] = ()
    """Places in other traces that it follows from: of its parent, of the signal that started it, of its original."""


class RunStarted(Fact, frozen=True, tag="RunStarted"):
    """The run holds its slots from here until nothing in it is active."""


class RunForked(Fact, frozen=True, tag="RunForked"):
    """The facts before this one were copied from another run; what follows is new."""

    run: str
    upto: int
    generation: int = 0
    steps: tuple[str, ...] = ()
    """Paths that will be performed again."""
    by: str = ""
    line: tuple[str, ...] = ()
    """Ids of the runs in which generation 1, 2 … began; the last is this run. Two retries of a run are two orders."""


class RunPaused(Fact, frozen=True, tag="RunPaused"):
    by: str = ""
    reason: str = ""


class RunResumed(Fact, frozen=True, tag="RunResumed"):
    by: str = ""


class RunCancelRequested(Fact, frozen=True, tag="RunCancelRequested"):
    """Someone, or a limit, ends the run early; `status` is how it will finish."""

    by: str = ""
    reason: str = ""
    status: Literal["cancelled", "timeout", "failed"] = "cancelled"
    error: Failure | None = None


class RunFinished(Fact, frozen=True, tag="RunFinished"):
    status: RunStatus
    output: Any = None
    error: Failure | None = None
    blob: Blob | None = None


class StepStarted(Fact, frozen=True, tag="StepStarted"):
    """The intent: from here on the world may have been changed."""

    path: str
    attempt: int = 1
    generation: int = 0
    input: Any = None
    """The rendered configuration. Absent on a later attempt, which uses the first one's."""
    secrets: dict[str, list[Any]] = {}
    """Where secrets belong in `input`: JSON pointer to parts, a reference being `{"secret": NAME}`."""
    blob: Blob | None = None
    role: Literal["step", "compensation"] = "step"
    slot: Slot | None = None
    """The claim taken together with this fact."""
    approval: str = ""
    """The approval that is used up by this start."""


class StepNoted(Fact, frozen=True, tag="StepNoted"):
    """A durable sub-result inside a step. Of a large value the small members stay beside its `blob`."""

    path: str
    kind: str
    key: str = ""
    value: Any = None
    attempt: int = 1
    blob: Blob | None = None


class StepWaiting(Fact, frozen=True, tag="StepWaiting"):
    """The step holds nothing and waits for the world."""

    path: str
    on: WaitingOn
    until: float | None = None
    ref: str = ""
    """Child run id, signal pattern or claim scope, by `on`."""
    slot: Slot | None = None
    on_conflict: str = ""
    key: str = ""
    """`signal`: only a signal whose subject equals it is heard."""
    call: str = ""
    """`child`: key of the call inside the step that waits for it."""
    workflow: str = ""
    """`child`: its workflow, where the step itself does not name it."""


class StepSucceeded(Fact, frozen=True, tag="StepSucceeded"):
    path: str
    attempt: int = 1
    output: Any = None
    port: str = ""
    vars: dict[str, Any] = {}
    usage: dict[str, int] = {}
    blob: Blob | None = None


class StepFailed(Fact, frozen=True, tag="StepFailed"):
    path: str
    error: Failure
    attempt: int = 1
    retry_at: float | None = None
    """When the next attempt is due; None: this was the last."""
    port: str = ""
    usage: dict[str, int] = {}


class StepSkipped(Fact, frozen=True, tag="StepSkipped"):
    path: str
    reason: Literal["if", "dead", "conflict", "operator"] = "if"


class StepCancelled(Fact, frozen=True, tag="StepCancelled"):
    path: str
    reason: str = ""
    unknown: bool = False
    """The work was interrupted and may have taken effect."""


class StepExpanded(Fact, frozen=True, tag="StepExpanded"):
    """A composite opened its blocks: named branches, or loop iterations up to `count`."""

    path: str
    branches: tuple[str, ...] = ()
    items: Any = None
    count: int = 0
    blob: Blob | None = None


class StepInDoubt(Fact, frozen=True, tag="StepInDoubt"):
    """The effect may or may not have happened."""

    path: str
    attempt: int = 1
    reason: str = ""
    call: str = ""
    """Key of the call inside the step that it is about; empty: the step itself."""


class StepResolved(Fact, frozen=True, tag="StepResolved"):
    path: str
    answer: Answer
    output: Any = None
    by: str = ""
    comment: str = ""
    blob: Blob | None = None
    vars: dict[str, Any] = {}


class ApprovalRequested(Fact, frozen=True, tag="ApprovalRequested"):
    path: str
    id: str
    digest: str
    """SHA-256 over exactly what is shown and will be executed."""
    message: str = ""
    show: Any = None
    approvers: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    """Who may not decide, in the words of the file: `run.starter`."""
    barred: tuple[str, ...] = ()
    """The identities that these words stand for, in this run."""
    quorum: int = 1
    form: dict[str, Any] = {}
    until: float | None = None
    on_timeout: str = "reject"
    level: int = 0
    """0 at first; raised by one at each escalation."""
    input: Any = None
    """For a gated step: the input that an approval releases."""
    secrets: dict[str, list[Any]] = {}
    blob: Blob | None = None
    call: str = ""
    """Key of the call inside the step that it is about; empty: the step itself."""
    escalate: dict[str, Any] = {}
    """For a call: whom to ask next, `{to, timeout, on_timeout}`; a step has it in its plan."""
    about: str = ""
    """What a running step asks: `tool` (may it make this call), `question`, `budget` (may it spend more), `stuck`,
    `definition` (may it go on, changed as it is)."""


class ApprovalVoted(Fact, frozen=True, tag="ApprovalVoted"):
    path: str
    id: str
    by: str
    decision: Literal["approved", "rejected"]
    comment: str = ""
    values: dict[str, Any] = {}
    via: str = ""
    grant: Literal["", "run", "workflow"] = ""
    """Calls like this one need not be asked about any more, in this run or in all runs of the workflow."""
    ends: bool = False
    """A rejection after which the step does not go on, but fails."""
    edited: str = ""
    """SHA-256 of the call as these values change it (`core/edited.py`); empty where they change nothing."""
    previewed: str = ""
    """SHA-256 of what that call would do, as whoever decided was shown it; empty where nobody could look."""


class ApprovalDecided(Fact, frozen=True, tag="ApprovalDecided"):
    path: str
    id: str
    decision: Literal["approved", "rejected", "failed", "withdrawn"]
    by: tuple[str, ...] = ()
    reason: str = ""
    """`vote`, `timeout`, `cancelled`, `ended` by the rejection of something else that was asked, or `raised`: the limit
    that it was about, by whoever is named."""
    comment: str = ""
    values: dict[str, Any] = {}
    grant: Literal["", "run", "workflow"] = ""
    ends: bool = False
    edited: str = ""
    previewed: str = ""
    """Of the call that may be made, as in `ApprovalVoted`: another one is not what was approved."""


class BudgetRaised(Fact, frozen=True, tag="BudgetRaised"):
    scope: str
    limit: str
    amount: int
    by: str = ""
    reason: str = ""


AnyFact = (
    RunCreated
    | RunStarted
    | RunForked
    | RunPaused
    | RunResumed
    | RunCancelRequested
    | RunFinished
    | StepStarted
    | StepNoted
    | StepWaiting
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | StepCancelled
    | StepExpanded
    | StepInDoubt
    | StepResolved
    | ApprovalRequested
    | ApprovalVoted
    | ApprovalDecided
    | BudgetRaised
)
