"""What every face can do: one protocol, whether the engine is in this process, in another, or not running at all."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import (
    NEWEST_FIRST,
    Approval,
    Bucket,
    Change,
    CostBy,
    CostRow,
    EngineHealth,
    Lineage,
    LogChunk,
    LogLine,
    LogMatches,
    Order,
    Page,
    RunHead,
    Spend,
    Stored,
    Vote,
    Workflow,
    WorkflowStatistics,
)

if TYPE_CHECKING:
    # A console paints its frame before it needs these.
    from fleetprompt.client.files import WorkflowFile
    from fleetprompt.engine.core.plan import Plan
    from fleetprompt.engine.core.state import Run

Where = Literal["embedded", "attached", "none"]
"""Where the engine is: in this process, in another one, or nowhere."""
QUEUED = "recorded; it will be carried out when an engine runs (fleet recover)"
"""What is said of a signal that no engine has taken up."""


def why_queued(result: Result) -> str:
    """Why a command was recorded and is not carried out yet, for people; empty when that is not so."""
    return str(result.data or QUEUED) if result.reason == "queued" else ""


class StartRun(Struct, frozen=True, kw_only=True):
    """A wish to start a run, of a workflow file or of a workflow that the store knows."""

    workflow: str = ""
    files: tuple[WorkflowFile, ...] = ()
    """The workflow's file, and after it those of the workflows that it starts."""
    inputs: dict[str, Any] = {}
    texts: dict[str, str] = {}
    """Inputs as they were typed: read by the type that the workflow declares."""
    labels: dict[str, str] = {}
    priority: int = 0
    project: str = ""
    session: str = ""
    key: str = ""
    """Idempotency key: a second start with the same key is the same run."""
    by: str = ""


class Progress(Struct, frozen=True):
    """A log line as it is written; may be lost."""

    run: str
    line: LogLine


class TakenUp(Struct, frozen=True):
    """What the engine of this process found when it opened."""

    runs: tuple[str, ...] = ()
    in_doubt: int = 0
    signals: tuple[str, ...] = ()
    """Ids of signals that were recorded while no engine ran, oldest first; carried out or refused by now."""
    corrupt: tuple[str, ...] = ()
    others: int = 0
    """Interrupted runs that were left alone."""


class Published(Struct, frozen=True):
    """A signal that was published, and what came of it within a moment."""

    signal: Signal
    """As stored."""
    duplicate: bool
    """Its key was seen before: this is the earlier one."""
    routed: bool
    results: tuple[Result, ...]


