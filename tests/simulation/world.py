"""A world for engines to live and die in: virtual time, a disk, effects that are remembered, and an operator.

A `World` outlives its engines. `play` boots one, and after each crash (or shutdown) another on what was durable, until
everything the scenario started is over. Nothing here sleeps, and the same seed gives the same story.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from sim_store import SimStore
from virtual_loop import Stuck, VirtualLoop

from fleetprompt.engine.core import codec
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import AnyFact, Blob, RunForked, StepStarted
from fleetprompt.engine.core.keys import effect_key
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.definition.load import Loaded, load_text
from fleetprompt.engine.ports import Append
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.runtime.head import head_of
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.steps.python import Permanent, RetryAfter, StepContext
from fleetprompt.engine.store.memory_state import State

EPOCH = 1_800_000_000.0
TICK = 0.25
"""How often the operator looks."""
PATIENCE = 30 * 86_400.0
"""Virtual seconds after which a story that has not ended is stuck."""

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")


# ---------------------------------------------------------------- effects


@dataclass
class Deeds:
    """What really happened out there, by idempotency key. Engines come and go; this stays."""

    calls: list[tuple[str, str, int]] = field(default_factory=list)
    """Run, path and attempt of every call, in order of its begin."""
    tries: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    values: dict[str, Any] = field(default_factory=dict)
    repeat: dict[str, str] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """The most calls that were in flight at once, by tag."""
    unpromised: list[tuple[str, str, int]] = field(default_factory=list)
    """Calls that no journal had promised when they were made."""


_world: World | None = None


async def act(
    context: StepContext,
    takes: float = 1.0,
    fails: int = 0,
    permanent: bool = False,
    retry_after: float | None = None,
    value: Any = "done",
    size: int = 0,
    repeat: str = "never",
    tag: str = "",
    stubborn: float = 0.0,
    broken_until: str = "",
    fails_until: str = "",
    enough: int = 0,
) -> Any:
    """The effect of every simulated step: it happens halfway through. The first `fails` tries fail before that.

    `stubborn`: seconds it goes on after having been cancelled, before it gives in. `broken_until`: it fails for good
    until the operator begins that deed; `fails_until`: it fails until then. `enough`: the result is the number of
    the try, and no more than this.
    """
    world = _world
    assert world is not None
    deeds, key = world.deeds, context.key
    call = (context.run, context.path, context.attempt)
    deeds.calls.append(call)
    if not world.promised(*call):
        deeds.unpromised.append(call)
    deeds.tries[key] += 1
    number = deeds.tries[key]
    deeds.repeat[key] = repeat
    tags = [tag, context.path] if tag else [context.path]
    try:
        for each in tags:
            deeds.running[each] += 1
            deeds.most[each] = max(deeds.most[each], deeds.running[each])
        await asyncio.sleep(takes * world.speed() / 2)
        if permanent or (broken_until and broken_until not in world.begun):
            raise Permanent("this fails for good")
        if number <= fails or (fails_until and fails_until not in world.begun):
            raise RetryAfter(retry_after) if retry_after is not None else RuntimeError("this fails")
        result = "x" * size if size else min(number, enough) if enough else value
        deeds.happened[key] += 1
        deeds.values[key] = result
        await asyncio.sleep(takes * world.speed() / 2)
        return result
    except asyncio.CancelledError:
        if stubborn:
            await asyncio.sleep(stubborn)
        raise
    finally:
        for each in tags:
            deeds.running[each] -= 1


async def check(context: StepContext, key: str) -> dict[str, Any]:
    """A reconcile check: it asks the world."""
    assert _world is not None
    await asyncio.sleep(0.1)
    return {"happened": _world.deeds.happened[key] > 0, "value": _world.deeds.values.get(key)}


def count(n: int) -> list[int]:
    """The numbers below `n`."""
    return list(range(n))


def echo(text: str) -> int:
    """How much of it arrived."""
    return len(text)


# ---------------------------------------------------------------- scenarios


@dataclass(frozen=True)
class Deed:
    """Something the operator does once, when the time has come: a signal, sent again until it is acknowledged."""

    name: str
    when: Callable[[World], bool]
    signal: Callable[[World], Signal]
    command: bool = True
    """Sent as a command (`submit`); otherwise published as from outside."""


@dataclass(frozen=True)
class Scenario:
    """Workflows, the runs that are started, and what the operator does."""

    name: str
    files: Sequence[str]
    starts: Sequence[tuple[str, Mapping[str, Any]]]
    """Workflow and inputs."""
    votes: Mapping[str, str] = field(default_factory=dict)
    """Path of an approval to the decision; `approved` where nothing is said, `""` for nobody decides."""
    deeds: Sequence[Deed] = ()
    limits: Limits = field(default_factory=lambda: Limits(grace=5.0))
    priorities: Mapping[int, int] = field(default_factory=dict)
    """Position in `starts` to a priority of the run."""
    expect: Mapping[str, Any] = field(default_factory=dict)
    """What the uncrashed story must come to: workflow to statuses."""
    says_go: str = ""
    """Type of a signal that is published whenever a step waits for one, with a key of its own for each."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """What the operator says about a step in doubt, by path; where nothing is said: the truth."""


Story = Callable[["World", Engine], Awaitable[None]]
Mode = Literal["before", "after", "close"]
Interruption = tuple[Mode, int]


class World:
    """Time, disk, effects and the operator's memory."""

    def __init__(self, scenario: Scenario, *, seed: int | None = None) -> None:
        self.scenario = scenario
        self.chaos = random.Random(seed) if seed is not None else None
        self.state = State()
        self.deeds = Deeds()
        self.time = 0.0
        self.skew = 0.0
        """What a jump of the wall clock has added."""
        self.begun: set[str] = set()
        self.acknowledged: set[str] = set()
        self.results: dict[str, Result] = {}
        self.points = 0
        self.log: list[str] = []
        self.interruption: Interruption | None = None
        self.interrupted = asyncio.Event()
        self.changed = asyncio.Event()
        """Something has become durable since the operator looked last."""
        self.hiccups = 0
        self.dead = False
        self.loop: VirtualLoop | None = None
        self.store: SimStore | None = None
        self.engine: Engine | None = None
        self.is_open = False
        self.recover = True
        self.fires = False
        """Schedules start runs."""
        self.patience = PATIENCE
        """Virtual seconds in which nothing becomes durable after which the story is stuck."""
        self.secrets = Secrets()
        self.groups: dict[str, list[str]] = {"oncall": ["ana"]}
        self.troubles: list[tuple[float, str, str]] = []
        self.breaks: list[str] = []
        """Exceptions that nobody has caught."""
        self.read_fault: Callable[[str], FleetError | None] = lambda what: None
        self.read_time: Callable[[str], float] = lambda what: 0.0
        """Seconds until an answer of the store arrives."""
        self.write_fault: Callable[[Append], FleetError | None] = lambda entry: None
        self.late_fault: Callable[[str], FleetError | None] = lambda what: None
        """What is said of a write that is durable all the same."""
        self.loaded = {loaded.plan.name: loaded for loaded in map(load, scenario.files)}
        self._ids = itertools.count(1)

    # ------------------------------------------------------------ clock and chance

    def now(self) -> float:
        """The wall clock."""
        loop = self.loop
        return EPOCH + (loop.time() if loop is not None else self.time) + self.skew

    def time_now(self) -> float:
        """Virtual seconds since the world began."""
        return self.loop.time() if self.loop is not None else self.time

    def commit_time(self) -> float:
        return 0.001 if self.chaos is None else self.chaos.choice((0.0, 0.001, 0.01, 0.2))

    def speed(self) -> float:
        return 1.0 if self.chaos is None else self.chaos.choice((0.0, 0.1, 0.5, 1.0, 1.0, 3.0))

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids):04}"

    # ------------------------------------------------------------ the disk

    def point(self, what: str, *, after: bool) -> bool:
        """A durable write is about to happen, or has just happened; False when the engine is dead."""
        if self.dead:
            return False
        if not after:
            self.points += 1
            self.log.append(what)
        else:
            self.changed.set()
            if self.loop is not None:
                self.loop.end = min(self.time + PATIENCE, self.loop.now + self.patience)
        wanted = self.interruption
        if wanted is None or wanted[1] != self.points or after != (wanted[0] != "before"):
            return True
        self.interruption = None
        if wanted[0] == "close":
            self.interrupted.set()
            self.changed.set()
            return True
        self.die()
        return False

    def die(self) -> None:
        """`kill -9`: not another callback runs, not another byte is written."""
        assert self.store is not None
        assert self.loop is not None
        self.state = self.store.journal.state.copy()
        self.dead = True
        self.loop.stop()

    async def through(self, what: str, call: Callable[[], Awaitable[Any]], *, writes: bool = False) -> Any:
        """A call of the store: it takes its time, may find the store unavailable, and may be the last."""
        fault = self.read_fault(what)
        if fault is not None:
            await asyncio.sleep(0.001)
            raise fault
        if self.chaos is not None and self.chaos.random() < 0.3:
            await asyncio.sleep(self.chaos.choice((0.0, 0.001, 0.05)))
        if writes and not self.point(what, after=False):
            await asyncio.get_running_loop().create_future()
        result = await call()
        if writes and not self.point(what, after=True):
            await asyncio.get_running_loop().create_future()
        late = self.late_fault(what) if writes else None
        if late is not None:
            raise late
        pause = self.read_time(what) if self.chaos is None else self.chaos.choice((0.0, 0.0, 0.001, 0.1))
        if pause or self.chaos is not None:
            await asyncio.sleep(pause)
        return result

    def append_fault(self, entry: Append) -> FleetError | None:
        return self.write_fault(entry)

    def appended(self, entry: Append) -> None:
        """For tests that want to watch."""

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.dead:
            self.breaks.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ------------------------------------------------------------ lives

    def live(self, interruption: Interruption | None = None, story: Story | None = None) -> bool:
        """One engine, until everything (or the story) is over (True), or it was interrupted (False)."""
        global _world
        self.points = 0
        self.log = []
        self.interruption = interruption
        self.dead = False
        loop = self.loop = VirtualLoop(self.time, chaos=self.chaos, end=self.time + self.patience)
        loop.set_exception_handler(self._broken)
        self.store = SimStore(self, self.state)
        before, _world = _world, self
        done = False
        try:
            done = loop.run_until_complete(self._life(story))
        except RuntimeError:
            if not self.dead:
                raise
        finally:
            _world = before
            if self.engine is not None:
                self.troubles += self.engine.troubles
            self.time = loop.now
            _bury(loop)
            loop.close()
            self.loop = None
        return done

    async def _life(self, story: Story | None) -> bool:
        assert self.store is not None
        self.interrupted = asyncio.Event()
        self.changed = asyncio.Event()
        self.engine = None
        self.is_open = False
        engine = Engine(
            self.store,
            clock=self,
            limits=self.scenario.limits,
            secrets=self.secrets,
            groups=self.groups,
            directory="",
            recover=self.recover,
            fires=self.fires,
        )
        self.engine = engine
        await engine.open()
        self.is_open = True
        done = False
        if story is not None:
            await self.register(engine)
            await story(self, engine)
            done = True
        while not done and not self.interrupted.is_set():
            self.changed.clear()
            self.hiccups = 0
            done = await self._tick(engine)
            if not done:
                if not self.hiccups and not self._all_over():
                    await self.changed.wait()
                await asyncio.sleep(TICK)
        await engine.close()
        self.state = self.store.dump()
        return done and not self.interrupted.is_set()

    async def _tick(self, engine: Engine) -> bool:
        """What the operator does when it looks; True when there is nothing left to do."""
        await self.register(engine)
        for i in range(len(self.scenario.starts)):
            await self._once(engine, f"start {i}", self.start_signal(i))
        for deed in self.scenario.deeds:
            if deed.name not in self.acknowledged and (deed.name in self.begun or deed.when(self)):
                self.begun.add(deed.name)
                await self._once(engine, deed.name, deed.signal(self), command=deed.command)
        await self._vote(engine)
        await self._resolve(engine)
        await self._say_go(engine)
        return self._all_over() and not engine.live

    async def register(self, engine: Engine) -> None:
        """Make the scenario's workflows known, once."""
        for name, loaded in self.loaded.items():
            if f"file {name}" not in self.acknowledged:
                await engine.workflows.register(loaded.plan, source=loaded.source, file=loaded.file)
                self.acknowledged.add(f"file {name}")

    async def start(self, workflow: str, run: str = "run-0", **inputs: Any) -> Result:
        """Start a run with this id."""
        assert self.engine is not None
        data = {"workflow": workflow, "inputs": inputs}
        return await self.engine.bus.submit(
            Signal(id=run, type=types.START, source="test", at=self.now(), by="ana", data=data)
        )

    async def send(self, type_: str, run: str = "run-0", *, key: str = "", **data: Any) -> Result:
        """A command about a run, and its answer."""
        assert self.engine is not None
        return await self.engine.bus.submit(self.command(type_, run, data, key=key))

    async def publish(self, type_: str, data: Any = None, *, subject: str = "", key: str = "") -> Signal:
        """A signal from outside."""
        assert self.engine is not None
        signal = Signal(
            id=self.new_id("news"), type=type_, source="test", at=self.now(), data=data, subject=subject, key=key
        )
        return (await self.engine.bus.publish(signal)).signal

    async def over(self, *runs: str) -> list[str]:
        """Wait until these runs are over; their statuses."""
        assert self.engine is not None
        return [(await self.engine.wait(run)).status for run in runs or ["run-0"]]

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait until something is so; by looking often, for a virtual hour."""
        for _ in range(36_000):
            if condition():
                return
            await asyncio.sleep(0.1)
        raise Stuck(what or "it did not come about within an hour")

    def _all_over(self) -> bool:
        state = self.disk
        return (
            len(state.runs) >= len(self.scenario.starts)
            and all(head.finished_at is not None for head in state.runs.values())
            and not state.unrouted
            and all(deed.name in self.acknowledged for deed in self.scenario.deeds)
        )

    def start_signal(self, i: int) -> Signal:
        """The command that starts the i-th run."""
        workflow, inputs = self.scenario.starts[i]
        data = {"workflow": workflow, "inputs": dict(inputs), "priority": self.scenario.priorities.get(i, 0)}
        return Signal(id=f"run-{i}", type=types.START, source="test", at=EPOCH, key=f"start-{i}", by="ana", data=data)

    async def _once(self, engine: Engine, name: str, signal: Signal, *, command: bool = True) -> None:
        if name in self.acknowledged:
            return
        try:
            if command:
                self.results[name] = await engine.bus.submit(signal)
            else:
                await engine.bus.publish(signal)
        except FleetError:
            self.hiccups += 1
            return
        self.acknowledged.add(name)

    async def _vote(self, engine: Engine) -> None:
        for approval in list(self.disk.approvals.values()):
            decision = self.scenario.votes.get(approval.path, "approved")
            if approval.status != "pending" or not decision:
                continue
            data = {"run": approval.run, "approval": approval.id, "decision": decision}
            signal = self.command(types.VOTE, approval.run, data)
            try:
                await engine.bus.submit(signal)
            except FleetError:
                self.hiccups += 1

    async def _say_go(self, engine: Engine) -> None:
        for (run, path), wait in list(self.disk.waits.items()):
            name = f"go {run} {path}"
            if self.scenario.says_go and wait.on == "signal" and name not in self.acknowledged:
                id_ = self.new_id("go")
                signal = Signal(id=id_, type=self.scenario.says_go, source="test", at=self.now(), key=name)
                await self._once(engine, name, signal, command=False)

    async def _resolve(self, engine: Engine) -> None:
        for run_id, head in list(self.disk.runs.items()):
            if head.finished_at is not None or head.status != "waiting":
                continue
            run = self.run(run_id)
            for step in run.steps.values():
                if step.status == "in_doubt" and step.path not in run.pending:
                    key = effect_key(run, step)
                    answer = self.scenario.answers.get(step.path) or ("happened" if self.deeds.happened[key] else "run")
                    data = {"run": run_id, "path": step.path, "answer": answer, "output": self.deeds.values.get(key)}
                    data["attempt"] = step.attempt
                    try:
                        await engine.bus.submit(self.command(types.RESOLVE, run_id, data))
                    except FleetError:
                        self.hiccups += 1

    def command(self, type_: str, run: str, data: Mapping[str, Any] | None = None, *, key: str = "") -> Signal:
        """A command from ana about a run."""
        id_ = self.new_id("cmd")
        data = {"run": run, **(data or {})}
        return Signal(id=id_, type=type_, source="test", at=self.now(), subject=run, by="ana", key=key, data=data)

    # ------------------------------------------------------------ looking

    @property
    def disk(self) -> State:
        """What is durable now."""
        return self.store.journal.state if self.store is not None and self.loop is not None else self.state

    def facts(self, run_id: str) -> list[AnyFact]:
        return [codec.decode(row.data) for row in self.disk.histories[run_id]]

    def run(self, run_id: str) -> Run:
        """The run as its journal makes it."""
        digest = self.disk.runs[run_id].plan
        return fold(self.program(digest), self.facts(run_id))

    def program(self, digest: str) -> Program:
        for loaded in self.loaded.values():
            if loaded.digest == digest:
                return _program(loaded)
        raise KeyError(digest)

    def promised(self, run_id: str, path: str, attempt: int) -> bool:
        """Whether it is durable that this attempt was begun."""
        return any(
            isinstance(fact, StepStarted) and (fact.path, fact.attempt) == (path, attempt)
            for fact in map(codec.decode, (row.data for row in reversed(self.disk.histories.get(run_id, []))))
        )

    def step(self, run_id: str, path: str) -> Step | None:
        """A step of a run as it stands on disk; None before the run exists."""
        return self.run(run_id).steps.get(path) if run_id in self.disk.runs else None

    def waits(self, run_id: str, on: str) -> bool:
        """Whether the run has a wait row of that kind, or stands still for that reason."""
        head = self.disk.runs.get(run_id)
        rows = any(run == run_id and wait.on == on for (run, _), wait in self.disk.waits.items())
        return head is not None and head.finished_at is None and (rows or head.waiting_on == on)


def _bury(loop: asyncio.AbstractEventLoop) -> None:
    """What a dead engine was about to do is never done, and nobody is told."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        _close(task.get_coro())


