"""The numbers of an engine, from the facts it commits.

Counters and histograms begin at nothing with the process, as monitoring systems expect (`rate` and `increase` know
resets). What is open now (approvals, doubts, reservations) is read from the store once, before anything is committed,
and kept by facts from there: after a restart it is right at once.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.evolve_work import started_by
from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalRequested,
    RunFinished,
    StepCancelled,
    StepFailed,
    StepNoted,
    StepResolved,
    StepSucceeded,
)
from fleetprompt.engine.core.spending import CALLS, COMPLETED
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Outstanding, Store
from fleetprompt.engine.telemetry.observing import new_facts
from fleetprompt.engine.telemetry.series import Counter, Histogram, Values

STEP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
WAIT_SECONDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 86_400.0, 3 * 86_400.0, 7 * 86_400.0)
NANO: Final = 1e-9
_ENDS = (StepSucceeded, StepFailed, StepCancelled, StepResolved)
_COUNTED: Final = frozenset({*_ENDS, StepNoted, RunFinished, ApprovalRequested, ApprovalDecided})
"""Of the others nothing is counted: most facts are of them."""
_TOOL_OUTCOMES: Final = {
    "tool.completed": "completed",
    "tool.reconciled": "completed",
    "tool.failed": "failed",
    "tool.broken_off": "in_doubt",
}


class Metrics:
    """Counts what an engine commits."""

    traces: ClassVar[bool] = False

    def __init__(self) -> None:
        self.executions = Counter()
        """Runs that are over, by workflow and status."""
        self.steps = Histogram(STEP_SECONDS)
        """Seconds from the start of a step to its end, by workflow and type: attempts, pauses and waits included."""
        self.requests = Counter()
        """Requests to models that are over, by model and outcome."""
        self.tokens = Counter()
        """By model and direction: `input`, `output`."""
        self.cost = Counter()
        """US dollars, by kind: `settled`, `uncertain`."""
        self.overshoots = Counter()
        """Requests that took more than was reserved for them, by model."""
        self.waits = Histogram(WAIT_SECONDS)
        """Seconds for which approvals were open, by decision."""
        self.calls = Counter()
        """Calls of tools that are over, by tool and outcome."""
        self._workflows, self._models, self._tools, self._types = Values(), Values(), Values(), Values()
        self._approvals: dict[str, tuple[str, float]] = {}
        """What is open: what it is about, and since when."""
        self._doubts: dict[str, int] = {}
        """Steps in doubt, by run."""
        self._held: dict[tuple[str, str], int] = {}
        """Nano-USD that are reserved, by tenant and id."""

    async def begin(self, store: Store) -> None:
        """See `Observer`: what is open before the first append."""
        found: Outstanding = await store.figures.outstanding()
        self._approvals = {approval: (about, at) for approval, about, at in found.approvals}
        self._doubts = dict.fromkeys(found.doubtful, 1)
        self._held = {(tenant, id_): nano for tenant, id_, nano in found.reserved if nano}

    # ------------------------------------------------------------ what is so now

    def workflow(self, name: str) -> str:
        """What a workflow is called in labels."""
        return self._workflows.bound(name)

    @property
    def approvals_pending(self) -> int:
        return len(self._approvals)

    @property
    def circling(self) -> int:
        """Agents that go in circles, and wait for somebody to say what to do."""
        return sum(about == "stuck" for about, _ in self._approvals.values())

    @property
    def in_doubt(self) -> int:
        return sum(self._doubts.values())

    @property
    def reserved_usd(self) -> float:
        return sum(self._held.values()) * NANO

    # ------------------------------------------------------------ what is committed

    def committed(self, run: Run, entry: Append) -> None:
        """See `Observer`."""
        workflow = self.workflow(entry.head.workflow)
        for fact in new_facts(entry):
            if type(fact) not in _COUNTED:
                continue
            if isinstance(fact, StepNoted):
                self._noted(run, fact)
            elif isinstance(fact, _ENDS):
                self._ended(run, workflow, fact)
            elif isinstance(fact, RunFinished):
                self.executions.add((workflow, fact.status))
            elif isinstance(fact, ApprovalRequested):
                self._approvals[fact.id] = (fact.about, fact.at)
            elif isinstance(fact, ApprovalDecided):
                self._decided(fact)
        self._doubtful(run, entry)
        self._reserved(entry)

    def _ended(self, run: Run, workflow: str, fact: StepSucceeded | StepFailed | StepCancelled | StepResolved) -> None:
        step = run.steps.get(fact.path)
        # A failure may be followed by another attempt, an answer by the rest of the work.
        if step is None or not step.settled:
            return
        if step.started_at is not None:
            self.steps.observe((workflow, self._types.bound(step.program.node.type)), fact.at - step.started_at)
        elif isinstance(fact, StepFailed):
            # Its input could not be made: it has failed before it began.
            self.steps.observe((workflow, self._types.bound(step.program.node.type)), 0.0)

    def _decided(self, fact: ApprovalDecided) -> None:
        found = self._approvals.pop(fact.id, None)
        if found is not None:
            self.waits.observe((fact.decision,), fact.at - found[1])

    def _noted(self, run: Run, fact: StepNoted) -> None:
        if fact.kind in CALLS:
            self._requested(fact)
        elif fact.kind in _TOOL_OUTCOMES:
            tool = mapping(fact.value).get("tool") or _begun(run, fact).get("tool")
            self.calls.add((self._tools.bound(str(tool or "")), _TOOL_OUTCOMES[fact.kind]))

    def _requested(self, fact: StepNoted) -> None:
        value = mapping(fact.value)
        model = self._models.bound(str(value.get("model") or ""))
        answered = fact.kind in COMPLETED
        self.requests.add((model, "completed" if answered else "failed"))
        if answered:
            for direction, tokens in _directions(value).items():
                self.tokens.add((model, direction), tokens)
            self.cost.add(("settled",), _count(value.get("cost_nano")) * NANO)
            if value.get("overshoot"):
                self.overshoots.add((model,))
        self.cost.add(("uncertain",), _count(value.get("uncertain_nano")) * NANO)

    def _doubtful(self, run: Run, entry: Append) -> None:
        count = run.waiting["in_doubt"] if run.waiting and not run.ended else 0
        if count:
            self._doubts[entry.run] = count
        elif self._doubts:
            self._doubts.pop(entry.run, None)

    def _reserved(self, entry: Append) -> None:
        for settle in entry.settles:
            self._held.pop((entry.tenant, settle.id), None)
        for reserve in entry.reserves:
            if reserve.amounts.cost_nano:
                self._held[entry.tenant, reserve.id] = reserve.amounts.cost_nano


def _begun(run: Run, fact: StepNoted) -> dict[str, Any]:
    """What was noted when a call began: of one that was broken off, its end does not say which tool it was."""
    step = run.steps.get(fact.path)
    return mapping(started_by(step, fact.key)) if step is not None else {}


def _directions(value: dict[str, Any]) -> dict[str, int]:
    """Tokens as they were used; where only their sum is known, as input: that is all there is of a picture."""
    usage = mapping(value.get("usage"))
    if usage:
        return {"input": _count(usage.get("input")), "output": _count(usage.get("output"))}
    return {"input": _count(value.get("tokens")), "output": 0}


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
