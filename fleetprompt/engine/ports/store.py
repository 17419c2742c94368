"""A whole store, and its smaller parts: plans and workflows, large values, claims, step logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.ports.agents import AgentSessions
from fleetprompt.engine.ports.audit import Audit
from fleetprompt.engine.ports.budget import Budgets
from fleetprompt.engine.ports.dead_letter import DeadLetters
from fleetprompt.engine.ports.delivery import Deliveries
from fleetprompt.engine.ports.figures import Figures
from fleetprompt.engine.ports.firing import Firings
from fleetprompt.engine.ports.grant import Grants
from fleetprompt.engine.ports.journal import Holder, Journal
from fleetprompt.engine.ports.kept_answer import KeptAnswers
from fleetprompt.engine.ports.lists import Approvals, Runs, Signals
from fleetprompt.engine.ports.memory import Memories
from fleetprompt.engine.ports.operations import Operations
from fleetprompt.engine.ports.token import Tokens


class Workflow(Struct, frozen=True, kw_only=True):
    """A workflow that the store knows: its current plan and its status."""

    name: str
    tenant: str
    status: Literal["draft", "active", "paused", "archived"]
    plan: str
    file: str = ""
    updated_at: float = 0.0
    max_runs: int | None = None
    active_since: float = 0.0
    """When it became active last: its schedules make up for nothing before."""


REGISTERED: Final = ("plan", "file", "max_runs", "updated_at")
"""What changes of a workflow that is known when its file is registered anew: whether it is paused is for others to say,
who may do so at the same time."""


class Catalog(Protocol):
    """Plans by digest, and workflows by name."""

    async def put(self, plan: Plan, *, source: str, tenant: str = "default") -> str:
        """Keep a plan and the YAML it came from; returns its digest. Idempotent."""
        ...

    async def plan(self, digest: str, tenant: str | None = None) -> Plan | None:
        """The plan of that digest, if the tenant has it; None: whosever it is, for the engine."""
        ...

    async def plans(self, digests: Sequence[str]) -> dict[str, Plan]:
        """The plans of those digests that are there and can be read, whosever they are, for the engine."""
        ...

    async def source(self, digest: str, tenant: str | None = None) -> str | None:
        """The YAML text that was kept with a plan by the tenant; None: by any."""
        ...

    async def set_workflow(
        self, workflow: Workflow, audit: AuditNote | None = None, *, only: Collection[str] = ()
    ) -> None:
        """Keep what is known about a workflow now; with it what the audit log is to tell of who has changed it.
        `only`: the fields that are changed; of one that is known the others stay as they are by then."""
        ...

    async def workflow(self, name: str, tenant: str = "default") -> Workflow | None: ...

    async def workflows(self, tenant: str = "default") -> list[Workflow]: ...

    async def first_seen(self, names: Sequence[str], tenant: str = "default") -> dict[str, float]:
        """When the first plan of each of these workflows was kept, by name (epoch seconds)."""
        ...

    async def every(self) -> list[Workflow]:
        """Those of every tenant, by tenant and name: for the engine, which is nobody's."""
        ...


class Blobs(Protocol):
    """Large values by tenant and digest. They are written by `Append.blobs`."""

    async def get(self, digest: str, tenant: str = "default") -> bytes | None: ...

    async def put(self, digest: str, data: bytes, tenant: str = "default", run: str = "") -> None:
        """Keep a blob that no append brings, as long as the run is kept; without a run, for ever."""
        ...


class Claims(Protocol):
    """Who holds what across runs. Taken and released by `Append` only."""

    async def holders(self, scope: str, tenant: str = "default") -> list[Holder]: ...


Level = Literal["debug", "info", "warning", "error", "stdout", "stderr"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "stdout", "stderr")


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a step's log."""

    at: float
    level: Level
    text: str
    data: Any = None
    path: str = ""
    attempt: int = 1
    line: int = 0
    """Number within (run, path, attempt), from 1; 0 until stored."""


class LogChunk(Struct, frozen=True):
    """Lines of an attempt at a step that are stored together, without the lines. A chunk does not change, except for
    the one line that counts those dropped over the cap."""

    id: int
    path: str
    attempt: int
    first: int
    """Number within (run, path, attempt) of its first line."""
    last: int
    until: int
    """Position within the run of its last line. Positions of chunks never overlap, and new chunks come last."""
    at: float
    """Time of its last line."""
    dropped: int = 0

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.last - self.first + 1