def _close(work: Any) -> None:
    """Close a coroutine and those it was given and has not begun to await."""
    frame = work.cr_frame
    if frame is not None and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        for given in list(frame.f_locals.values()):
            if inspect.iscoroutine(given):
                _close(given)
    with suppress(RuntimeError):
        work.close()


_files: dict[str, Loaded] = {}
_programs: dict[str, Program] = {}


def load(text: str) -> Loaded:
    """A workflow from its text; compiled once per process."""
    found = _files.get(text)
    if found is None:
        found = _files[text] = load_text(text, "test.yaml")
    return found


def _program(loaded: Loaded) -> Program:
    found = _programs.get(loaded.digest)
    if found is None:
        found = _programs[loaded.digest] = Program(loaded.plan, loaded.digest)
    return found


# ---------------------------------------------------------------- stories


def tell(
    story: Story,
    *files: str,
    seed: int | None = None,
    limits: Limits | None = None,
    world: World | None = None,
) -> World:
    """A story of one engine's life, in a new world or a given one; the engine is closed at its end."""
    world = world or World(Scenario("story", files, [], limits=limits or Limits(grace=5.0)), seed=seed)
    world.live(story=story)
    return world


def play(
    scenario: Scenario,
    *interruptions: Interruption,
    seed: int | None = None,
    prepare: Callable[[World], None] | None = None,
) -> World:
    """Live through a scenario: one engine per interruption, then one that sees it to the end."""
    world = World(scenario, seed=seed)
    if prepare is not None:
        prepare(world)
    for interruption in interruptions:
        if world.live(interruption):
            break
    else:
        assert world.live(), "the last engine did not finish"
    return world


