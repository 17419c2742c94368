"""What a run looks like after some facts: steps, the scopes they live in, and what is owed and decidable.

Mutable, but only evolve (`run.py` and the files it calls) writes here. Everything that `advance` and the runtime ask
for is kept ready (`agenda`, `pending`, `timers`), so that no fact costs more because many steps are done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import ASKS, Blob, RunCreated, RunStatus, Slot, StepStatus, WaitingOn
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.program import BlockProgram, NodeProgram, Program
from fleetprompt.engine.core.signal import Signal

FINAL = frozenset({"completed", "failed", "skipped", "cancelled", "timeout"})


class Todo(IntEnum):
    """What can be decided about a step now. Each entry of the agenda leads to at least one fact."""

    START = 1
    RESTART = 2
    GATED = 3
    """Approved: start with the input that was approved."""
    DEAD = 4
    NEXT = 5
    """A `while` loop decides about another iteration."""
    CONCLUDE = 6
    CANCEL = 7
    RESUME = 8
    """What its work was put aside for has come: go on with it."""


class Wake(IntEnum):
    """Why a timer is set."""

    RETRY = 1
    POLL = 2
    DELAY = 3
    WAIT = 4
    APPROVAL = 5
    GRACE = 6
    METER = 7
    DEADLINE = 8
    RESUME = 9


class Meter:
    """Active time under a composite with a timeout, or of the whole run."""

    __slots__ = ("active", "limit", "since", "step", "used", "wake")

    def __init__(self, limit: float, step: Step | None) -> None:
        self.limit = limit
        self.step = step
        self.used = 0.0
        self.active = 0
        self.since = 0.0
        self.wake: float | None = None


class Scope:
    """One execution of a block: under the run itself, a branch, or an iteration."""

    __slots__ = (
        "active",
        "block",
        "closing",
        "done",
        "failure",
        "index",
        "item",
        "live",
        "lost",
        "met",
        "meters",
        "name",
        "owner",
        "prefix",
        "settled",
        "steps",
        "unsettled",
    )

    def __init__(
        self,
        block: BlockProgram,
        prefix: str,
        owner: Step | None,
        meters: tuple[Meter, ...],
        *,
        name: str = "",
        index: int = -1,
        item: Any = None,
    ) -> None:
        self.block = block
        self.prefix = prefix
        self.owner = owner
        self.meters = meters
        self.name = name
        self.index = index
        self.item = item
        self.steps = [Step(prefix + node.node.id, node, self) for node in block.nodes]
        self.met = [0] * len(self.steps)
        self.lost = [0] * len(self.steps)
        self.unsettled = len(self.steps)
        self.settled = 0
        """Position of the first step that is not settled: the barrier."""
        self.live = False
        """Something before the barrier was not dead."""
        self.active: dict[Step, None] = {}
        """Steps that are started and not settled, and settled composites with branches still running."""
        self.closing = ""
        """Why nothing new starts here; empty while open."""
        self.failure: Failure | None = None
        self.done = False


class Inner:
    """The inside of a composite: its open scopes and what came out of the finished ones."""

    __slots__ = (
        "closing",
        "done",
        "error",
        "failed",
        "items",
        "meter",
        "ok",
        "open",
        "opened",
        "previous",
        "results",
        "taken",
        "total",
        "unknown",
    )

    def __init__(self) -> None:
        self.open: dict[str | int, Scope] = {}
        self.total = 0
        self.opened = 0
        self.done = 0
        self.ok = 0
        self.failed = 0
        self.items: Any = None
        self.results: dict[Any, Any] = {}
        """Branch name or index to the scope's last output (a `Blob` where it was spilled)."""
        self.previous: Any = None
        self.error: Failure | None = None
        self.closing = ""
        self.taken = ""
        """The branch that a `condition` or `switch` chose."""
        self.meter: Meter | None = None
        self.unknown = ""
        """Path of a step inside that was interrupted and may have taken effect."""


class Work:
    """The inside of an effect that can be put aside and taken up again, such as an agent."""

    __slots__ = ("aside", "asks", "call", "doubt", "held", "risky", "since", "spares", "used")

    def __init__(self, at: float) -> None:
        self.aside = False
        """It is put aside: it waits for something, or is about to go on."""
        self.asks: dict[str, Gate] = {}
        """What it has asked people, by the id of the approval."""
        self.call = ""
        """Key of the call that waits for a child run."""
        self.doubt = ""
        """Key of the call of which nobody knows whether it happened."""
        self.held: dict[str, dict[str, Any]] = {}
        """What holds budget, by its key: what was noted when it was begun."""
        self.spares: dict[str, dict[str, Any]] = {}
        """What agents keep for their last requests, by the agents' paths: what was noted when they did."""
        self.risky: set[str] = set()
        """Keys of calls in flight that must not be repeated."""
        self.used = 0.0
        """Seconds of this attempt in which it was active, up to `since`."""
        self.since = at

    @property
    def asking(self) -> Gate | None:
        """The first question that is open."""
        return next((gate for gate in self.asks.values() if not gate.decision), None)


