"""Plans in a few words, and runs that are played on a virtual clock: no loop, no disk, no sleeping.

`Play` does to a run what an engine does: it hands in what happened, lets the core decide until it is quiet, and makes
one append of it. Of the store it keeps what survives a crash: bytes, blobs, claims, waits, signals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from fleetprompt.engine.core import command, outcome
from fleetprompt.engine.core.advance import advance, grant, refuse
from fleetprompt.engine.core.batch import Batch, remember
from fleetprompt.engine.core.codec import decode
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import Code, Failure
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.facts import AnyFact, RunCreated, Slot, StepStarted
from fleetprompt.engine.core.gate import Gate
from fleetprompt.engine.core.plan import Block, Case, Loop, Need, Node, Plan, Test, plan_digest
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.state import Inner, Meter, Outbox, Run, Scope, Step, Work
from fleetprompt.engine.core.timers import drop_stale_timers, timer_holds

NOW = 1_800_000_000.0
LIVELOCK = 20_000
"""Facts of one turn after which a decision is taken to lead nowhere."""

# ---------------------------------------------------------------- plans


def needs_of(names: Sequence[str] | None) -> tuple[Need, ...] | None:
    """`["a", "b.failed"]` as the plan has it."""
    return None if names is None else tuple(Need(*name.split(".")) for name in names)


def node(id: str, kind: str = "effect", *, needs: Sequence[str] | None = None, **fields: Any) -> Node:
    return Node(id=id, type=fields.pop("type", kind), kind=kind, needs=needs_of(needs), **fields)  # type: ignore[arg-type]


def act(id: str, **fields: Any) -> Node:
    """A step that does outside work."""
    return node(id, type=fields.pop("type", "act"), **fields)


def calc(id: str, output: Any, **fields: Any) -> Node:
    return node(id, "transform", config={"output": output}, **fields)


def cond(id: str, test: Test, then: Sequence[Node] = (), els: Sequence[Node] = (), **fields: Any) -> Node:
    blocks = tuple(Block(name, tuple(nodes)) for name, nodes in (("then", then), ("else", els)) if nodes)
    cases = (Case("then", test=test), Case("else"))
    return node(id, "choose", type="condition", cases=cases, blocks=blocks, **fields)


def switch(
    id: str, value: str, cases: dict[str, tuple[Any, Sequence[Node]]], default: Sequence[Node] = (), **fields: Any
) -> Node:
    """Cases are `{port: (values, nodes)}`."""
    made = tuple(Case(port, equals=tuple(values)) for port, (values, _) in cases.items())
    blocks = {**{port: nodes for port, (_, nodes) in cases.items()}, "default": default}
    return node(
        id,
        "choose",
        type="switch",
        value=value,
        cases=(*made, Case("default")),
        blocks=tuple(Block(name, tuple(nodes)) for name, nodes in blocks.items() if nodes),
        **fields,
    )


def fan(id: str, branches: dict[str, Sequence[Node]], **fields: Any) -> Node:
    """A `parallel`."""
    blocks = tuple(Block(name, tuple(nodes)) for name, nodes in branches.items())
    return node(id, "parallel", blocks=blocks, **fields)


_LOOP = ("name", "concurrency", "max_iterations", "on_item_error")


def each(id: str, over: Any, nodes: Sequence[Node], *, test: Test | None = None, **fields: Any) -> Node:
    """A `loop` over items."""
    own = {key: fields.pop(key) for key in _LOOP if key in fields and key != "concurrency"}
    at_once = fields.pop("at_once", 1)
    spec = Loop(over=over, test=test, concurrency=at_once, **own)
    return node(id, "loop", loop=spec, blocks=(Block("steps", tuple(nodes)),), **fields)


def during(id: str, test: Test, nodes: Sequence[Node], **fields: Any) -> Node:
    """A `loop` with `while`."""
    return each(id, None, nodes, test=test, **fields)


def ask(id: str, message: str = "Go on?", *, needs: Sequence[str] | None = None, **config: Any) -> Node:
    """An `approval`."""
    own = {key: config.pop(key) for key in ("when", "on_error", "set", "asserts", "compensate") if key in config}
    return node(id, "approval", needs=needs, config={"message": message, **config}, **own)


def delay(id: str, seconds: Any = 60, **fields: Any) -> Node:
    return node(id, "delay", config=fields.pop("config", {"for": seconds}), **fields)


def listen(id: str, signal: str = "it.happened", *, key: str = "", timeout: Any = None, **fields: Any) -> Node:
    """A `wait`."""
    config: dict[str, Any] = {"signal": signal}
    if key:
        config["key"] = key
    if timeout is not None:
        config["timeout"] = timeout
    return node(id, "wait", config=config, **fields)


def emit(id: str, signal: str = "it.happened", *, data: Any = None, **fields: Any) -> Node:
    return node(id, "emit", config={"signal": signal, "data": data, **fields.pop("config", {})}, **fields)


def call(
    id: str, workflow: str = "child", *, wait: bool = True, inputs: Any = None, timeout: Any = None, **fields: Any
) -> Node:
    """A `workflow`."""
    config: dict[str, Any] = {"workflow": workflow, "with": inputs or {}}
    if timeout is not None:
        config["timeout"] = timeout
    if not wait:
        config["wait"] = False
    return node(id, "workflow", config=config, **fields)


def halt(id: str, status: str = "completed", **fields: Any) -> Node:
    """A `stop`."""
    config = {"status": status} | {key: fields.pop(key) for key in ("message", "output") if key in fields}
    return node(id, "stop", config=config, **fields)


def plan(*nodes: Node, name: str = "flow", **fields: Any) -> Plan:
    if "output" in fields:
        fields["has_output"] = True
    return Plan(name=name, root=Block("root", tuple(nodes)), **fields)


# ---------------------------------------------------------------- a run and its surroundings


class Stuck(AssertionError):
    """Nothing is owed, waited for or timed, and the run has not ended."""


class Play:
    """One run, what it has appended, and what it holds outside."""

    def __init__(
        self,
        plan_: Plan,
        inputs: Any = None,
        *,
        now: float = NOW,
        facts: Iterable[AnyFact] | None = None,
        blobs: dict[str, bytes] | None = None,
        pure: bool = False,
        verify: bool = True,
        every: int = 1,
        order: Any = None,
        places: int = 0,
        **created: Any,
    ) -> None:
        self.program = Program(plan_, plan_digest(plan_))
        self.now = now
        self.pure = pure
        """Ask for every decision twice, and look that asking changes nothing."""
        self.verifies = verify
        self.every = every
        """Of how many appends one is compared with what the journal folds to."""
        self.run = Run(self.program)
        self.facts: list[AnyFact] = []
        self.journal: list[bytes] = []
        self.appends: list[int] = []
        """Length of the journal after each append."""
        self.blobs: dict[str, bytes] = dict(blobs or {})
        self.loads = 0
        self.claims: dict[tuple[str, str], int] = {}
        """(scope, path) to the amount held."""
        self.limits: dict[str, int] = {}
        self.others: Counter[str] = Counter()
        """Units that other runs hold of a scope."""
        self.waits: dict[str, tuple[str, str, str]] = {}
        self.signals: dict[str, Signal] = {}
        self.performed: Counter[tuple[str, int]] = Counter()
        """How often each attempt at an effect has begun, by path and number."""
        self._seen: set[tuple[str, int, bool]] = set()
        self.ended_children: set[str] = set()
        """Runs that were told to be over."""
        self.watch: Callable[[AnyFact], None] | None = order.see if order is not None else None
        """Sees every fact before it is folded."""
        self.order = order
        self.places = places
        """How many effects may be promised at a time; 0: any number."""
        if facts is None:
            facts = [self.created(inputs, **created)]
        self.tell(facts)

    def created(self, inputs: Any = None, **fields: Any) -> RunCreated:
        values: dict[str, Any] = {"run": "r1", "plan": self.program.digest, "workflow": self.program.plan.name}
        deadline = self.program.plan.deadline
        values["deadline"] = self.now + deadline if deadline is not None else None
        return RunCreated(at=self.now, inputs=inputs or {}, **(values | fields))

    # ------------------------------------------------------------ a turn

    def tell(self, facts: Iterable[AnyFact] | Refusal) -> list[AnyFact]:
        """Append these facts and everything the core decides then; what was appended."""
        assert not isinstance(facts, Refusal), facts.reason
        self.run.outbox = Outbox()
        self.run.room = self._room if self.places else None
        batch = Batch()
        for fact in facts:
            self._look(fact)
            batch.add(self.run, [fact])
        while True:
            self._settle(batch)
            self.blobs.update(batch.blobs)
            if not batch.needs:
                break
            self.load(batch.needs)
        self._commit(batch)
        return batch.facts

    def _room(self, step: Step) -> bool:
        return not self.is_full

    @property
    def is_full(self) -> bool:
        return 0 < self.places <= len(self.run.pending)

    def settle(self) -> list[AnyFact]:
        """Look whether time alone has made something decidable."""
        return self.tell([])

    def _settle(self, batch: Batch) -> None:
        if not self.pure and self.watch is None:
            batch.settle(self.run, self.now, LIVELOCK)
        else:
            batch.needs = ""
            while len(batch.facts) < LIVELOCK:
                try:
                    facts = self._asked_twice() if self.pure else advance(self.run, self.now)
                except NeedsValue as needs:
                    batch.needs = needs.digest
                    return
                if not facts:
                    return
                for fact in facts:
                    self._look(fact)
                    batch.add(self.run, [fact])
        assert len(batch.facts) < LIVELOCK, f"no end of decisions: {batch.facts[-1]}"

    def _look(self, fact: AnyFact) -> None:
        if self.watch is not None:
            self.watch(fact)
        if isinstance(fact, StepStarted) and fact.role == "step" and fact.path in self.run.steps:
            assert not self.run.steps[fact.path].scope.closing, f"{fact.path} starts where nothing new may start"

    def _asked_twice(self) -> list[AnyFact]:
        before = snapshot(self.run)
        first = advance(self.run, self.now)
        second = advance(self.run, self.now)
        assert first == second
        assert snapshot(self.run) == before, "asking for a decision changed the run"
        return first

    def _commit(self, batch: Batch) -> None:
        run, out = self.run, self.run.outbox
        self.facts += batch.facts
        self.journal += batch.encoded
        if batch.facts:
            self.appends.append(len(self.journal))
        # As a store does it: releases before takes, unwaits before waits.
        for path in out.releases:
            for key in [key for key in self.claims if path in ("*", key[1])]:
                del self.claims[key]
        for path, slot in out.takes:
            self.limits[slot.scope] = slot.limit
            if (slot.scope, path) not in self.claims:
                assert self.free(slot), f"{path} takes {slot.scope}, which is not free"
                self.claims[(slot.scope, path)] = slot.amount
        for path in out.unwaits:
            self.waits.pop(path, None)
        for path, on, ref, key in out.waits:
            self.waits[path] = (on, ref, key)
        for signal in out.signals:
            self.signals.setdefault(signal.id, signal)
        run.outbox = Outbox()
        for step in run.pending.values():
            seen = (step.path, step.attempt, step.status == "in_doubt")
            if seen not in self._seen:
                self._seen.add(seen)
                if step.status == "running":
                    self.performed[(step.path, step.attempt)] += 1
        if self.verifies:
            self.check(fold=len(self.appends) % self.every == 0)

    def load(self, digest: str) -> None:
        """Bring a spilled value back."""
        self.loads += 1
        assert self.loads < 5_000, "values are loaded again and again"
        data = self.blobs[digest]
        remember(self.run, digest, msgspec.json.decode(data), len(data))

    # ------------------------------------------------------------ what must always hold

    def check(self, *, fold: bool = True) -> None:
        """What holds after every append, whatever happened."""
        run = self.run
        if fold:
            other = difference(snapshot(self.folded()), snapshot(run))
            assert not other, f"folding the journal gives another run: {other}"
        if self.order is not None:
            self.order.check_nothing_is_forgotten(self)
        assert run.ignored == 0, "the core made a fact that does not fit"
        drop_stale_timers(run)
        assert run.wake_at is None or run.wake_at > self.now, "a timer is due, and nothing comes of it"
        if run.ended:
            assert not run.pending, "effects are owed by a run that has ended"
            assert not self.claims, "claims are held by a run that has ended"
            assert not self.waits, "a run that has ended still waits"
            assert not +run.waiting
            return
        assert set(self.waits) == {s.path for s in run.steps.values() if s.on in ("signal", "child") or _queues(s)}
        if run.status == "waiting":
            own = [key for key in self.claims if key[1] == ""]
            assert not own, "a run that waits holds its slots"
        if self.is_stuck():
            raise Stuck(f"nothing can move this run: {self.statuses}")

    def is_stuck(self) -> bool:
        run = self.run
        waits = run.pending or run.wanted or run.wants_slot or run.paused or run.wake_at is not None
        waits = waits or any(run.waiting[on] for on in ("approval", "signal", "child", "in_doubt", "budget"))
        return not run.ended and not waits

    def folded(self, upto: int | None = None) -> Run:
        """The run that the stored bytes make."""
        return fold(self.program, [decode(data) for data in self.journal[:upto]])

    # ------------------------------------------------------------ time and crashes

    def tick(self, seconds: float) -> list[AnyFact]:
        self.now += seconds
        return self.settle()

    def wake(self) -> list[AnyFact]:
        """Let the time come for which the next timer is set."""
        drop_stale_timers(self.run)
        assert self.run.wake_at is not None
        self.now = max(self.now, self.run.wake_at)
        return self.settle()

    def crash(self) -> list[AnyFact]:
        """Only what was appended is left; another engine takes the run up."""
        self.run = self.folded()
        self._seen = {seen for seen in self._seen if seen[0] not in self.run.pending}
        return self.tell(outcome.recovered(self.run, self.now, "the engine stopped"))

    # ------------------------------------------------------------ what happens

    def hand_in(self, ask: Callable[[], list[AnyFact] | Refusal]) -> list[AnyFact]:
        """Ask what something means, with every value that the answer needs, and append it."""
        while True:
            try:
                facts = ask()
                break
            except NeedsValue as needs:
                self.load(needs.digest)
        return self.tell(facts)

    def step(self, path: str) -> Step:
        return self.run.steps[path]

    def ok(self, path: str, output: Any = None, **fields: Any) -> list[AnyFact]:
        """The effect of a step happened."""
        return self.hand_in(lambda: outcome.succeeded(self.run, self._owed(path), self._at(), output, **fields))

    def fail(
        self, path: str, code: Code = "TOOL_ERROR", message: str = "boom", *, retryable: bool = True, **fields: Any
    ) -> list[AnyFact]:
        """The effect of a step definitely did not succeed."""
        error = Failure(code, message, retryable=retryable)
        return self.tell(outcome.failed(self.run, self._owed(path), self._at(), error, **fields))

    def unknown(self, path: str, reason: str = "the connection broke", code: str = "INTERNAL") -> list[AnyFact]:
        return self.tell(outcome.unknown(self.run, self._owed(path), self._at(), reason, code))

    def reconciled(self, path: str, result: Any = None, error: Failure | None = None) -> list[AnyFact]:
        return self.hand_in(lambda: outcome.reconciled(self.run, self._owed(path), self._at(), result, error))

    def _owed(self, path: str) -> Step:
        assert path in self.run.pending, f"{path} is {self.status(path)}; owed: {list(self.run.pending)}"
        return self.run.pending[path]

    def _at(self) -> float:
        return max(self.now, self.run.at)

    def grant(self, path: str = "") -> list[AnyFact]:
        """A slot is free for the run, or for a step of it."""
        return self.hand_in(lambda: self.asked_slot(path))

    def asked_slot(self, path: str = "") -> list[AnyFact]:
        if not self.could_have(path):
            return []
        created = self.run.created
        slot = self.slot_of(path) if path else created.slots[0] if created is not None else Slot("", 0)
        return grant(self.run, path, slot, self.now)

    def could_have(self, path: str = "") -> bool:
        """Whether what a step, or the run, waits for is free, and nothing else is in the way."""
        return not self.run.paused and self._own_free() and (not path or self.free(self.slot_of(path)))

    def _own_free(self) -> bool:
        created = self.run.created
        missing = [slot for slot in created.slots if slot.scope not in self.run.held] if created else []
        return all(map(self.free, missing))

    def slot_of(self, path: str) -> Slot:
        step = self.run.wanted[path]
        concurrency = step.program.node.concurrency
        assert concurrency is not None
        return Slot(step.ref, concurrency.limit)

    def free(self, slot: Slot) -> bool:
        own = sum(amount for (scope, _), amount in self.claims.items() if scope == slot.scope)
        return own + self.others[slot.scope] + slot.amount <= slot.limit

    def refuse(self, path: str = "", on_conflict: str = "skip") -> list[AnyFact]:
        return self.tell(refuse(self.run, path, on_conflict, self.now))

    def cancel(self, reason: str = "") -> list[AnyFact]:
        return self.tell(command.cancel(self.run, self.now, by="ana", reason=reason))

    def pause(self) -> list[AnyFact]:
        return self.tell(command.pause(self.run, self.now, by="ana"))

    def resume(self) -> list[AnyFact]:
        return self.tell(command.resume(self.run, self.now, by="ana"))

    def vote(self, path: str, by: str = "ana", decision: str = "approved", **fields: Any) -> list[AnyFact]:
        return self.hand_in(lambda: self.voted(path, by, decision, **fields))

    def voted(self, path: str, by: str = "ana", decision: str = "approved", **fields: Any) -> list[AnyFact] | Refusal:
        gate = self.step(path).gate
        assert gate is not None
        return command.vote(self.run, self.now, approval=gate.id, by=by, decision=decision, **fields)

    def resolve(self, path: str, answer: str, output: Any = None, attempt: int | None = None) -> list[AnyFact]:
        said: dict[str, Any] = {"path": path, "answer": answer, "attempt": attempt, "output": output, "by": "ana"}
        return self.hand_in(lambda: command.resolve(self.run, self.now, **said))

    def hear(self, type_: str = "it.happened", data: Any = None, subject: str = "", id: str = "s1") -> list[AnyFact]:
        signal = Signal(id=id, type=type_, source="test", at=self.now, data=data, subject=subject)
        return self.hand_in(lambda: command.hear(self.run, self.now, signal))

    def child(self, path: str, status: str = "completed", output: Any = None, **fields: Any) -> list[AnyFact]:
        """The child run of a step is over."""
        ref = fields.pop("child", self.step(path).ref)
        self.ended_children.add(ref)
        return self.hand_in(
            lambda: command.child_finished(
                self.run, self.now, path=path, child=ref, status=status, output=output, **fields
            )
        )

    # ------------------------------------------------------------ how it stands

    def status(self, path: str = "") -> str:
        if not path:
            return self.run.status
        return self.run.steps[path].status if path in self.run.steps else "unknown"

    @property
    def owed(self) -> list[str]:
        return list(self.run.pending)

    @property
    def statuses(self) -> dict[str, str]:
        return {path: step.status for path, step in self.run.steps.items()}

    @property
    def started(self) -> list[str]:
        """Paths in the order of their first start."""
        return list(dict.fromkeys(fact.path for fact in self.facts if isinstance(fact, StepStarted)))

    def of(self, kind: type[Any], path: str | None = None) -> list[Any]:
        """The facts of a kind (about a step)."""
        return [f for f in self.facts if isinstance(f, kind) and (path is None or getattr(f, "path", "") == path)]

    def sent(self, type_: str) -> list[Signal]:
        return [signal for signal in self.signals.values() if signal.type == type_]


def _queues(step: Step) -> bool:
    """It waits for a slot of its own; waiting for the run's is nobody else's business."""
    return step.on == "slot" and bool(step.ref)


# ---------------------------------------------------------------- a run as plain data


def snapshot(run: Run) -> dict[str, Any]:
    """Everything about a run that decides what comes next, or that anyone can see. Caches are left out."""
    paths = {id(step): path for path, step in run.steps.items()}
    return {
        "status": run.status,
        "waiting_on": run.waiting_on,
        "wants_slot": run.wants_slot,
        "plain": {name: getattr(run, name) for name in _PLAIN},
        "agenda": [(step.path, int(todo)) for step, todo in run.agenda.items()],
        "pending": list(run.pending),
        "waiting": dict(+run.waiting),
        "wanted": list(run.wanted),
        "held": sorted(run.held),
        "undo": [step.path for step in run.undo],
        "last": run.last and run.last.path,
        "timers": sorted({(at, int(why), _name(run, subject)) for at, _, why, subject in _holding(run)}),
        "meter": _meter(run.meter),
        "root": _scope(run.root) if run.root else None,
        "steps": {path: _step(step) for path, step in run.steps.items()},
        "known": len(paths),
    }


_PLAIN = (
    "n", "at", "started_at", "finished_at", "end_status", "output", "output_blob", "error", "vars",
    "paused", "slotted", "generation", "line", "verdict", "ending", "abort", "compensate", "finish", "steps_done",
    "cost_nano", "tokens", "uncertain_nano", "models", "tools", "agents", "grants", "mode", "ignored",
)  # fmt: skip
_STEP = (
    "path", "status", "attempt", "tries", "generation", "input", "input_blob", "secrets", "output", "blob", "error",
    "port", "reason", "started_at", "finished_at", "wake", "why", "on", "ref", "until", "slot", "notes", "role",
)  # fmt: skip
_SCOPE = (
    "prefix", "name", "index", "item", "met", "lost", "unsettled", "settled", "live", "closing", "failure", "done",
)  # fmt: skip
_INNER = (
    "total", "opened", "done", "ok", "failed", "items", "results", "previous", "error", "closing", "taken", "unknown",
)  # fmt: skip


def _holding(run: Run) -> list[Any]:
    return [timer for timer in run.timers if timer_holds(run, timer)]


def _name(run: Run, subject: Any) -> str:
    if isinstance(subject, Step):
        return subject.path
    return "run" if subject is run or subject.step is None else f"meter of {subject.step.path}"


def _meter(meter: Meter | None) -> Any:
    return meter and (meter.limit, meter.used, meter.active, meter.since, meter.wake)


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        **{name: getattr(scope, name) for name in _SCOPE},
        "met": list(scope.met),
        "lost": list(scope.lost),
        "active": [step.path for step in scope.active],
        "steps": [step.path for step in scope.steps],
        "meters": [_meter(meter) for meter in scope.meters],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **{name: getattr(step, name) for name in _STEP},
        "notes": list(step.notes or ()),
        "inner": _inner(step.inner) if step.inner else None,
        "gate": _gate(step.gate) if step.gate else None,
        "work": _work(step.work) if step.work else None,
        "scope": step.scope.prefix,
    }


def _inner(inner: Inner) -> dict[str, Any]:
    return {
        **{name: getattr(inner, name) for name in _INNER},
        "results": dict(inner.results),
        "open": [_scope(scope) for scope in inner.open.values()],
        "meter": _meter(inner.meter),
    }


def _work(work: Work) -> dict[str, Any]:
    plain = {name: getattr(work, name) for name in Work.__slots__ if name not in ("asks", "risky")}
    return plain | {"risky": sorted(work.risky), "asks": {id_: _gate(gate) for id_, gate in work.asks.items()}}


def _gate(gate: Gate) -> dict[str, Any]:
    return {name: getattr(gate, name) for name in Gate.__slots__ if name != "votes"} | {"votes": dict(gate.votes)}


def difference(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two snapshots differ."""
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [line for key in keys for line in difference(one.get(key), other.get(key), f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in difference(a, b, f"{path}/{i}")]
    return [f"{path}: {one!r} and {other!r}"]