@contextmanager
def in_world(world: World) -> Iterator[None]:
    """Let steps act in this world although its `live` does not run: for tests with a loop of their own."""
    global _world
    before, _world = _world, world
    try:
        yield
    finally:
        _world = before


# ---------------------------------------------------------------- what has to be true at the end


def ending(world: World) -> list[Any]:
    """How everything came out, without what may differ between two tellings: ids of runs, times, attempts."""
    found: list[Any] = []
    for run_id, head in world.disk.runs.items():
        run = world.run(run_id)
        steps = {path: (step.status, step.port) for path, step in run.steps.items()}
        output = _value(world, run.output_blob or run.output)
        error = run.error and (run.error.code, run.error.path)
        found.append((head.workflow, head.trigger, head.parent_path, head.status, output, error, steps))
    return sorted(found, key=repr)


_VOLATILE = {"at", "id", "run", "approval"}


def _value(world: World, value: Any) -> Any:
    if isinstance(value, Blob):
        return _value(world, msgspec.json.decode(world.disk.blobs[("default", value.digest)]))
    if isinstance(value, dict):
        return {key: _value(world, item) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_value(world, item) for item in value]
    return value


def check_end(world: World) -> None:
    """Every promise that can be checked on what is left when all is over."""
    state = world.disk
    assert all(head.finished_at is not None for head in state.runs.values()), "a run is stuck"
    assert {scope: dict(holders) for scope, holders in state.claims.items() if holders} == {}, "claims are left"
    assert not state.unrouted, "signals are left"
    assert not state.waits, "waits are left"
    assert [a.id for a in state.approvals.values() if a.status == "pending"] == [], "approvals are left open"
    assert not world.breaks, "something broke in the engine"
    check_effects(world.deeds)
    for run_id in state.runs:
        check_run(world, run_id)


