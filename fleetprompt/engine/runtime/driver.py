"""One live run: an inbox, no locks. Fold, decide, append, then perform what is owed.

A turn takes everything in the inbox, decides until quiet and hands one entry to the journal. Effects start only when
that entry is durable, and what happens meanwhile waits in the inbox. The one invariant: the tasks of this driver are
exactly the effects that the durable run owes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fleetprompt.engine.core.advance import grant, refuse
from fleetprompt.engine.core.batch import Batch, remember
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.facts import AnyFact, Slot
from fleetprompt.engine.core.signal import FINISHED, Result, Signal
from fleetprompt.engine.core.state import Outbox, Run, Step
from fleetprompt.engine.core.timers import drop_stale_timers
from fleetprompt.engine.ports import Append, Appended, ClaimRefused, Conflict, Take, Wait
from fleetprompt.engine.runtime.head import head_of
from fleetprompt.engine.runtime.pools import Pool

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

Ask = Callable[[Run, float], "list[AnyFact] | Refusal"]
"""Something that happened: given the run and the time, the facts it makes."""

RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)
"""Pauses between attempts at an append that the store could not take."""


class Message:
    """An entry of the inbox."""

    __slots__ = ("answer", "ask", "received", "signal")

    def __init__(
        self,
        ask: Ask,
        *,
        signal: Signal | None = None,
        received: bool = False,
        answer: asyncio.Future[Any] | None = None,
    ) -> None:
        self.ask = ask
        self.signal = signal
        self.received = received
        """The signal is not in the store yet: it goes in with the facts."""
        self.answer = answer
        """Resolved with the signal's result (None without a signal) once it is durable."""