class Step:
    """One step instance."""

    __slots__ = (
        "agents",
        "attempt",
        "blob",
        "error",
        "finished_at",
        "gate",
        "generation",
        "inner",
        "input",
        "input_blob",
        "notes",
        "on",
        "output",
        "path",
        "port",
        "program",
        "reason",
        "ref",
        "role",
        "scope",
        "secrets",
        "slot",
        "started_at",
        "status",
        "tries",
        "until",
        "wake",
        "why",
        "work",
    )

    def __init__(self, path: str, program: NodeProgram, scope: Scope) -> None:
        self.path = path
        self.program = program
        self.scope = scope
        self.status: StepStatus = "pending"
        self.attempt = 0
        self.tries = 0
        """Attempts that count against `retry.max_attempts`."""
        self.generation = 0
        self.input: Any = None
        self.input_blob: Blob | None = None
        self.secrets: dict[str, list[Any]] | None = None
        self.output: Any = None
        self.blob: Blob | None = None
        self.error: Failure | None = None
        self.port = ""
        self.reason = ""
        """Why it was skipped or cancelled."""
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.wake: float | None = None
        self.why: Wake | None = None
        self.on: WaitingOn | None = None
        self.ref = ""
        self.until: float | None = None
        self.inner: Inner | None = None
        self.gate: Gate | None = None
        self.slot: Slot | None = None
        self.notes: list[tuple[str, str, Any, int]] | None = None
        """Kind, key, value (or the `Blob` that holds it) and attempt."""
        self.work: Work | None = None
        self.agents: dict[str, str] | None = None
        """Agents at work in it: by their paths, their names."""
        self.role = "step"

    @property
    def called_off(self) -> str:
        """Why the child run that the step waits for has been told to end; empty when it has not."""
        if self.on != "child":
            return ""
        return next((str(why) for kind, _, why, n in self.notes or () if kind == "closing" and n == self.attempt), "")

    @property
    def settled(self) -> bool:
        return self.status in FINAL

    def asked(self, approval: str) -> Gate | None:
        """What it has asked under an id."""
        if self.work is not None and approval in self.work.asks:
            return self.work.asks[approval]
        return self.gate if self.gate is not None and self.gate.id == approval else None

    @property
    def open_gates(self) -> list[Gate]:
        """What it has asked and nobody has decided."""
        if self.work is not None and self.work.asks:
            return [gate for gate in self.work.asks.values() if not gate.decision]
        return [self.gate] if self.gate is not None and not self.gate.decision else []

    @property
    def asks(self) -> bool:
        """It waits for people to decide."""
        return self.on in ASKS

    @property
    def unrepeatable(self) -> bool:
        """What it does at the moment must not be done again."""
        return self.program.node.repeat == "never" or (self.work is not None and bool(self.work.risky))


class Outbox:
    """What the facts since the last append mean outside the run; written in the same transaction as they are."""

    __slots__ = ("raises", "releases", "reserves", "settles", "signals", "takes", "unwaits", "waits")

    def __init__(self) -> None:
        self.takes: list[tuple[str, Slot]] = []
        self.releases: list[str] = []
        self.waits: list[tuple[str, WaitingOn, str, str]] = []
        self.unwaits: list[str] = []
        self.signals: list[Signal] = []
        self.reserves: list[dict[str, Any]] = []
        self.settles: list[dict[str, Any]] = []
        self.raises: list[dict[str, Any]] = []

    @property
    def is_empty(self) -> bool:
        outside = self.takes or self.releases or self.waits or self.unwaits or self.signals
        return not (outside or self.reserves or self.settles or self.raises)