def check_effects(deeds: Deeds) -> None:
    """What must not be repeated was not."""
    twice = {key: n for key, n in deeds.happened.items() if n > 1 and deeds.repeat[key] == "never"}
    assert not twice, f"effects that happened more than once: {twice}"
    assert not deeds.unpromised, f"effects that began before their intent was durable: {deeds.unpromised}"


def check_run(world: World, run_id: str) -> None:
    """A run's journal has no gaps, its row says the same as its facts, and no step ended twice."""
    state = world.disk
    rows = state.histories[run_id]
    assert [row.n for row in rows] == list(range(1, len(rows) + 1))
    facts = world.facts(run_id)
    run = fold(world.program(state.runs[run_id].plan), facts)
    head = state.runs[run_id]
    expected = head_of(run, head.host, head.updated_at)
    assert msgspec.structs.replace(expected, updated_at=head.updated_at, seq=rows[0].seq) == head
    ends = Counter(
        (fact.path, fact.attempt)  # type: ignore[union-attr]
        for fact in facts
        if type(fact).__name__ in ("StepSucceeded", "StepFailed")
    )
    assert [key for key, n in ends.items() if n > 1] == [], "an outcome was recorded twice"
    assert run.ignored == 0, "facts were recorded that mean nothing"
    copied = next((i for i, fact in enumerate(facts) if isinstance(fact, RunForked)), 0)
    times = [fact.at for fact in facts[copied:]]
    assert times == sorted(times), "time went back"


def statuses(world: World) -> dict[str, list[str]]:
    """Workflow to the statuses of its runs."""
    found: dict[str, list[str]] = {}
    for head in world.disk.runs.values():
        found.setdefault(head.workflow, []).append(head.status)
    return {name: sorted(values) for name, values in sorted(found.items())}


def happened(world: World, runs: Iterable[str] | None = None) -> int:
    """How many effects took place."""
    return sum(world.deeds.happened.values())
