"""What every face can do: one protocol, whether the engine is in this process, in another, or not running at all."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct

from fleetprompt.client.identity import Face, Role
from fleetprompt.engine.core.audit import AuditEntry, Verdict
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import (
    NEWEST_FIRST,
    AgentSession,
    AgentStatistics,
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
    Piece,
    RunHead,
    Spend,
    Stored,
    Vote,
    Workflow,
    WorkflowStatistics,
)
from fleetprompt.engine.ports.audit import AuditQuery
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.ports.memory import Memory
from fleetprompt.engine.ports.operations import Position, Switch
from fleetprompt.engine.ports.token import Token
from fleetprompt.engine.ports.tool import EditedCall

if TYPE_CHECKING:
    # A console paints its frame before it needs these.
    from fleetprompt.client.agents import AgentDefinition
    from fleetprompt.client.chatting import Turn
    from fleetprompt.client.files import WorkflowFile
    from fleetprompt.client.importing import Imported, Origin
    from fleetprompt.client.saying import Message
    from fleetprompt.client.scheduling import ScheduleState
    from fleetprompt.client.tokens import Issued
    from fleetprompt.engine.core.dead_letter import DeadLetter
    from fleetprompt.engine.core.delivery import Delivery
    from fleetprompt.engine.core.firing import Firing
    from fleetprompt.engine.core.plan import Plan
    from fleetprompt.engine.core.state import Run

Where = Literal["embedded", "attached", "none"]
"""Where the engine is: in this process, in another one, or nowhere."""
QUEUED = "recorded; it will be carried out when an engine runs (fleet recover)"
"""What is said of a signal that no engine has taken up."""
UNCHECKED = "recorded; what you have changed is checked when an engine runs (fleet recover), and may be refused then"
"""What is said of a decision with other arguments that nobody could look at, and that no engine has taken up."""


def why_queued(result: Result) -> str:
    """Why a command was recorded and is not carried out yet, for people; empty when that is not so."""
    return str(result.data or QUEUED) if result.reason == "queued" else ""


class Disconnected(StoreUnavailable):
    """The daemon cannot be reached. The console itself tells that in its changes, and when it is over."""


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
    trigger: dict[str, Any] = {}
    """What caused it, `kind` first, where that is not a person who starts it by hand."""
    traceparent: str = ""
    """Where in a trace it is asked for (W3C): the run is part of that trace."""


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


class ReplayRange(Struct, frozen=True, kw_only=True):
    """A wish to say many signals again."""

    filter: str
    """Which: in the filter language of signals. The engine's own are left out, and so are replays."""
    ids: tuple[str, ...] = ()
    """Or these, whatever the filter says."""
    limit: int = 1000
    """More than so many are refused, and nothing is said; at most 10,000."""
    only: str = ""
    """For this workflow alone; empty: for everyone who listens today."""
    deliver: bool = False
    """Subscriptions hear of what the runs that are started do, as they did the first time."""
    key: str = ""
    """Names the replay: within it every signal is said again once, however often it is asked for. Empty: it is named
    by its filter and options, so the same command says nothing twice."""


class Foreseen(Struct, frozen=True, kw_only=True):
    """What would come of a replay."""

    signals: int
    types: dict[str, int] = {}
    """How many there are of each type, the most frequent first."""
    own: int = 0
    """Of those that match, how many are the engine's own and are left out."""
    copies: int = 0
    """And how many are replays themselves."""
    before: int = 0
    """How many of `signals` this replay has said before: they are not said again."""
    starts: dict[str, int] = {}
    """Runs that would be started, by workflow."""
    problems: tuple[tuple[str, str, int], ...] = ()
    """Workflow, why it could not be started, and how often."""
    wakes: int = 0
    """Steps that wait for a signal of one of these types now."""
    silent: int = 0
    """Signals that would start nothing."""


