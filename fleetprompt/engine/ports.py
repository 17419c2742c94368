"""What can be replaced, in one file: the store and its parts, the clock, and a step type's door to the world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.core.facts import AnyFact, RunStatus, Slot, WaitingOn
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.signal import Result, Signal

# ---------------------------------------------------------------- the journal


class Conflict(FleetError):
    """The run's journal moved on: another writer appended first."""


class ClaimRefused(FleetError):
    """A claim that the facts depend on is held by others."""

    def __init__(self, slot: Slot, holders: Sequence[Holder]) -> None:
        super().__init__(f"{slot.scope} is taken: {len(holders)} of {slot.limit}")
        self.slot = slot
        self.holders = tuple(holders)


class Holder(Struct, frozen=True):
    """Who holds a claim: a run, and the step in it (empty: the run itself)."""

    run: str
    path: str
    amount: int = 1
    at: float = 0.0


class Take(Struct, frozen=True):
    """A claim to take in the same transaction as the facts. `at` most `slot.limit` units in all, else refused."""

    slot: Slot
    path: str = ""


class Wait(Struct, frozen=True):
    """A step that waits for a signal, a child run or a slot: a row by which the bus finds it."""

    path: str
    on: WaitingOn
    ref: str = ""
    """Signal pattern, child run id or claim scope."""
    key: str = ""


class RunHead(Struct, frozen=True, kw_only=True):
    """The projection of a run: what lists show, and what the engine needs to wake it. All times are epoch seconds."""

    id: str
    tenant: str
    workflow: str
    plan: str
    status: RunStatus
    n: int
    """How many facts its journal holds."""
    created_at: float
    updated_at: float
    waiting_on: WaitingOn | None = None
    started_at: float | None = None
    finished_at: float | None = None
    wake_at: float | None = None
    step: str = ""
    """Path of the step that is active or waited for now."""
    steps_done: int = 0
    attempt: int = 1
    error_code: str = ""
    error_message: str = ""
    error_step: str = ""
    cost_nano: int = 0
    tokens: int = 0
    root: str = ""
    parent: str = ""
    parent_path: str = ""
    retry_of: str = ""
    correlation: str = ""
    owner: str = ""
    project: str = ""
    session: str = ""
    trigger: str = ""
    """Kind of the trigger: manual, schedule, signal, completion, workflow …"""
    host: str = ""
    priority: int = 0
    labels: dict[str, str] = {}
    tools: tuple[str, ...] = ()
    """Names of the tools it called, for the filter `tool:`."""
    models: tuple[str, ...] = ()
    """Names of the models it called, for the filter `model:`."""


class Append(Struct, frozen=True, kw_only=True):
    """One step of one run: facts, and everything that must become true in the same transaction."""

    run: str
    tenant: str
    after: int
    """How many facts the journal must hold before; else `Conflict`."""
    facts: tuple[AnyFact, ...]
    head: RunHead
    takes: tuple[Take, ...] = ()
    releases: tuple[str, ...] = ()
    """Paths whose claims end (empty path: the run's own); `"*"` ends all of the run's claims."""
    waits: tuple[Wait, ...] = ()
    unwaits: tuple[str, ...] = ()
    """Paths that no longer wait."""
    signals: tuple[Signal, ...] = ()
    """Signals that leave the run; stored as new, for the bus to route."""
    received: Signal | None = None
    """The signal these facts answer, when it is not in the store yet (a start in process)."""
    results: tuple[Result, ...] = ()
    """Answers to signals, written beside them."""
    routed: tuple[str, ...] = ()
    """Signals that are done with once this is durable."""
    blobs: tuple[tuple[str, bytes], ...] = ()
    """Values that were spilled: digest and JSON."""
    encoded: tuple[bytes, ...] = ()
    """The facts' stored form, where the caller has it already; empty: the store encodes them."""
    work: float = 0.0
    """Seconds of finished work that would be done again if this entry were lost."""


class Appended(Struct, frozen=True):
    """Durable. `seq` is the global position of the first fact."""

    seq: int


class Stored(Struct, frozen=True):
    """A fact as it stands in the journal."""

    seq: int
    run: str
    n: int
    fact: AnyFact


class Corrupt(Struct, frozen=True):
    """A journal row that cannot be read. The run it belongs to is held; the others go on."""

    seq: int
    run: str
    n: int
    reason: str


class Journal(Protocol):
    """The one log. Appends of many runs share a transaction; order of `seq` is order of commit."""

    def post(self, entry: Append, then: Callable[[Appended | Exception], None]) -> None:
        """Make an entry durable, and call `then` from the loop when it is, or with why not: `Conflict`,
        `ClaimRefused` or `StoreUnavailable`. A refusal touches this entry alone."""
        ...

    def append(self, entry: Append) -> asyncio.Future[Appended]:
        """The same for who waits: the future fails with what `post` would say."""
        ...

    async def facts(self, run: str, *, after: int = 0, upto: int | None = None) -> list[Stored | Corrupt]:
        """A run's facts in order, from n > after to n <= upto."""
        ...

    async def histories(self, runs: Sequence[str]) -> dict[str, list[AnyFact] | Corrupt]:
        """Whole histories of many runs, for recovery."""
        ...

    async def since(self, seq: int, limit: int = 1000) -> list[Stored | Corrupt]:
        """Facts of all runs after a position. The feed of readers outside the engine; it never goes back."""
        ...

    async def position(self) -> int:
        """The highest `seq`; 0 for an empty journal."""
        ...

    @property
    def commits(self) -> int:
        """Transactions committed by this process, for tests and health."""
        ...