class Driver:
    """Drives one run as long as there is something to do; then the run is a row again."""

    __slots__ = (
        "_answers",
        "_batch",
        "_failures",
        "_inbox",
        "_loading",
        "appending",
        "closing",
        "engine",
        "fresh",
        "held",
        "places",
        "run",
        "tasks",
        "timer",
    )

    def __init__(self, engine: Engine, run: Run, *, fresh: bool = False) -> None:
        self.engine = engine
        self.run = run
        self.fresh = fresh
        """The run is not in the store yet."""
        self.tasks: dict[tuple[str, int, bool], asyncio.Task[None]] = {}
        self.appending = False
        self.closing = False
        self.held = False
        """The journal of this run cannot be trusted: nothing is done any more."""
        self.timer: float | None = None
        self.places: dict[str, Pool] = {}
        """Places taken for effects that are promised and not performed yet, by path."""
        self._inbox: deque[Message] = deque()
        self._batch = Batch()
        self._answers: list[tuple[asyncio.Future[Any], Result | None]] = []
        self._failures = 0
        self._loading = False
        run.room = self._room

    # ------------------------------------------------------------ the inbox

    def deliver(self, message: Message) -> None:
        """Put something in the inbox; it is looked at as soon as no append is in flight."""
        self._inbox.append(message)
        if not self.appending:
            self.turn()

    def tell(self, ask: Ask) -> None:
        """Deliver something that is no signal: an outcome, a free slot, a note."""
        self._inbox.append(Message(ask))
        if not self.appending:
            self.turn()

    def wake(self) -> None:
        """A timer is due."""
        if not self.appending:
            self.turn()

    # ------------------------------------------------------------ a turn

    def turn(self) -> None:
        """Take the inbox, decide, and append what came of it."""
        if self.appending or self._loading or self.held or self.closing:
            return
        run, batch = self.run, self._batch
        now = self.engine.now()
        results: list[Result] = []
        routed: list[str] = []
        received: Signal | None = None
        inbox = self._inbox
        while inbox:
            message = inbox[0]
            if message.received and received is not None:
                break
            try:
                facts = message.ask(run, now)
            except NeedsValue as needs:
                self._load(needs.digest)
                return
            inbox.popleft()
            if facts and not isinstance(facts, Refusal):
                batch.add(run, facts)
            result: Result | None = None
            if message.signal is not None:
                result = _result(message.signal, facts, run)
                results.append(result)
                routed.append(message.signal.id)
                if message.received:
                    received = message.signal
            if message.answer is not None:
                self._answers.append((message.answer, result))
        if not self.engine.draining:
            batch.settle(run, now)
        if batch.facts or results:
            self._append(received, results, routed)
        elif batch.needs:
            self._load(batch.needs)
        else:
            self._rest()

    def _append(self, received: Signal | None, results: list[Result], routed: list[str]) -> None:
        run, batch, out = self.run, self._batch, self.run.outbox
        drop_stale_timers(run)
        signals = tuple(self.engine.outgoing(run, out.signals)) if out.signals else ()
        if run.ended:
            routed += [s.id for s in signals if s.type == FINISHED and not self.engine.anyone_listens(run, s)]
        created = run.created
        assert created is not None
        entry = Append(
            run=created.run,
            tenant=created.tenant,
            after=run.n - len(batch.facts),
            facts=tuple(batch.facts),
            encoded=tuple(batch.encoded),
            head=head_of(run, self.engine.host, self.engine.now()),
            takes=tuple(Take(slot, path) for path, slot in out.takes) if out.takes else (),
            releases=tuple(out.releases) if out.releases else (),
            waits=tuple(Wait(*wait) for wait in out.waits) if out.waits else (),
            unwaits=tuple(out.unwaits) if out.unwaits else (),
            signals=signals,
            received=received,
            results=tuple(results),
            routed=tuple(routed),
            blobs=tuple(batch.blobs) if batch.blobs else (),
        )
        if out.takes or out.releases or out.waits or out.unwaits or signals:
            run.outbox = Outbox()
        self._batch = Batch()
        self._send(entry)

    def _send(self, entry: Append) -> None:
        self.appending = True
        future = self.engine.store.journal.append(entry)
        future.add_done_callback(lambda done: self._appended(entry, done))

    def _appended(self, entry: Append, done: asyncio.Future[Appended]) -> None:
        error = done.exception() if not done.cancelled() else None
        if done.cancelled():
            return
        if error is not None:
            self._failed(entry, error)
            return
        self.appending = False
        self.fresh = False
        self._failures = 0
        if self._answers:
            for future, result in self._answers:
                if not future.done():
                    future.set_result(result)
            self._answers.clear()
        self.engine.committed(self, entry, done.result().seq)
        if self._inbox or self.run.agenda or self.run.finish:
            self.reconcile()
            self.turn()
        else:
            self._rest()

    # ------------------------------------------------------------ when the store says no

    def _failed(self, entry: Append, error: BaseException) -> None:
        if isinstance(error, StoreUnavailable):
            # Order matters more than speed: the same entry is offered again, what happens meanwhile waits.
            pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._failures += 1
            self.engine.trouble(f"append of run {entry.run}", error)
            if self.closing:
                return
            asyncio.get_running_loop().call_later(pause, self._send, entry)
            return
        self.appending = False
        if isinstance(error, (Conflict, ClaimRefused)):
            self._answer_refused(str(error))
            self.engine.spawn(self.reload(error if isinstance(error, ClaimRefused) else None))
            return
        self.engine.trouble(f"append of run {entry.run}", error)
        self._answer_refused(str(error))
        self.held = True

    def _answer_refused(self, reason: str) -> None:
        for future, result in self._answers:
            if not future.done():
                future.set_result(result and msgspec.structs.replace(result, status="refused", reason=reason))
        self._answers.clear()

    async def reload(self, refusal: ClaimRefused | None = None) -> None:
        """Forget what was folded and take the run from the journal again."""
        self._loading = True
        try:
            run = await self.engine.load(self.run.id)
        finally:
            self._loading = False
        if run is None:
            self.engine.retire(self)
            return
        self._batch = Batch()
        self.run = run
        run.room = self._room
        self.reconcile()
        if refusal is not None:
            self.engine.slots.refused(self, refusal)
        self.turn()

    def _load(self, digest: str) -> None:
        self._loading = True
        self.engine.spawn(self._loaded(digest))

    async def _loaded(self, digest: str) -> None:
        created = self.run.created
        data = await self.engine.store.blobs.get(digest, created.tenant if created else "default")
        self._loading = False
        value: Any = {"ref": digest, "missing": True} if data is None else msgspec.json.decode(data)
        remember(self.run, digest, value, len(data or b""))
        self.turn()

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
        if self.places:
            for path in [path for path in self.places if path not in pending]:
                self.places.pop(path).give()
        if len(tasks) != len(pending):
            for step in pending.values():
                key = (step.path, step.attempt, step.status == "in_doubt")
                if key not in tasks:
                    tasks[key] = self.engine.performer.start(self, step)

    def done_with(self, step: Step, attempt: int, in_doubt: bool, ask: Ask) -> None:
        """An effect is over: its outcome goes into the inbox. Until that is read, the effect must not start again."""

        def over(run: Run, now: float) -> list[AnyFact] | Refusal:
            self.tasks.pop((step.path, attempt, in_doubt), None)
            return ask(run, now)

        self.tell(over)

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
                self.engine.slots.unused(run, path)
            return facts

        self.tell(ask)

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
        if run.wants_slot or run.wanted:
            self.engine.slots.request(self)
        at = run.wake_at
        if at != self.timer and at is not None:
            self.engine.timers.set(run.id, at)
        self.timer = at
        if not self.tasks and not run.pending and not run.wants_slot and not run.wanted and not run.agenda:
            self.engine.park(self)

    def stop(self) -> None:
        """The engine is closing: start nothing, forget the tasks that are still running."""
        self.closing = True
        for task in self.tasks.values():
            task.cancel()


def _result(signal: Signal, facts: list[AnyFact] | Refusal, run: Run) -> Result:
    if isinstance(facts, Refusal):
        reason = f"{facts.reason} ({facts.hint})" if facts.hint else facts.reason
        return Result(signal=signal.id, status="refused", run=run.id, reason=reason)
    return Result(signal=signal.id, status="accepted", run=run.id)