class Console(Protocol):
    """The operator's door. Everything raises `FleetError` with a message for people."""

    face: Face
    """Recorded as the source of what is asked for: `console/ana`."""

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
        """Send `fleet.run.cancel`, `.pause`, `.resume`, `.retry`, `.raise` or `fleet.step.resolve`; the answer.

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

    async def last_facts(self, runs: Sequence[str]) -> dict[str, Stored]:
        """The last fact of each of these runs; those that are gone, or whose last fact is damaged, are left out."""
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

    async def position(self) -> int:
        """The position of the newest fact, after which `watch` tells what comes; 0 where there is none."""
        ...

    async def pruned(self) -> int:
        """The position of the newest fact that was pruned, 0 where none was: to who goes on from before it, `watch`
        does not tell everything."""
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

    def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run, at most once in so many seconds, and nothing while nothing is said.

        To be shown beside the facts, and never instead of them: nothing of it is kept, a slow reader gets fewer and
        larger pieces, and where no engine can be reached there are none. Keep a text for each `(path, key, kind, call)`
        and go through the pieces of every batch in order:

        * `text`, `reasoning`, `tool_name`, `tool_args`: append `text`. Whoever comes late is first told all so far.
        * `status`: what is done before the model is asked; a `reset` comes when it is over.
        * `reset`: drop what you have of that `(path, key)`, it is asked again; with an empty `path` drop everything.
        * `end`: nothing more comes of that `(path, key)`. Its fact (`StepNoted` of kind `llm.completed` with the whole
          answer, or `llm.failed`; same path and key) comes a moment later, or just came: drop the text at whichever of
          the two is there last, and nothing flickers.

        `key` is that of the notes, `<agent path>/llm/<turn>`: `key.rpartition("/llm/")[0]` is the agent's path.
        Close it (`contextlib.aclosing`) when the run is not looked at any more: what nobody follows costs nothing. It
        ends when the console is closed.
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
        grant: Literal["", "run", "workflow"] = "",
        ends: bool = False,
        edited: str = "",
        previewed: str = "",
    ) -> Result:
        """Decide about an approval. `digest` and `level` are those of what the person was shown: the decision is
        refused when the approval is about something else by now. `via` says where it was decided. `grant`: calls of
        the same tool that are exactly what was shown (`client.deciding.covered`) need not be asked about any more, in
        this run or in any run of its workflow.
        `ends`: a rejection after which the agent does not go on. `edited` and `previewed` come from `edited`, where the
        values change a call: it is made only if it is that call, and would do that."""
        ...

    async def edited(self, approval: str, values: Mapping[str, Any]) -> EditedCall | None:
        """The call of an approval as it would be with these values in the place of its arguments, and what it would do,
        to be shown before somebody approves it so. None where it would be no other call.

        Raises `Refused` where it cannot be made so: the approval stays open.
        """
        ...

    async def escalate(self, approval: str, *, by: str, comment: str = "") -> Result:
        """Hand an approval on to whom it names next. Raises `Refused` where it is decided, also by votes that no engine
        has carried out yet."""
        ...

    async def grants(self) -> list[WorkflowGrant]:
        """What people have granted for every run of a workflow, the newest first, also what was taken back."""
        ...

    async def revoke(self, grant: str, *, by: str) -> Result:
        """Take a grant back."""
        ...

    # what agents remember
    async def memories(
        self, text: str = "", *, scope: str = "", type: str = "", tag: str = "", limit: int = 50, before: int = 0
    ) -> list[Memory]:
        """What fits a text best, by its words; without one, the newest first, those behind the position `before`."""
        ...

    async def memory(self, text: str) -> Memory:
        """The one memory that the text means: its id, or a part of it."""
        ...

    async def remember(self, text: str, *, scope: str, by: str, type: str = "fact", tags: Sequence[str] = ()) -> Result:
        """Add to a memory; `data` of the result has its id as `memory`, and whether it is `new`."""
        ...

    async def forget(self, ids: Sequence[str], *, by: str) -> Result:
        """Delete memories."""
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

    async def replay(self, id_: str, *, by: str, only: str = "", key: str = "", deliver: bool = False) -> Published:
        """Publish a copy of a signal, whose cause is the old one. `only`: for this workflow alone, or this trigger of
        it, `<workflow>/<trigger>`. `key`: of two with the same one the first counts. `deliver`: subscriptions hear of
        what the runs that it starts do. Raises `InvalidInput` for the engine's own types."""
        ...

    async def foresee_replay(self, wanted: ReplayRange) -> Foreseen:
        """What would come of a replay of many signals now. Raises `InvalidInput` for a bad filter, and for too many."""
        ...

    def replay_range(self, wanted: ReplayRange, *, by: str) -> AsyncGenerator[Published]:
        """Say many signals again, one after another, the oldest first: each as it is done. Raises `InvalidInput` as
        `foresee_replay` does. Whoever stops listening stops it; the same replay goes on where it was."""
        ...

    # dead letters: see `engine/core/dead_letter.py`
    async def dead_letters(self, filter_: str, page: Page) -> tuple[list[DeadLetter], str]:
        """What did not get where it was to go (`DEAD_LETTER_FIELDS`: `status:dead wf:deploy`), the newest first, and
        the next cursor."""
        ...

    async def dead_letter_ids(self, filter_: str) -> list[str]:
        """The ids of all matching letters, the newest first."""
        ...

    async def dead_letter(self, id_: str) -> DeadLetter:
        """The letter of that id. Raises `NotFound`."""
        ...

    async def letters_of(self, signals: Sequence[str]) -> list[DeadLetter]:
        """The letters about these signals, the oldest first, whatever became of them."""
        ...

    async def replay_letter(self, id_: str, *, by: str) -> Result:
        """Try again what a letter is about, and nothing else that its signal has done: start that workflow, or deliver
        to that subscription. The letter is `replayed` when that has succeeded; where it fails again, the answer is a
        refusal and the letter has one attempt more. Raises `Refused` for one that is not dead any more."""
        ...

    async def dismiss_letters(self, ids: Sequence[str], *, by: str) -> Result:
        """Let letters be, as far as they are dead; `data` of the answer says how many were `dismissed`."""
        ...

    async def answers(self, ids: Sequence[str]) -> dict[str, tuple[bool, list[Result]]]:
        """Whether each of these signals is routed, and what came of it; those that are gone are left out."""
        ...

    async def lineage(self, id_: str) -> Lineage:
        """Where a signal came from, what came of it, and what else has its correlation; see `Lineage` for bounds."""
        ...

    async def deliveries(self, filter_: str, page: Page) -> tuple[list[Delivery], str]:
        """Signals on their way to subscriptions, and those that were delivered (`DELIVERY_FIELDS`: `status:pending
        subscription:ops`), the newest first, and the next cursor."""
        ...

    # workflows
    async def workflows(self) -> list[Workflow]: ...
    async def workflow(self, name: str) -> Workflow:
        """The workflow of that name. Raises `NotFound`."""
        ...

    async def first_seen(self, names: list[str]) -> dict[str, float]:
        """When each of these workflows was first registered, by name."""
        ...

    async def set_workflow(self, name: str, status: str, *, by: str) -> Result: ...
    async def read_workflow(self, text: str, named: str = "workflow.yaml") -> WorkflowFile:
        """A workflow's text, checked and compiled, to be registered. Raises `InvalidWorkflow` with every problem."""
        ...

    async def register(self, file: WorkflowFile) -> str:
        """Keep a file's plan as the current one of its workflow, which is active if it was not known; its digest."""
        ...

    async def register_all(self, files: Sequence[WorkflowFile]) -> None:
        """Register the files of workflows that differ."""
        ...

    async def translated(self, text: bytes) -> Imported | None:
        """A workflow of another system as a workflow file; None for one that is in our own form. Raises
        `NotImportable`."""
        ...

    async def origin(self, digest: str) -> Origin | None:
        """What the steps and inputs of a plan are called by those who sent it in the form of another system; None for
        a plan of our own."""
        ...

    async def keep_workflow(self, file: WorkflowFile, known: Workflow | None = None) -> Workflow:
        """Keep a workflow that was sent as a file of the project (as a new one, or as the new definition of a known
        one) and register it. For a tenant that is not the project's own it is only registered.

        Raises `Refused` where there is a file of that name, or where somebody else has changed it.
        """
        ...

    # schedules
    async def schedules(self) -> list[ScheduleState]:
        """Every schedule and every file watch of the workflows that are not archived, by name: when it comes, and what
        came of it last."""
        ...

    async def firings(self, filter_: str, page: Page) -> tuple[list[Firing], str]:
        """What became of the times of schedules, and of other triggers that started nothing: those recorded last first
        (`FIRING_FIELDS`: `wf:nightly outcome:missed`), and the next cursor."""
        ...

    async def fire(self, schedule: str, *, by: str) -> Result:
        """Start a run of a schedule now, also of one that is paused: `<workflow>/<trigger>`, or its workflow where that
        has one. `data` of the result has the id of the `run`; it is refused where that must not overlap another, and
        for a file watch."""
        ...

    async def set_schedule(
        self, schedule: str, status: Literal["active", "paused"], *, by: str, reason: str = ""
    ) -> Result:
        """Pause one schedule or file watch, until it is made active again, from then on. `data` of the result says
        whether it was `changed`."""
        ...

    # the whole fleet
    async def switch(self) -> Switch:
        """The fleet's switch as it counts here: of the tenant, or of the whole fleet where that lets less happen."""
        ...

    async def set_switch(self, position: Position, *, by: str, reason: str = "") -> Result:
        """Let everything go on, or less of it; see `ports.operations.Position`. It is that of the whole fleet for the
        tenant `default`, and for others their own."""
        ...

    # agents
    async def agents(self) -> list[AgentDefinition]:
        """All agents as they are written now: those with a file of their own, and those in workflows that are not
        archived; by name."""
        ...

    async def agent(self, name: str) -> AgentDefinition:
        """The agent of that name; of several the one with a file of its own. Raises `NotFound`."""
        ...

    async def keep_agent(self, text: str, known: AgentDefinition | None = None) -> AgentDefinition:
        """Keep the text of an agent as a file of its own: as a new one, or as the new text of a known one.

        Raises `InvalidWorkflow` with every problem, `Refused` where there is such a file, `Forbidden` for a tenant that
        is not the project's own.
        """
        ...

    async def agent_statistics(self, since: float, own: Collection[tuple[str, str]] = ()) -> list[AgentStatistics]:
        """Of every agent with executions that ended since then or are not over yet, by name. Agents that are written
        nowhere any more are among them, and `chat`, which stands for steps of that type. `own` are agents of
        workflows that are counted apart (name and workflow), because others have the same name."""
        ...

    async def agent_sessions(self, filter_: str, page: Page) -> tuple[list[AgentSession], str]:
        """Executions of agents that match a filter (`AGENT_SESSION_FIELDS`: `agent:sre status:failed`), those that
        began last first, and the next cursor."""
        ...

    async def chat(self, agent: str, message: str, session: str, *, by: str) -> str:
        """Say something to an agent in a conversation, which begins with its first message; any new name will do. The
        id of the run in which the agent answers, with all that was said before: its `pieces` are what it is saying, its
        approvals what it asks, its output the answer. Cancel the run to stop it.

        Raises `NotFound` for an unknown agent, `InvalidInput` for one that cannot be used and for an empty message,
        `Refused` while a message of the conversation is not answered yet.
        """
        ...

    async def listens(self, workflow: str) -> bool:
        """Whether a workflow takes messages: it has a `chat` trigger."""
        ...

    async def say(self, workflow: str, message: Message, *, by: str) -> str:
        """Say something to a workflow that takes messages; the id of the run that answers, in the session of the
        conversation.

        Raises `NotFound` for one that takes none, `InvalidInput` for an empty message, `Refused` where its trigger's
        `if` does not hold, or its inputs are not those that the workflow declares.
        """
        ...

    async def conversation(self, session: str) -> list[Turn]:
        """What was said in a conversation, the oldest first, read back from its runs: the newest 500 messages. Empty
        for one that has not begun."""
        ...

    # what was done, and by whom
    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Entries of the audit log of this tenant, the newest first."""
        ...

    async def verify_audit(self, known: str = "") -> Verdict:
        """Walk through the whole chain of this tenant. `known`: a head that was kept elsewhere, to be met."""
        ...

    # who may come from elsewhere
    async def tokens(self) -> list[Token]:
        """All tokens of this tenant, the newest first, also those that are worth nothing any more."""
        ...

    async def create_token(self, name: str, *, role: Role, lasts: float | None, by: str) -> Issued:
        """Make a token for somebody called `name`, worth something for so many seconds (None: until it is revoked).
        Its secret is in the answer, and nowhere else."""
        ...

    async def revoke_token(self, text: str, *, by: str) -> Token:
        """Make a token worth nothing at once: the one of that id, or whose id begins so."""
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