# ---------------------------------------------------------------- lists


class Page(Struct, frozen=True):
    """Which part of a list: newest first, `limit` rows after `cursor` (opaque, from the previous page)."""

    limit: int = 50
    cursor: str = ""
    oldest_first: bool = False


class Runs(Protocol):
    """The `runs` projection and the wait rows."""

    async def get(self, run: str) -> RunHead | None: ...

    async def find(self, text: str, tenant: str = "default") -> list[str]:
        """Ids that equal the text, or begin or end with it (at most 10)."""
        ...

    async def list(self, query: Query, page: Page, *, now: float, tenant: str = "default") -> tuple[list[RunHead], str]:
        """Matching runs and the cursor of the next page (empty at the end)."""
        ...

    async def count(self, query: Query, *, now: float, tenant: str = "default") -> int: ...

    async def unfinished(self, *, now: float, limit: int = 10_000) -> list[RunHead]:
        """What an engine has to take up at start: pending, running, waiting for a slot or a finished child,
        or parked with a `wake_at` that has come. Parked runs are not among them."""
        ...

    async def due(self, now: float, limit: int = 1000) -> tuple[list[str], float | None]:
        """Parked runs whose `wake_at` has come, and the next `wake_at` after now."""
        ...

    async def waiting(
        self, on: WaitingOn, ref: str, *, key: str | None = None, tenant: str = "default"
    ) -> list[tuple[str, Wait]]:
        """Steps that wait. `signal`: `ref` is a signal type, patterns are matched; otherwise it is compared.
        With a `key` only those that wait for this key, or for any."""
        ...

    async def last_completed(self, workflow: str, tenant: str = "default") -> str | None:
        """Id of the last completed run of a workflow."""
        ...


class Publication(Struct, frozen=True):
    """What became of an attempt to publish."""

    signal: Signal
    """As stored; the earlier one when the key was seen before."""
    duplicate: bool = False


class Signals(Protocol):
    """Signals, their results and their routing state."""

    async def publish(self, signal: Signal) -> Publication:
        """Store a signal as new, or find the earlier one with its key. A vote (`fleet.approval.vote`) inserts
        its vote row in the same transaction; raises `Refused` when that person has decided already or the
        approval is closed."""
        ...

    async def unrouted(self, limit: int = 1000) -> list[Signal]:
        """Signals nobody has routed yet, oldest first."""
        ...

    async def close(self, signal: str, results: Iterable[Result] = ()) -> None:
        """Mark a signal routed, with results that belong to no run's append."""
        ...

    async def get(self, signal: str) -> Signal | None: ...

    async def results(self, signal: str) -> tuple[bool, list[Result]]:
        """Whether it is routed, and what came of it so far."""
        ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[list[Signal], str]: ...


class Approval(Struct, frozen=True, kw_only=True):
    """An approval as the inbox shows it."""

    id: str
    tenant: str
    run: str
    path: str
    workflow: str
    status: Literal["pending", "approved", "rejected", "failed", "withdrawn"]
    digest: str
    message: str
    requested_at: float
    show: Any = None
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    form: dict[str, Any] = {}
    until: float | None = None
    on_timeout: str = "reject"
    level: int = 0
    decided_at: float | None = None
    reason: str = ""


class Vote(Struct, frozen=True, kw_only=True):
    """One person's decision; at most one per approval, level and person."""

    approval: str
    by: str
    decision: Literal["approved", "rejected"]
    at: float
    level: int = 0
    comment: str = ""
    values: dict[str, Any] = {}
    via: str = ""


class Approvals(Protocol):
    """The approvals projection and the votes."""

    async def get(self, approval: str) -> Approval | None: ...

    async def find(self, text: str, tenant: str = "default") -> list[str]: ...

    async def votes(self, approval: str) -> list[Vote]: ...

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[list[Approval], str]: ...


# ---------------------------------------------------------------- plans, blobs, claims, logs


class Workflow(Struct, frozen=True, kw_only=True):
    """A workflow that the store knows: its current plan and its status."""

    name: str
    tenant: str
    status: Literal["draft", "active", "paused", "archived"]
    plan: str
    file: str = ""
    updated_at: float = 0.0
    max_runs: int | None = None