class LogMatches(Struct, frozen=True):
    """What a portion of a search found."""

    positions: tuple[int, ...]
    """Within the run, in the direction of the search."""
    reached: int
    """Where to go on from: the next `after`, or the next `before`."""
    done: bool
    """Whether there is nothing more to search."""


class Logs(Protocol):
    """Chunked step logs, beside the journal, with a retention of their own.

    `path` names a step; with `within`, also everything inside it. Nothing is read of a run that is not the `tenant`'s;
    without one it is read whosever it is."""

    def write(self, run: str, lines: Sequence[LogLine], tenant: str = "default") -> None:
        """Queue lines; they are stored within a second, in order, and before `flush` returns. A step's log is
        capped: what is over the cap is dropped and counted in a last line."""
        ...

    async def flush(self) -> None: ...

    async def read(
        self,
        run: str,
        *,
        path: str | None = None,
        after: int = 0,
        limit: int = 1000,
        tail: bool = False,
        tenant: str | None = None,
    ) -> tuple[list[LogLine], int]:
        """Lines of a run (or of one step) and the cursor after the last one."""
        ...

    async def chunks(
        self,
        run: str,
        *,
        path: str | None = None,
        within: bool = False,
        after: int = 0,
        limit: int = 5000,
        tenant: str | None = None,
    ) -> list[LogChunk]:
        """The chunks that begin behind a position, oldest first: what there is, without reading the lines."""
        ...

    async def lines(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[list[LogLine]]:
        """The lines of each of the chunks; none of a chunk that was pruned."""
        ...

    async def levels(self, run: str, ids: Sequence[int], tenant: str | None = None) -> list[bytes]:
        """The levels of the lines of each of the chunks, as indices into `LEVELS`; none of a chunk that was pruned."""
        ...

    async def find(
        self,
        run: str,
        needle: str,
        *,
        path: str | None = None,
        within: bool = False,
        regex: bool = False,
        after: int | None = None,
        before: int | None = None,
        limit: int = 1000,
        tenant: str | None = None,
    ) -> LogMatches:
        """Search a portion of the lines, in any letter case: those behind a position, or backwards those before one.

        The text is searched, and the data as compact JSON; a regular expression only in their beginnings, see
        `query_regex.found`. Raises `InvalidInput` for one that is malformed or too costly.
        """
        ...


class Health(Struct, frozen=True, kw_only=True):
    """What `db check` finds."""

    ok: bool
    schema: str
    problems: tuple[str, ...] = ()
    counts: Mapping[str, int] = {}
    bytes: int = 0


class Lease(Protocol):
    """The right to drive the runs of a store, given by its database for as long as its holder lives."""

    async def acquire(self, what: str) -> Mapping[str, Any] | None:
        """Take it for `what`, such as `fleet serve`. None when it is had, else who holds it: `pid`, `host`, `what`.

        Raises `StoreUnavailable`.
        """
        ...

    async def holder(self) -> Mapping[str, Any] | None:
        """Who holds it; None when nobody does. Raises `StoreUnavailable`."""
        ...

    async def release(self) -> None:
        """Give it back."""
        ...


class Store(Protocol):
    """Everything durable. Every part speaks about one and the same database."""

    @property
    def where(self) -> str:
        """How people call it: its path, or its URL without the password."""
        ...

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
    def budgets(self) -> Budgets: ...
    @property
    def grants(self) -> Grants: ...
    @property
    def firings(self) -> Firings: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def memories(self) -> Memories: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def operations(self) -> Operations: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def kept_answers(self) -> KeptAnswers: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def agents(self) -> AgentSessions: ...
    @property
    def figures(self) -> Figures: ...

    def lease(self) -> Lease | None:
        """The right to drive its runs; None where that is for a lock on this machine to give."""
        ...

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
        self,
        *,
        before: float,
        logs_before: float | None = None,
        tenant: str = "default",
        workflows: Mapping[str, float] | None = None,
    ) -> dict[str, int]:
        """Delete finished runs that ended before that time with all that is theirs; counts by table. `workflows`: times
        of their own for the runs of some, by name."""
        ...

    async def size(self) -> tuple[int, int]:
        """Bytes that it takes: of the data, and of the log that is written ahead of it."""
        ...

    async def alone(self, tenant: str) -> bool:
        """Whether nobody else has a workflow, a run, a signal or a token here. Raises `StoreUnavailable`."""
        ...

    async def check(self) -> Health: ...