class Console(Protocol):
    """The operator's door. Everything raises `FleetError` with a message for people."""

    @property
    def where(self) -> Where: ...
    @property
    def holder(self) -> str:
        """Who holds the engine, for people."""
        ...

    @property
    def taken_up(self) -> TakenUp: ...

    async def close(self) -> None: ...

    # runs
    async def start(self, request: StartRun) -> str:
        """Start a run; returns its id when the start is durable."""
        ...

    async def command(self, type_: str, run: str, *, by: str, data: dict[str, Any] | None = None) -> Result:
        """Send `fleet.run.cancel`, `.pause`, `.resume`, `.retry` or `fleet.step.resolve`, and wait for the answer.

        Where no engine answers, the answer has the status `accepted` and the reason `queued`: see `why_queued`.
        """
        ...

    async def find(self, text: str) -> str:
        """The id of the one run that the text means: an id, its beginning or its end, or `last`.

        Raises `NotFound`, or `InvalidInput` when it means several.
        """
        ...

    async def run(self, run: str) -> RunHead: ...
    async def runs(self, filter_: str, page: Page) -> tuple[list[RunHead], str]: ...
    async def count(self, filter_: str) -> int: ...

    # runs as a list that stays on the screen: see `client/listing.py`
    async def index(self, filter_: str, order: Order = NEWEST_FIRST) -> array[int]:
        """The numbers (`RunHead.seq`) of all matching runs in an order, by default the newest first."""
        ...

    async def heads(self, seqs: Sequence[int]) -> list[RunHead | None]:
        """The runs of these numbers, in the order asked; None for one that is gone."""
        ...

    async def matching(self, runs: Sequence[str], filter_: str) -> list[tuple[RunHead, bool]]:
        """The runs of these ids that are still there, each with whether it matches."""
        ...

    async def tally(self, filter_: str) -> dict[str, int]:
        """How many runs match, by status; a status that none has is left out."""
        ...

    async def values(self, field: str, filter_: str, *, prefix: str = "", limit: int = 20) -> list[tuple[str, int]]:
        """What the newest 20,000 matching runs hold in a field of the filter language and how many hold it, the most
        frequent first; only values that begin with `prefix`. `label` means the keys of labels, `label.env` the values
        of one. For completion."""
        ...

    # one run
    async def facts(self, run: str, *, after: int = 0, upto: int | None = None) -> list[Stored]:
        """A run's facts in order, from n > after to n <= upto."""
        ...

    async def state(self, run: str, *, upto: int | None = None) -> Run:
        """The run as its facts make it, up to a fact."""
        ...

    async def plan(self, digest: str) -> Plan: ...
    async def source(self, digest: str) -> str:
        """The YAML a plan came from."""
        ...

    async def value(self, fact: AnyFact | Approval) -> Any:
        """The large value that a fact, or an approval, keeps elsewhere."""
        ...

    def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts after a position, then live ones, with log lines between them."""
        ...

    def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes, at most once in so many seconds, and nothing while nothing happens.

        The first change comes at once and is `lost`: who reads after it misses nothing. That an engine has gone or come
        (`engine`), has fallen silent or answers again (`silent`) and that the store cannot be read any more, or again
        (`troubles`: see `health`) are changes, too. It ends when the console is closed.
        """
        ...

    # step logs: of one step, with `within` of everything inside it, too
    async def logs(
        self, run: str, *, path: str | None = None, after: int = 0, limit: int = 1000, tail: bool = False
    ) -> tuple[list[LogLine], int]: ...
    async def log_chunks(
        self, run: str, *, path: str | None = None, within: bool = False, after: int = 0, limit: int = 5000
    ) -> list[LogChunk]:
        """The chunks of a log that begin behind a position, without their lines."""
        ...

    async def log_lines(self, run: str, ids: Sequence[int]) -> list[list[LogLine]]:
        """The lines of chunks; none of a chunk that was pruned."""
        ...

    async def log_levels(self, run: str, ids: Sequence[int]) -> list[bytes]:
        """The levels of the lines of chunks, as indices into `LEVELS`; none of a chunk that was pruned."""
        ...

    async def log_find(
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
    ) -> LogMatches:
        """Search a portion of a log, forwards or backwards: `reached` of the answer says where to go on."""
        ...

    # approvals
    async def approvals(self, filter_: str, page: Page) -> tuple[list[Approval], str]: ...
    async def approval(self, text: str) -> tuple[Approval, list[Vote]]: ...
    async def approval_ids(self, filter_: str) -> list[str]:
        """The ids of all matching approvals, the oldest first."""
        ...

    async def approvals_of(self, ids: Sequence[str]) -> list[tuple[Approval, list[Vote]]]:
        """The approvals of these ids, the oldest first, each with its votes; those that are gone are left out."""
        ...

    async def vote(
        self,
        approval: str,
        decision: Literal["approved", "rejected"],
        *,
        by: str,
        comment: str = "",
        values: dict[str, Any] | None = None,
        digest: str = "",
        level: int | None = None,
        via: str = "cli",
    ) -> Result:
        """Decide about an approval. `digest` and `level` are those of what the person was shown: the decision is
        refused when the approval is about something else by now. `via` says where it was decided."""
        ...

    # signals
    async def publish(self, signal: Signal) -> tuple[Signal, bool]:
        """Publish a signal; returns it as stored and whether its key was seen before."""
        ...

    async def signals(self, filter_: str, page: Page) -> tuple[list[Signal], str]: ...
    async def signal_ids(self, filter_: str) -> list[str]:
        """The ids of all matching signals, the newest first."""
        ...

    async def signals_of(self, ids: Sequence[str]) -> list[Signal]:
        """The signals of these ids, the oldest first; those that are gone are left out."""
        ...

    async def signal(self, id_: str) -> tuple[Signal, bool, list[Result]]: ...
    async def outcome(self, id_: str) -> tuple[bool, list[Result]]:
        """Whether a signal is routed and what came of it; waits for that a moment where there is an engine."""
        ...

    async def replay(self, id_: str, *, by: str) -> Published:
        """Publish a copy of a signal, whose cause is the old one. Raises `InvalidInput` for the engine's own types."""
        ...

    async def answers(self, ids: Sequence[str]) -> dict[str, tuple[bool, list[Result]]]:
        """Whether each of these signals is routed, and what came of it; those that are gone are left out."""
        ...

    async def lineage(self, id_: str) -> Lineage:
        """Where a signal came from, what came of it, and what else has its correlation; see `Lineage` for bounds."""
        ...

    # workflows
    async def workflows(self) -> list[Workflow]: ...
    async def set_workflow(self, name: str, status: str, *, by: str) -> Result: ...
    async def register(self, file: WorkflowFile) -> str:
        """Keep a file's plan as the current one of its workflow, which is active if it was not known; its digest."""
        ...

    # figures
    async def costs(
        self,
        by: CostBy,
        filter_: str = "",
        *,
        since: float | None = None,
        until: float | None = None,
        limit: int = 1000,
    ) -> list[CostRow]:
        """What was spent from `since` until before `until` by runs that match a filter: the most expensive first, days
        newest first. Days begin at the operator's midnight; days without spending are left out."""
        ...

    async def spend(self, since: float) -> Spend:
        """What was spent since a time."""
        ...

    async def statistics(self, since: float) -> list[WorkflowStatistics]:
        """Of every workflow with runs that ended since then or are not over yet, by name."""
        ...

    async def activity(self, since: float, until: float, buckets: int) -> list[Bucket]:
        """Starts, ends and spending of a period in equal parts (1 to 1000), the oldest first: a sparkline."""
        ...

    # health
    async def holds(self) -> Mapping[str, str]:
        """Runs for which the engine does nothing any more, though they are not over, and why: their journals cannot be
        trusted, or the engine failed at them. Empty where no engine answers."""
        ...

    async def health(self) -> EngineHealth:
        """How the engine is, wherever it is."""
        ...
