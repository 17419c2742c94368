"""One live run: an inbox, no locks. Fold, decide, append, then perform what is owed.

A turn takes everything in the inbox, decides until quiet and hands one entry to the journal. Effects start only when
that entry is durable, and what happens meanwhile waits in the inbox. The one invariant: the tasks of this driver are
exactly the effects that the durable run owes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fleetprompt.engine.core.advance import grant, refuse
from fleetprompt.engine.core.batch import Batch, remember
from fleetprompt.engine.core.codec import encode
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import FleetError, Refused, StoreUnavailable
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.facts import AnyFact, Slot
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Outbox, Run, Step
from fleetprompt.engine.core.timers import drop_stale_timers
from fleetprompt.engine.ports import Append, Appended, ClaimRefused, Conflict, RunHead, Stored
from fleetprompt.engine.ports.budget import BudgetRefused
from fleetprompt.engine.runtime.entry import entry_of
from fleetprompt.engine.runtime.head import head_of
from fleetprompt.engine.runtime.message import Ask, Message
from fleetprompt.engine.runtime.pools import Pool
from fleetprompt.engine.runtime.values import decoded

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

T = TypeVar("T")
RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)
"""Pauses between attempts at what the store could not do."""
BASELESS = 10
"""Conflicts in a row that the journal does not bear out, before the run is held."""
CLOSED = "the engine was closed before this was recorded"
HELD = "this run is held, because its journal cannot be written or read"
BROKEN = "this run is held, because the engine could not go on with it"


class Driver:
    """Drives one run as long as there is something to do; then the run is a row again."""

    __slots__ = (
        "_asking",
        "_baseless",
        "_batch",
        "_failures",
        "_head",
        "_inbox",
        "_loading",
        "_taken",
        "appending",
        "closing",
        "engine",
        "fresh",
        "held",
        "parked",
        "places",
        "run",
        "tasks",
        "tenant",
        "timer",
        "work",
    )

    def __init__(self, engine: Engine, run: Run, *, fresh: bool = False, tenant: str = "") -> None:
        """`tenant` of a run that has no facts yet."""
        self.engine = engine
        self.run = run
        self.tenant = run.created.tenant if run.created is not None else tenant
        self.fresh = fresh
        """The run is not in the store yet."""
        self.tasks: dict[tuple[str, int, bool], asyncio.Task[None]] = {}
        self.appending = False
        self.closing = False
        self.held = False
        """The journal of this run cannot be trusted: nothing is done any more."""
        self.parked = False
        """The run is a row again: whatever still comes in goes to the driver it gets next."""
        self.timer: float | None = None
        self.work = 0.0
        """Seconds that effects took whose outcome is not on its way to the journal yet."""
        self.places: dict[str, Pool] = {}
        """Places taken for effects that are promised and not performed yet, by path."""
        self._inbox: deque[Message] = deque()
        self._batch = Batch()
        self._taken: list[Message] = []
        """Messages whose facts are in the batch, or on their way to the journal."""
        self._failures = 0
        self._baseless = 0
        """Conflicts one after the other that the journal does not bear out."""
        self._head: RunHead | None = None
        """The run's head as it was written last."""
        self._loading = False
        self._asking = False
        run.room = self._room

    # ------------------------------------------------------------ the inbox

    def deliver(self, message: Message) -> None:
        """Put something in the inbox; it is looked at as soon as no append is in flight."""
        if self.parked:
            self.engine.forward(self.run.id, message)
        elif self.held or self.closing:
            message.fail(StoreUnavailable(CLOSED) if self.closing else Refused(HELD))
        else:
            self._inbox.append(message)
            if not self.appending:
                self.turn()

    def tell(self, ask: Ask) -> None:
        """Deliver something that is no signal: an outcome, a note."""
        self.deliver(Message(ask))

    def wake(self) -> None:
        """A timer is due, or there is room."""
        if not self.appending:
            self.turn()

    # ------------------------------------------------------------ a turn

    def turn(self) -> None:
        """Take the inbox, decide, and append what came of it."""
        if self.appending or self._loading or self._asking or self.held or self.closing or self.parked:
            return
        try:
            self._turn()
        except Exception as error:
            # A mistake of ours: this run must not go on with half a decision, and the others know nothing of it.
            self.engine.hold(self.run.id, error, self.tenant)
            self._hold(Refused(f"{BROKEN}: {error}"))

    def _turn(self) -> None:
        run, batch, taken = self.run, self._batch, self._taken
        now = self.engine.now()
        run.halted = self.engine.switch.halts(run)
        self._asking = True
        try:
            self._ask(run, now)
        except NeedsValue as needs:
            self._load(needs.digest)
            return
        finally:
            self._asking = False
        if not self.engine.draining:
            # Once more: of a fresh run nobody knew before whose it is.
            run.halted = self.engine.switch.halts(run)
            batch.settle(run, now, heard=self.engine.bus.heard)
        if batch.facts or any(message.result is not None for message in taken):
            self._append()
        elif batch.needs:
            self._load(batch.needs)
        else:
            self._settle()
            self._rest()

    def _ask(self, run: Run, now: float) -> None:
        """Take up what is in the inbox. A slot that one message gives back may be granted to the run meanwhile."""
        batch, taken, inbox = self._batch, self._taken, self._inbox
        while inbox:
            message = inbox[0]
            if message.received and any(other.received for other in taken):
                break
            if message.after is not None and not self.engine.draining:
                batch.settle(run, now, heard=max(self.engine.bus.heard, message.after))
                if batch.needs:
                    raise NeedsValue(batch.needs)
            facts = self._made_of(message, now)
            inbox.popleft()
            if facts and not isinstance(facts, Refusal):
                batch.add(run, facts)
            if message.signal is not None and (facts or not message.overheard):
                message.result = _result(message.signal, facts, run)
            taken.append(message)

    def _made_of(self, message: Message, now: float) -> list[AnyFact] | Refusal:
        """The facts of a message. A signal that cannot be understood is refused, whatever is wrong with it."""
        try:
            return message.ask(self.run, now)
        except NeedsValue:
            raise
        except Exception as error:
            if message.signal is None:
                raise
            self.engine.trouble(f"signal {message.signal.id} for run {self.run.id}", error)
            return Refusal(f"it cannot be carried out: {error}")

    def _settle(self) -> None:
        taken, self._taken = self._taken, []
        for message in taken:
            message.settle()

    def _append(self) -> None:
        run, batch, out = self.run, self._batch, self.run.outbox
        drop_stale_timers(run)
        now, at = self.engine.now(), run.wake_at
        if at is not None and self.engine.bus.heard < at <= now:
            # A run that never rests must not wait for ever for its own timer.
            self._set_timer(at)
        self._head = head_of(run, self.engine.host, now, self._head)
        entry = entry_of(self.engine, run, batch, self._taken, self._head, self.work)
        self.work = 0.0
        if not out.is_empty:
            run.outbox = Outbox()
        self._batch = Batch()
        self._send(entry)

    def _send(self, entry: Append) -> None:
        self.appending = True
        self.engine.store.journal.post(entry, partial(self._appended, entry))

    def _appended(self, entry: Append, answer: Appended | Exception) -> None:
        if isinstance(answer, Exception):
            self._failed(entry, answer)
        else:
            self._durable(entry, answer.seq)

    def _durable(self, entry: Append, seq: int) -> None:
        self.fresh = False
        self._failures = self._baseless = 0
        if self._taken:
            self._settle()
        # What was released may be granted to this very run: that waits in the inbox until what is owed now has begun.
        self.engine.committed(self, entry, seq)
        self.appending = False
        if self._inbox or self.run.agenda or self.run.finish:
            self.reconcile()
            self.turn()
        else:
            self._rest()

    # ------------------------------------------------------------ when the store says no

    def _failed(self, entry: Append, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            # Order matters more than speed: the same entry is offered again, what happens meanwhile waits.
            pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            if not self._failures:
                self.engine.trouble(f"append of run {entry.run}, tried again until it succeeds", error)
            self._failures += 1
            if self.closing:
                for message in self._taken:
                    message.fail(StoreUnavailable(CLOSED))
                return
            asyncio.get_running_loop().call_later(pause, self._send, entry)
            return
        self.appending = False
        if isinstance(error, (Conflict, ClaimRefused, BudgetRefused)):
            self._loading = True
            self.engine.spawn(self.reload(entry, error))
            return
        self.engine.hold(entry.run, error, self.tenant)
        self._hold(Refused(f"{HELD}: {error}"))

    def _damaged(self, damage: FleetError) -> None:
        self.engine.hold(self.run.id, damage, self.tenant)
        self._hold(Refused(f"{HELD}: {damage.message}"))

    def _hold(self, reason: FleetError) -> None:
        self.held = True
        self.engine.slots.forget(self.run.id)
        for message in (*self._taken, *self._inbox):
            message.fail(reason)
        self._taken.clear()
        self._inbox.clear()

    async def reload(self, entry: Append, error: Conflict | ClaimRefused | BudgetRefused) -> None:
        """Forget what was folded, take the run from the journal and ask again whatever had led to what it refused."""
        engine, run_id = self.engine, self.run.id
        written = await self._written(entry) if self._failures else None
        self._failures = 0
        if written is not None:
            self.appending, self._loading = True, False
            self._durable(entry, written)
            return
        try:
            run = await engine.patient(f"run {run_id}", lambda: engine.load(run_id, self.tenant))
            taken, self._taken = self._taken, []
            if run is None:
                for message in taken:
                    message.fail(error)
                engine.retire(self)
                return
            again = [
                message
                for message in taken
                if not message.offer and not _is_refused(message, error) and not await self._is_answered(message)
            ]
        except FleetError as damage:
            self._damaged(damage)
            return
        finally:
            self._loading = False
        self._inbox.extendleft(reversed(again))
        self._baseless += isinstance(error, Conflict) and run.n == entry.after
        if self._baseless == BASELESS:
            # Nobody else has written: to ask again would go on for ever.
            self._damaged(error)
            return
        self._batch = Batch()
        self._head = None
        self.run = run
        run.room = self._room
        engine.slots.review(run)
        if isinstance(error, ClaimRefused):
            engine.slots.refused(error, entry.tenant)
        self.turn()

    async def _written(self, entry: Append) -> int | None:
        """The position of an entry that seemed to fail, if the journal holds it after all."""
        journal, upto = self.engine.store.journal, entry.after + len(entry.facts)
        found = await self.engine.patient(
            f"run {entry.run}", lambda: journal.facts(entry.run, after=entry.after, upto=upto)
        )
        facts = [stored for stored in found if isinstance(stored, Stored)]
        same = facts and tuple(encode(stored.fact) for stored in facts) == entry.encoded
        return facts[0].seq if same else None

    async def _is_answered(self, message: Message) -> bool:
        """Whether an append that seemed to fail had answered a signal after all."""
        signal, store = message.signal, self.engine.store
        if signal is None:
            return False
        _, results = await self.engine.patient("results", lambda: store.signals.results(signal.id))
        found = next((result for result in results if result.run == self.run.id), None)
        if found is not None:
            message.result = found
            message.settle()
        elif message.received:
            message.received = await self.engine.patient("signal", lambda: store.signals.get(signal.id)) is None
        return found is not None

    def _load(self, digest: str) -> None:
        self._loading = True
        self.engine.spawn(self._loaded(digest))

    async def _loaded(self, digest: str) -> None:
        try:
            await self._fetch(self.run, digest)
        except FleetError as damage:
            self._damaged(damage)
        finally:
            self._loading = False
        self.turn()

    async def _fetch(self, run: Run, digest: str) -> None:
        blobs, tenant = self.engine.store.blobs, run.created.tenant if run.created else "default"
        data = await self.engine.patient(f"blob {digest[:12]}", lambda: blobs.get(digest, tenant))
        value: Any = {"ref": digest, "missing": True} if data is None else decoded(digest, data)
        remember(run, digest, value, len(data or b""))

    async def loaded(self, run: Run, call: Callable[[], T]) -> T:
        """What a call gives once the values it needs are loaded."""
        while True:
            try:
                return call()
            except NeedsValue as needs:
                await self._fetch(run, needs.digest)

    # ------------------------------------------------------------ effects

    def reconcile(self) -> None:
        """Make the tasks equal to what is owed: start the new ones, cancel those whose key is gone."""
        pending, tasks = self.run.pending, self.tasks
        if self.closing or self.held or self.engine.draining:
            return
        if tasks:
            for key in list(tasks):
                step = pending.get(key[0])
                if step is None or (step.path, step.attempt, step.status == "in_doubt") != key:
                    tasks.pop(key).cancel()
        if len(tasks) != len(pending) and not self.engine.switch.halts(self.run):
            for step in pending.values():
                key = (step.path, step.attempt, step.status == "in_doubt")
                if key not in tasks:
                    tasks[key] = self.engine.performer.start(self, step)
        # Last: a place given back may wake this very run, and what is decided then is not durable yet.
        if self.places:
            given = [self.places.pop(path) for path in [path for path in self.places if path not in pending]]
            for pool in given:
                pool.give()

    def done_with(self, ask: Ask) -> None:
        """An effect is over: its outcome goes into the inbox.

        Its task counts as running until what came of it is durable, so that the effect is not started again meanwhile.
        """
        self.tell(ask)

    # ------------------------------------------------------------ slots

    def _room(self, step: Step) -> bool:
        pool = self.engine.pool_of(step)
        if pool is None:
            return True
        if pool.try_take():
            self.places[step.path] = pool
            return True
        created = self.run.created
        pool.enlist(self, created.priority if created else 0)
        return False

    def grant(self, path: str, slot: Slot) -> None:
        """A slot is free, as far as this engine knows."""

        def ask(run: Run, now: float) -> list[AnyFact]:
            facts = grant(run, path, slot, now)
            if not facts:
                self.engine.slots.review(run)
            return facts

        self.deliver(Message(ask, offer=True))

    def refuse(self, path: str, on_conflict: str) -> None:
        """A slot is taken, and this step does not queue for it."""
        self.tell(lambda run, now: refuse(run, path, on_conflict, now))

    # ------------------------------------------------------------ rest

    def _rest(self) -> None:
        run = self.run
        self.reconcile()
        drop_stale_timers(run)
        if run.ended:
            self.engine.retire(self)
            return
        self.engine.slots.request(self)
        if self.appending or self._loading:
            return
        self._set_timer(run.wake_at)
        if not self.tasks and not run.pending and not run.wants_slot and not run.wanted and not run.agenda:
            self.engine.park(self)

    def _set_timer(self, at: float | None) -> None:
        if at != self.timer and at is not None:
            self.engine.timers.set(self.run.id, at)
        self.timer = at

    def stop(self) -> None:
        """The engine is closing: start nothing, forget the tasks that are still running."""
        self.closing = True
        for task in self.tasks.values():
            task.cancel()
        while self._inbox:
            self._inbox.popleft().fail(StoreUnavailable(CLOSED))


def _is_refused(message: Message, error: FleetError) -> bool:
    """Whether it was this message whose reservation did not fit; whoever sent it is told, and decides what next."""
    refused = isinstance(error, BudgetRefused) and error.id in message.reserves
    if refused:
        message.fail(error)
    return refused


def _result(signal: Signal, facts: list[AnyFact] | Refusal, run: Run) -> Result:
    if isinstance(facts, Refusal):
        reason = f"{facts.reason} ({facts.hint})" if facts.hint else facts.reason
        data = {"why": facts.why} if facts.why else None
        return Result(signal=signal.id, status="refused", run=run.id, reason=reason, data=data)
    return Result(signal=signal.id, status="accepted", run=run.id)
