"""The engine: one asyncio loop that drives the live runs of a store.

Open it, start or command runs, and close it: what is in flight then is finished within its grace or left to the next
engine, never lost. Everything that runs side by side is started here or in the driver and performer.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.delivery import Subscriptions
from fleetprompt.engine.core.errors import Failure, FleetError, StoreUnavailable
from fleetprompt.engine.core.facts import AnyFact, Blob, RunCancelRequested
from fleetprompt.engine.core.names import HYDRATE_BYTES
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.signal import AGENT_FINISHED, FINISHED, MUTED, Signal
from fleetprompt.engine.core.signal_rules import Rules
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.ports import Append, Clock, RunHead, Store, Stored
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.agency import Agency
from fleetprompt.engine.runtime.budget_waits import BudgetWaits
from fleetprompt.engine.runtime.bus import Bus
from fleetprompt.engine.runtime.clock import SteadyClock, SystemClock
from fleetprompt.engine.runtime.deliveries import Deliverer
from fleetprompt.engine.runtime.driver import RETRY_SECONDS, Driver
from fleetprompt.engine.runtime.feed import Feed
from fleetprompt.engine.runtime.health import Vitals
from fleetprompt.engine.runtime.message import Message
from fleetprompt.engine.runtime.performer import Performer
from fleetprompt.engine.runtime.pieces import Pieces
from fleetprompt.engine.runtime.pools import Pool
from fleetprompt.engine.runtime.recordings import recording_of
from fleetprompt.engine.runtime.recovery import Recovered, Recovery, readable
from fleetprompt.engine.runtime.schedules import Schedules
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.slots import Slots
from fleetprompt.engine.runtime.starter import Starter
from fleetprompt.engine.runtime.switch import FleetSwitch
from fleetprompt.engine.runtime.threads import Threads
from fleetprompt.engine.runtime.timers import Timers
from fleetprompt.engine.runtime.traced import traced
from fleetprompt.engine.runtime.values import decoded
from fleetprompt.engine.runtime.watches import Watches
from fleetprompt.engine.runtime.workflows import Workflows
from fleetprompt.engine.telemetry.observing import Observer

log = logging.getLogger("fleetprompt")
T = TypeVar("T")

POOLS = {"shell": 32, "python": 256, "http": 256, "model": 256}
"""Places of the built-in step pools."""
OTHER_POOL = 16
THREADS = 64
YOUNG_OBJECTS = 50_000
"""New objects between two searches for garbage. Runs leave hardly any, and with Python's 700 the searches took a
fifth of the processor."""


class Limits(Struct, frozen=True):
    """How much an engine does at a time."""

    max_runs: int | None = None
    """Active runs of a tenant in the whole fleet; None: no limit."""
    pools: Mapping[str, int] = {}
    threads: int = THREADS
    grace: float = 10.0
    """Seconds that work may take to finish when the engine closes."""


class Engine:
    """Drives runs. Use it as `async with Engine(store) as engine`, made in the loop in which it lives."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        secrets: Secrets | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        directory: Path | str = ".",
        recover: bool = True,
        fires: bool = False,
        agency: Agency | None = None,
        rules: Rules | None = None,
        subscriptions: Subscriptions | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """`recover`: take up what was interrupted. `fires`: let schedules and file watches start runs, which is nothing
        for an engine that is there for a single run."""
        self.store = store
        elapsed = asyncio.get_running_loop().time
        self.clock: Clock = SteadyClock(clock or SystemClock(), elapsed, self._clock_was_set_back)
        self.now: Callable[[], float] = self.clock.now
        self.limits = limits or Limits()
        self.max_runs = self.limits.max_runs
        self.secrets = secrets or Secrets()
        self.host = socket.gethostname()
        self.directory = str(directory)
        self.feed = Feed()
        self.pieces = Pieces(self.secrets.redact_part)
        self.agency = agency or Agency(self.secrets, root=directory)
        self.agency.recording = lambda run, asker: recording_of(self, run, asker)
        self.guardrails = self.agency.guardrails
        """What the whole fleet may spend in a day."""
        self.budget_waits = BudgetWaits(self)
        self._freed = asyncio.Event()
        self.vitals = Vitals(self)
        self.live: dict[str, Driver] = {}
        self.recovered = Recovered()
        self.holds: dict[str, str] = {}
        """Runs for which nothing is done any more, and why."""
        self._held_of: dict[str, str] = {}
        """Tenants of the runs that are held."""
        self.unsent: dict[str, str] = {}
        """Channels of notifications whose messages nobody takes, and why."""
        self.troubles: list[tuple[float, str, str]] = []
        """The latest (at most 100) things that went wrong in the engine itself: time, where, what."""
        self.troubled = 0
        """How many there were since it was opened."""
        self.performer = Performer(self)
        self.switch = FleetSwitch(self)
        self.slots = Slots(self)
        self.starter = Starter(self)
        self.bus = Bus(self, rules or Rules())
        self.deliverer = Deliverer(self, subscriptions or Subscriptions())
        self.workflows = Workflows(self)
        self.schedules = Schedules(self)
        self.watches = Watches(self)
        self.recovery = Recovery(self)
        self.timers = Timers(self.now, self.recovery.wake)
        self.threads = Threads(self.limits.threads)
        self._recover = recover
        self.fires = fires
        self.observers = list(observers)
        """Told of all that becomes durable."""
        self.tracing = any(observer.traces for observer in self.observers)
        """Others are told where in a trace they are called from."""
        self._groups = {name: frozenset(members) for name, members in (groups or {}).items()}
        self._pools: dict[str, Pool] = {}
        self._waiters: dict[str, list[asyncio.Future[RunHead]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handles: set[asyncio.TimerHandle] = set()
        self._loading: dict[str, asyncio.Task[Driver | None]] = {}
        self._closing = False
        self.draining = False
        """The engine is closing: what comes in is recorded, nothing new is decided."""

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Engine:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Take up what was left: interrupted runs, signals nobody has routed, and after them timers that are overdue.

        Raises `StoreUnavailable`.
        """
        STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
        young, *older = gc.get_threshold()
        if 0 < young < YOUNG_OBJECTS:
            gc.set_threshold(YOUNG_OBJECTS, *older)
        await self.store.open()
        for observer in self.observers:
            await observer.begin(self.store)
        await self.workflows.refresh()
        await self.switch.load()
        if self._recover:
            self.recovered = await self.recovery.take_up()
        else:
            heads = await self.store.runs.unfinished(now=self.now())
            self.recovered = Recovered(others=len(heads))
        signals = await self.bus.drain()
        self.recovered = msgspec.structs.replace(self.recovered, signals=signals)
        self.recovery.ring()
        if self.deliverer.subscriptions:
            self.spawn(self.deliverer.live())
        if self.fires:
            # After the signals that were left: a schedule may have been paused while no engine was there.
            self.spawn(self.schedules.live())
            self.spawn(self.watches.live())

    async def close(self) -> None:
        """Finish or park: safe work is called off and done again later, other work gets its grace; nothing is lost."""
        if self._closing:
            return
        self._closing = self.draining = True
        self.timers.close()
        for handle in self._handles:
            handle.cancel()
        if self.fires:
            await self.watches.close()
        await self._let_finish()
        await self.deliverer.finish(self.limits.grace)
        for driver in list(self.live.values()):
            driver.stop()
        tasks = [task for driver in self.live.values() for task in driver.tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.grace)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self.limits.grace)
        await self.agency.close()
        self.threads.shutdown()
        await self.store.close()
        self.feed.close()
        self.pieces.close()
        for waiters in self._waiters.values():
            for future in waiters:
                future.cancel()

    async def _let_finish(self) -> None:
        """Give work that must not be repeated the time to end and to be recorded."""
        busy: list[asyncio.Task[None]] = []
        for driver in list(self.live.values()):
            for (path, _, in_doubt), task in list(driver.tasks.items()):
                step = driver.run.steps.get(path)
                if step is None or in_doubt or step.program.node.repeat == "safe":
                    task.cancel()
                else:
                    busy.append(task)
        if busy:
            await asyncio.wait(busy, timeout=self.limits.grace)
        # An outcome that came in is durable before the store closes.
        deadline = asyncio.get_running_loop().time() + self.limits.grace
        while any(driver.appending for driver in self.live.values()):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.002)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside everything else; its errors are recorded, they end nothing."""
        if self._closing:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.trouble("engine", error)

    async def patient(self, where: str, call: Callable[[], Awaitable[T]]) -> T:
        """What a call of the store gives, made again until the store is available."""
        for failures in count():
            try:
                return await call()
            except StoreUnavailable as error:
                self.trouble(where, error)
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
        raise AssertionError

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in a while, unless the engine closes before."""
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._handles.discard(handle)
            call()

        handle = loop.call_later(seconds, fire)
        self._handles.add(handle)

    def trouble(self, where: str, error: BaseException) -> str:
        """Record that something went wrong in the engine itself; returns what was recorded."""
        hint = f" ({error.hint})" if isinstance(error, FleetError) and error.hint else ""
        kind = "" if isinstance(error, FleetError) else f"{type(error).__name__}: "
        # Names of files may be any bytes, and what is told here is sent and written down.
        where = where.encode("utf-8", "backslashreplace").decode()
        what = self.secrets.redact(f"{kind}{error}{hint}").encode("utf-8", "backslashreplace").decode()
        log.warning("%s: %s", where, what, exc_info=error if not isinstance(error, FleetError) else None)
        self.troubled += 1
        self.troubles.append((self.now(), where, what))
        del self.troubles[:-100]
        self.feed.mark(troubles=True)
        return what

    def _clock_was_set_back(self, seconds: float) -> None:
        hint = "times that are recorded are ahead of the clock until it has caught up, or this process is started again"
        self.trouble("clock", FleetError(f"the clock was set back by {seconds:,.0f} s; timers go on", hint=hint))

    def hold(self, run_id: str, error: BaseException, tenant: str = "default") -> None:
        """Record that nothing can be done for a run, and why; the others know nothing of it."""
        self.holds[run_id] = self.trouble(f"run {run_id} is held", error)
        self._held_of[run_id] = tenant
        self.feed.mark(run=run_id, tenant=tenant)

    def release(self, run_id: str) -> None:
        """It is tried again what could not be done for a run."""
        self.holds.pop(run_id, None)
        self._held_of.pop(run_id, None)

    def holds_of(self, tenant: str) -> dict[str, str]:
        """Runs of a tenant for which nothing is done any more, and why."""
        return {run: why for run, why in self.holds.items() if self._held_of.get(run) == tenant}

    async def others_wrote(self) -> None:
        """Another process has written to the store: see what is there for this engine."""
        self.slots.others_wrote()
        await self.workflows.refresh()
        await self.bus.drain()
        self.schedules.look()
        self.deliverer.look()

    # ------------------------------------------------------------ runs

    async def history(self, run_id: str) -> list[AnyFact]:
        """All facts of a run. Raises `FleetError` when its journal is damaged."""
        return readable((await self.store.journal.histories([run_id]))[run_id])

    async def load(self, run_id: str, tenant: str | None = None) -> Run | None:
        """A run, folded from its journal; None when there is none, or none of that tenant (None: whosever it is)."""
        head = await self.store.runs.get(run_id, tenant)
        if head is None:
            return None
        return fold(await self.workflows.program(head.plan), await self.history(run_id))

    async def driver_of(self, run_id: str, tenant: str) -> Driver | None:
        """The driver of a run of a tenant; None also for a run of another."""
        driver = await self.driver(run_id)
        return driver if driver is not None and driver.tenant == tenant else None

    async def driver(self, run_id: str) -> Driver | None:
        """The driver of a run, which becomes live if it was parked; None when there is no such run."""
        driver = self.live.get(run_id)
        if driver is not None:
            return driver
        loading = self._loading.get(run_id)
        if loading is None:
            loading = asyncio.get_running_loop().create_task(self.recovery.revive(run_id))
            self._loading[run_id] = loading
        try:
            return await asyncio.shield(loading)
        finally:
            self._loading.pop(run_id, None)

    async def reach(self, run_id: str) -> Driver | None:
        """The driver of a run; None when there is no such run, or when it cannot be read: then it is held."""
        try:
            return await self.driver(run_id)
        except StoreUnavailable:
            raise
        except Exception as error:
            # Whatever is wrong with one run, those behind it go on.
            head = await self.store.runs.get(run_id)
            self.hold(run_id, error, head.tenant if head is not None else "")
            return None

    def park(self, driver: Driver) -> None:
        """Nothing is going on in a run: it becomes a row."""
        run_id = driver.run.id
        if self.live.get(run_id) is driver:
            del self.live[run_id]
            driver.parked = True
            self.slots.forget(run_id)
            self.recovery.keep(driver.run)

    def forward(self, run_id: str, message: Message) -> None:
        """Something came for a driver that has parked its run: its next driver takes it."""
        self.spawn(self._forward(run_id, message))

    async def _forward(self, run_id: str, message: Message) -> None:
        driver = await self.patient(f"run {run_id}", lambda: self.driver(run_id))
        if driver is not None:
            driver.deliver(message)

    def retire(self, driver: Driver) -> None:
        """The run is over."""
        run = driver.run
        if self.live.get(run.id) is driver:
            del self.live[run.id]
        self.slots.forget(run.id)
        self.timers.drop(run.id)

    async def wait(self, run_id: str) -> RunHead:
        """Until a run is over. Raises `FleetError` when there is no such run."""
        future: asyncio.Future[RunHead] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(run_id, []).append(future)
        if run_id in self.live:
            return await future
        head = await self.store.runs.get(run_id)
        if head is None:
            raise FleetError(f"there is no run {run_id}")
        if head.finished_at is not None and not future.done():
            future.set_result(head)
        return await future

    async def last_fact(self, run_id: str) -> AnyFact | None:
        """The last fact of a run's journal."""
        head = await self.store.runs.get(run_id)
        if head is None:
            return None
        found = await self.store.journal.facts(run_id, after=head.n - 1)
        last = found[-1] if found else None
        return last.fact if isinstance(last, Stored) else None

    async def blob(self, blob: Blob, tenant: str) -> Any:
        """A spilled value; what stands for it when it is too large to be shown."""
        if blob.size > HYDRATE_BYTES:
            return {"ref": blob.digest, "size": blob.size}
        data = await self.store.blobs.get(blob.digest, tenant)
        return decoded(blob.digest, data) if data is not None else None

    # ------------------------------------------------------------ what drivers ask

    def committed(self, driver: Driver, entry: Append, seq: int) -> None:
        """An append is durable: tell whoever listens."""
        self.feed.publish(entry.run, seq, entry.after, entry.facts, entry.tenant)
        if self.observers:
            self._observed(driver.run, entry)
        if entry.releases:
            self.slots.committed(entry)
        if entry.settles or entry.raises:
            self._freed.set()
            self._freed = asyncio.Event()
        if entry.deliveries:
            self.deliverer.look()
        if entry.signals:
            self.bus.notice(entry.signals, entry.routed)
        if entry.signals or entry.routed or entry.received is not None:
            self.feed.mark(signals=True, tenant=entry.tenant)
        if entry.head.finished_at is not None:
            for future in self._waiters.pop(entry.run, ()):
                if not future.done():
                    future.set_result(entry.head)

    def _observed(self, run: Run, entry: Append) -> None:
        for observer in list(self.observers):
            try:
                observer.committed(run, entry)
            except Exception as error:
                # A mistake of one that only looks on is no reason to hold a run; told once, for it would go on.
                self.observers.remove(observer)
                self.trouble(f"{type(observer).__name__}, which is told of nothing any more", error)

    async def budget_freed(self, seconds: float) -> None:
        """Until a budget may have room again, or for so long: others may share it."""
        try:
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        except TimeoutError:
            pass

    def outgoing(self, run: Run, signals: list[Signal]) -> list[Signal]:
        """The signals a run sends, as they are stored: the ends of agents' work only where they start something."""
        leaving = [signal for signal in signals if self._is_heard(signal)]
        if self.tracing:
            leaving = [traced(run, signal) for signal in leaving]
        if run.created is not None and MUTED in run.created.labels:
            leaving = [msgspec.structs.replace(signal, muted=True) for signal in leaving]
        return [self.bus.admission.leaving(signal) for signal in leaving]

    def _is_heard(self, signal: Signal) -> bool:
        if signal.type != AGENT_FINISHED:
            return True
        data = mapping(signal.data)
        if self.deliverer.subscriptions.wants(signal):
            return True
        return self.workflows.routes.listens_to_agent(str(data["agent"]), str(data["status"]), signal.tenant)

    def anyone_listens(self, run: Run, signal: Signal) -> bool:
        """Whether the end of a run matters to a parent or to a trigger."""
        created = run.created
        if signal.type != FINISHED or created is None or created.parent:
            return True
        return self.workflows.routes.listens(created.workflow, run.status, created.tenant)

    def pool(self, name: str) -> Pool | None:
        """The step pool of a name; None for no name."""
        if not name:
            return None
        found = self._pools.get(name)
        if found is None:
            capacity = self.limits.pools.get(name, POOLS.get(name, OTHER_POOL))
            found = self._pools[name] = Pool(name, capacity)
        return found

    def pool_of(self, step: Step) -> Pool | None:
        """The pool in which a step is performed."""
        node = step.program.node
        return self.pool(node.pool or (STEPS.get(node.type).pool_name if node.type in STEPS else ""))

    @property
    def pools(self) -> Mapping[str, Pool]:
        return self._pools

    def groups_of(self, person: str) -> list[str]:
        """The groups an identity belongs to."""
        return [name for name, members in self._groups.items() if person in members]

    def cancel_for(self, run_id: str, scope: str, before: float) -> None:
        """A run that began at that time needs what an older one holds, and its file says that the newer one wins."""
        self.spawn(self._cancel_for(run_id, scope, before))

    async def _cancel_for(self, run_id: str, scope: str, before: float) -> None:
        driver = await self.patient(f"run {run_id}", lambda: self.driver(run_id))
        if driver is None:
            return

        def ask(run: Run, now: float) -> list[AnyFact]:
            if run.ended or run.verdict is not None or run.created is None or run.created.at > before:
                return []
            failure = Failure("CANCELLED", f"a newer run took {scope}", retryable=False)
            return [RunCancelRequested(at=max(now, run.at), by="", reason=f"replaced in {scope}", error=failure)]

        driver.tell(ask)