class Run:
    """A run. Only facts change it."""

    __slots__ = (
        "abort",
        "agenda",
        "agents",
        "at",
        "blobs",
        "compensate",
        "cost_nano",
        "created",
        "end_status",
        "ending",
        "error",
        "finish",
        "finished_at",
        "generation",
        "grants",
        "halted",
        "held",
        "ignored",
        "last",
        "line",
        "meter",
        "mode",
        "models",
        "n",
        "outbox",
        "output",
        "output_blob",
        "paused",
        "pending",
        "program",
        "room",
        "root",
        "slotted",
        "started_at",
        "steps",
        "steps_done",
        "timer_count",
        "timers",
        "tokens",
        "tools",
        "uncertain_nano",
        "undo",
        "vars",
        "verdict",
        "waiting",
        "wanted",
    )

    def __init__(self, program: Program) -> None:
        self.program = program
        self.created: RunCreated | None = None
        self.end_status: RunStatus | None = None
        self.n = 0
        self.at = 0.0
        self.ignored = 0
        """Facts that did not fit: late outcomes, unknown paths."""
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.output: Any = None
        self.output_blob: Blob | None = None
        self.error: Failure | None = None
        self.vars: dict[str, Any] = dict(program.plan.vars)
        self.steps: dict[str, Step] = {}
        self.root: Scope | None = None
        self.agenda: dict[Step, Todo] = {}
        self.pending: dict[str, Step] = {}
        """Effects the world owes: path to step (running, or in doubt with a reconcile check)."""
        self.waiting: Counter[WaitingOn] = Counter()
        self.wanted: dict[str, Step] = {}
        """Steps that wait for a slot."""
        self.timers: list[tuple[float, int, Wake, Any]] = []
        self.timer_count = 0
        self.meter: Meter | None = None
        self.paused = False
        self.halted = False
        """Nothing new may start, because the fleet's switch says so. Given by the runtime, like the time."""
        self.slotted = False
        self.held: set[str] = set()
        """Scopes of the run's own claims."""
        self.generation = 0
        self.line: tuple[str, ...] = ()
        """Ids of the runs in which generation 1, 2 … began."""
        self.verdict: tuple[RunStatus, Failure | None, Any] | None = None
        """How the run ends when something has ended it early."""
        self.ending = ""
        self.abort = False
        self.compensate = False
        self.undo: list[Step] = []
        """Completed steps with a compensation, in order of completion."""
        self.finish = False
        self.last: Step | None = None
        """The step that moved last."""
        self.steps_done = 0
        self.cost_nano = 0
        self.tokens = 0
        self.uncertain_nano = 0
        """What may have been spent beside `cost_nano`."""
        self.models: dict[str, None] = {}
        """Models that were asked, in order."""
        self.tools: dict[str, None] = {}
        """Tools that were called, in order."""
        self.agents: dict[str, None] = {}
        """Agents that were given something to do, in order."""
        self.grants: list[dict[str, Any]] = []
        """Calls of tools that people have allowed for the rest of the run."""
        self.mode = ""
        """How its words came about: `live`, `local`, `simulated`, `replay` or `mixed`; empty without any."""
        self.outbox = Outbox()
        self.blobs: dict[str, Any] = {}
        """Large values that the runtime has loaded, by digest. Not part of the state: a cache."""
        self.room: Callable[[Step], bool] | None = None
        """Takes a place in a step's pool if one is free; None: there is always room. Given by the runtime, like the
        time: an effect is not promised before it can be performed, so a crash leaves nothing needlessly in doubt."""

    @property
    def id(self) -> str:
        return self.created.run if self.created else ""

    @property
    def ended(self) -> bool:
        return self.end_status is not None

    @property
    def blocked(self) -> bool:
        """Nothing new may start: paused, or without the slots that the run needs."""
        return self.paused or not self.has_slots

    @property
    def stopped(self) -> bool:
        """Nothing new may start, for whatever reason."""
        return self.halted or self.blocked

    @property
    def has_slots(self) -> bool:
        return self.slotted or self.created is None or not self.created.slots

    @property
    def status(self) -> RunStatus:
        if self.end_status is not None:
            return self.end_status
        if self.started_at is None:
            return "pending"
        if self.pending or (self.agenda and not self.blocked):
            return "running"
        if self.finish and not (self.must_undo and self.blocked):
            return "running"
        return "waiting"

    @property
    def spot(self) -> Step | None:
        """The step that it is at: the one that moved last, unless that is over and another one is not."""
        last, scope = self.last, self.root
        if last is None or not last.settled or self.ended:
            return last
        found: Step | None = None
        while scope is not None and scope.active:
            found = next(reversed(scope.active))
            scope = next(reversed(found.inner.open.values()), None) if found.inner is not None else None
        return found or last

    @property
    def waiting_on(self) -> WaitingOn | None:
        """What a waiting run waits for; the most pressing of several."""
        if self.status != "waiting":
            return None
        if self.paused:
            return "paused"
        for on in _PRESSING:
            if self.waiting[on]:
                return on
        return "slot" if self.agenda or self.finish else "timer"

    @property
    def wants_slot(self) -> bool:
        """There is something to decide that needs the run's slots, and it does not hold them."""
        if self.has_slots or self.ended or self.paused:
            return False
        unstarted = self.started_at is None and self.root is not None and not self.root.closing
        return unstarted or bool(self.agenda) or self.must_undo

    @property
    def must_undo(self) -> bool:
        """The run comes to a bad end, and completed steps are to be undone before that."""
        if not self.finish or not self.undo or not (self.compensate or self.program.plan.on_failure == "compensate"):
            return False
        if self.verdict is not None:
            return self.verdict[0] != "completed"
        return self.root is not None and self.root.failure is not None

    @property
    def wake_at(self) -> float | None:
        """When the next timer is due; None when none is set."""
        return self.timers[0][0] if self.timers else None


_PRESSING: tuple[WaitingOn, ...] = ("approval", "in_doubt", "budget", "slot", "signal", "child", "timer")