class Catalog(Protocol):
    """Plans by digest, and workflows by name."""

    async def put(self, plan: Plan, *, source: str, tenant: str = "default") -> str:
        """Keep a plan and the YAML it came from; returns its digest. Idempotent."""
        ...

    async def plan(self, digest: str) -> Plan | None: ...

    async def source(self, digest: str) -> str | None:
        """The YAML text kept with a plan."""
        ...

    async def set_workflow(self, workflow: Workflow) -> None: ...

    async def workflow(self, name: str, tenant: str = "default") -> Workflow | None: ...

    async def workflows(self, tenant: str = "default") -> list[Workflow]: ...


class Blobs(Protocol):
    """Large values by tenant and digest. They are written by `Append.blobs`."""

    async def get(self, digest: str, tenant: str = "default") -> bytes | None: ...

    async def put(self, digest: str, data: bytes, tenant: str = "default") -> None: ...


class Claims(Protocol):
    """Who holds what across runs. Taken and released by `Append` only."""

    async def holders(self, scope: str, tenant: str = "default") -> list[Holder]: ...


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a step's log."""

    at: float
    level: Literal["debug", "info", "warning", "error", "stdout", "stderr"]
    text: str
    data: Any = None
    path: str = ""
    attempt: int = 1
    line: int = 0
    """Number within (run, path, attempt), from 1; 0 until stored."""


class Logs(Protocol):
    """Chunked step logs, beside the journal, with a retention of their own."""

    def write(self, run: str, lines: Sequence[LogLine], tenant: str = "default") -> None:
        """Queue lines; they are stored within a second, in order, and before `flush` returns. A step's log is
        capped: what is over the cap is dropped and counted in a last line."""
        ...

    async def flush(self) -> None: ...

    async def read(
        self, run: str, *, path: str | None = None, after: int = 0, limit: int = 1000, tail: bool = False
    ) -> tuple[list[LogLine], int]:
        """Lines of a run (or of one step) and the cursor after the last one."""
        ...


class Health(Struct, frozen=True, kw_only=True):
    """What `db check` finds."""

    ok: bool
    schema: str
    problems: tuple[str, ...] = ()
    counts: Mapping[str, int] = {}
    bytes: int = 0


class Store(Protocol):
    """Everything durable. Every part speaks about one and the same database."""

    @property
    def journal(self) -> Journal: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def signals(self) -> Signals: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def claims(self) -> Claims: ...
    @property
    def logs(self) -> Logs: ...

    async def open(self) -> None:
        """Connect, create or upgrade the schema. Raises `StoreUnavailable` (locked, read-only, newer schema …)."""
        ...

    async def close(self) -> None:
        """Write what is queued and disconnect."""
        ...

    async def changed(self, token: int) -> int:
        """A number that differs from `token` once another process has written."""
        ...

    async def prune(
        self, *, before: float, logs_before: float | None = None, tenant: str = "default"
    ) -> dict[str, int]:
        """Delete finished runs that ended before that time with all that is theirs; counts by table."""
        ...

    async def check(self) -> Health: ...


# ---------------------------------------------------------------- time, and a step's door to the world


class Clock(Protocol):
    """Wall-clock time. Timers of the runtime use the event loop's own clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class Done(Struct, frozen=True):
    """The effect happened."""

    output: Any = None
    port: str = ""
    usage: dict[str, int] = {}


class Failed(Struct, frozen=True):
    """The effect definitely did not succeed; another attempt may be made."""

    error: Failure
    retry_after: float | None = None
    """Seconds the other side asked us to wait."""


class Unknown(Struct, frozen=True):
    """Nobody can tell whether the effect happened: `safe` steps are repeated, `never` steps become in doubt."""

    reason: str


Outcome = Done | Failed | Unknown


class Effect(Struct, frozen=True, kw_only=True):
    """Outside work that a run owes the world. JSON-able: it could cross a process or a network unchanged."""

    run: str
    tenant: str
    path: str
    attempt: int
    type: str
    input: Any
    secrets: dict[str, list[Any]] = {}
    key: str
    """Idempotency key: the same for every attempt at the same work."""
    timeout: float | None = None
    pool: str = ""
    repeat: Literal["safe", "never"] = "safe"
    workflow: str = ""
    directory: str = ""
    """Folder of the project: relative paths start here."""
    code: str = ""
    """Folder of the workflow file: its code is looked for here; empty when it came from no file."""


class Context(Protocol):
    """All that a step type sees of the world."""

    @property
    def effect(self) -> Effect: ...

    def log(
        self,
        text: str,
        level: Literal["debug", "info", "warning", "error", "stdout", "stderr"] = "info",
        data: Any = None,
    ) -> None:
        """Write to the step log. Secrets are redacted by value."""
        ...

    async def note(self, kind: str, key: str, value: Any) -> None:
        """Record a durable sub-result; returns when it is durable."""
        ...

    def reveal(self, pointer: str) -> str | None:
        """The text of an input field with its secrets filled in; None where the field holds none."""
        ...

    async def in_thread(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a blocking function in the step pool's threads."""
        ...


class Feed(Protocol):
    """Live facts, and lossy progress between them."""

    def watch(self, after: int = 0) -> AsyncIterator[Stored]: ...
