"""Fan-out: a signal reaches every run that waits for it, and starts those whose triggers it meets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, get_args

from fleetprompt.engine.core import command, starters
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.dead_letter import DeadLetter, dead_letter, letter_id
from fleetprompt.engine.core.errors import Code, Failure, FleetError, Refused, StoreUnavailable
from fleetprompt.engine.core.facts import RunFinished, output_of
from fleetprompt.engine.core.firing import Outcome, run_of
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.plan import trigger_ids
from fleetprompt.engine.core.routing import KINDS, Missed, Passed, Start, told
from fleetprompt.engine.core.signal import MAX_CHAIN, MUTED, Result, Signal, type_matches
from fleetprompt.engine.runtime.message import Ask, Message
from fleetprompt.engine.runtime.unstarted import firing_of, why_of

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine
    from fleetprompt.engine.runtime.handling import Handler

CODES: tuple[Code, ...] = get_args(Code)
BY_HAND = ("chat", "schedule")
"""Kinds of triggers whose runs belong to whoever sent the signal, where somebody did."""


RECORDED = ("schedule", "watch")
"""Kinds of triggers whose firings are recorded before their signals go out."""
OUT_OF_CHAIN = f"{MAX_CHAIN} runs have started one another in a row: here the chain ends"


class FanOut:
    """Brings a signal to everyone it concerns."""

    def __init__(self, engine: Engine, handler: Handler) -> None:
        self._engine = engine
        self._handler = handler

    async def carry(self, signal: Signal) -> Result:
        """Bring it everywhere, and close it."""
        engine = self._engine
        fresh = signal.id in engine.bus.fresh
        if signal.unfit:
            unfit = Result(signal=signal.id, status="refused", reason=signal.unfit)
            nowhere = dead_letter(signal, "workflow", "", code="VALIDATION_ERROR", reason=signal.unfit, at=engine.now())
            await engine.store.signals.close(signal.id, (unfit,), dead=(nowhere,))
            return unfit
        _, earlier = (True, []) if fresh else await engine.store.signals.results(signal.id)
        answered = {result.run for result in earlier}
        if signal.only:
            pass
        elif signal.type == types.FINISHED:
            await self._child_finished(signal)
        elif not signal.type.startswith(types.RESERVED) and signal.id not in engine.bus.unwaited:
            for run_id, wait in await engine.store.runs.waiting("signal", signal.type, tenant=signal.tenant):
                if run_id not in answered and type_matches(wait.ref, signal.type):
                    answered.add(run_id)
                    await self._hear(run_id, signal)
        came = Came(signal)
        for start in self._meant(signal):
            await self._come_of(signal, start, came)
        came.tell_passed()
        await engine.store.signals.close(signal.id, came.results, dead=came.letters, revived=came.revived)
        return came.results[0] if came.results else Result(signal=signal.id, status="accepted")

    def _meant(self, signal: Signal) -> list[Start | Missed | Passed]:
        """What it starts, and what it should: where it is for one place alone, only what has to do with that."""
        engine = self._engine
        found = engine.workflows.routes.route(signal)
        if not signal.only:
            return found
        workflow, _, trigger = signal.only.partition("/")
        own = [start for start in found if start.workflow == workflow]
        known = [
            trigger_ids(active.plan.triggers)
            for active in engine.workflows.active
            if active.plan.name == workflow and active.tenant == signal.tenant
        ]
        if trigger and any(trigger in ids for ids in known):
            # Where the trigger is written otherwise by now, whichever of the workflow hears the signal takes it.
            own = [start for start in own if start.trigger == trigger]
        if own or known:
            return own
        return [
            Passed(
                workflow, trigger, KINDS.get(signal.type, "signal"), f"workflow `{workflow}` is not active", gone=True
            )
        ]

    async def _start(self, signal: Signal, start: Start, came: Came) -> None:
        """Start a run. Whatever is wrong with it, the others are started."""
        engine = self._engine
        try:
            refusal, run = await self._started_by(signal, start)
        except StoreUnavailable:
            raise
        except Exception as error:
            where = f"trigger {start.trigger} of {start.workflow} on signal {signal.id}"
            refusal, run = Result(signal.id, "refused", reason=engine.trouble(where, error)), ""
        if refusal is None:
            came.started(start, run)
            return
        came.dead(start, code_of(refusal), refusal.reason, engine.now())
        await self._record(signal, start, "failed", refusal.reason)

    async def _come_of(self, signal: Signal, start: Start | Missed | Passed, came: Came) -> None:
        """What comes of a trigger that a signal concerns; where that is no run, it is recorded why."""
        now = self._engine.now()
        if isinstance(start, Start) and signal.chain > MAX_CHAIN:
            start = Missed(start.workflow, start.trigger, start.kind, OUT_OF_CHAIN)
        if isinstance(start, Start):
            await self._start(signal, start, came)
        elif isinstance(start, Missed):
            came.dead(start, "VALIDATION_ERROR", start.reason, now)
            await self._record(signal, start, "failed", start.reason)
        else:
            came.passed(start, now)
            await self._record(signal, start, "skipped", start.reason)

    async def _hear(self, run_id: str, signal: Signal) -> None:
        driver = await self._engine.reach(run_id)
        if driver is not None:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            hear = Message(
                lambda run, now: command.hear(run, now, signal), signal=signal, overheard=True, answer=answer
            )
            driver.deliver(hear)
            await _heard(answer)

    async def _started_by(self, signal: Signal, start: Start) -> tuple[Result | None, str]:
        """Why the run could not be started, or which it is."""
        run_id = run_of(signal.id, start.workflow, start.trigger)
        data: dict[str, Any] = {
            "run": run_id,
            "workflow": start.workflow,
            "plan": start.plan,
            "inputs": start.inputs,
            "trigger": told(signal, start.kind, start.trigger),
        }
        if start.session:
            data["session"] = start.session
        if signal.traceparent:
            data["links"] = [signal.traceparent]
        if start.project:
            data["project"] = start.project
        if start.alone:
            data["alone"] = start.alone
        if signal.replay_of:
            data["labels"] = {"replay_of": signal.replay_of}
        if signal.muted:
            data["labels"] = {**data.get("labels", {}), MUTED: "yes"}
        child = Signal(
            id=signal_id("start", signal.id, start.workflow, start.trigger),
            type=types.START,
            source=f"trigger/{start.workflow}/{start.trigger}",
            at=signal.at,
            subject=run_id,
            tenant=signal.tenant,
            key=start.key and f"{start.workflow}/{start.trigger}/{start.key}",
            correlation=signal.correlation or signal.id,
            causation=signal.id,
            data=data,
            by=signal.by if start.kind in BY_HAND else "",
            starters=starters.of_signal(signal),
        )
        if signal.id in self._engine.bus.fresh and not child.key and await self._starts_at_once(child):
            return None, run_id
        signals = self._engine.store.signals
        publication = await signals.publish(child)
        known = publication.signal
        if not publication.duplicate:
            await self._engine.bus.route(known)
        elif known.id != child.id:
            reason = f"its key `{start.key}` has started run {known.subject} before"
            await self._record(signal, start, "duplicate", reason, run=known.subject)
        _, answers = await signals.results(known.id)
        return next((answer for answer in answers if answer.status == "refused"), None), known.subject

    async def _record(
        self, signal: Signal, start: Start | Missed | Passed, outcome: Outcome, reason: str, run: str = ""
    ) -> None:
        """Record why a trigger that went off has started no run. What comes by the clock, or with files, has a firing
        already, which tells what came of its signal."""
        if start.kind in RECORDED or not start.trigger:
            return
        now = self._engine.now()
        if isinstance(start, Passed) and start.kind == "signal":
            firing = self._engine.bus.unstarted.firing(signal, start, now)
        else:
            firing = firing_of(signal, start, outcome, reason, now, run)
        if firing is not None:
            await self._engine.store.firings.add(firing)

    async def _starts_at_once(self, start: Signal) -> bool:
        """Start a run by a signal that is stored with its facts; one that is refused has to be stored beforehand."""
        try:
            return (await self._handler.handle(start, received=True)).status == "accepted"
        except StoreUnavailable:
            raise
        except FleetError:
            return False

    async def _child_finished(self, signal: Signal) -> None:
        data = mapping(signal.data)
        if not data.get("parent"):
            return
        child = str(data.get("run"))
        ended = await self._engine.last_fact(child)
        error = ended.error if isinstance(ended, RunFinished) else Failure("INTERNAL", "its journal has no end")
        output = output_of(ended) if isinstance(ended, RunFinished) else None
        await tell_parent(
            self._engine,
            data,
            signal.tenant,
            lambda run, now: command.child_finished(
                run,
                now,
                path=str(data.get("path")),
                child=child,
                status=str(data.get("status")),
                output=output,
                error=error,
            ),
            # A parent's own deadline, due when its child ended, comes first, as if no engine had been away.
            after=signal.at if self._engine.bus.in_backlog(signal) else None,
        )


class Came:
    """What came of a signal, as it is closed with."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._passed: list[Passed] = []
        self.results: list[Result] = []
        self.letters: list[DeadLetter] = []
        self.revived: list[str] = []
        """Letters of what had failed before and is done now."""

    def started(self, start: Start, run: str) -> None:
        """It started a run."""
        signal = self._signal
        self.results.append(Result(signal=signal.id, status="accepted", run=run))
        if signal.replay_of:
            tenant = signal.tenant
            self.revived.append(letter_id(signal.replay_of, "workflow", start.workflow, start.trigger, tenant))
            trigger = signal.only.partition("/")[2]
            if trigger not in ("", start.trigger):
                self.revived.append(letter_id(signal.replay_of, "workflow", start.workflow, trigger, tenant))

    def passed(self, start: Passed, at: float) -> None:
        """It was to start nothing after all, or there is nothing left that it was to start."""
        self._passed.append(start)
        if start.gone:
            self._bury(start, "VALIDATION_ERROR", start.reason, at)

    def tell_passed(self) -> None:
        """Tell why triggers have started nothing: of a signal that is for one of them alone it is plain which."""
        if self._passed:
            alone = self._signal.type in KINDS or self._passed[0].gone
            why = self._passed[0].reason if alone else why_of(self._passed)
            self.results.append(Result(signal=self._signal.id, status="accepted", reason=why))

    def dead(self, start: Start | Missed, code: Code, reason: str, at: float) -> None:
        """It should have started a run, and cannot."""
        text = f"trigger {start.trigger} of {start.workflow}: {reason}"
        self.results.append(Result(signal=self._signal.id, status="refused", run=start.workflow, reason=text))
        self._bury(start, code, reason, at)

    def _bury(self, start: Start | Missed | Passed, code: Code, reason: str, at: float) -> None:
        letter = dead_letter(self._signal, "workflow", start.workflow, start.trigger, code=code, reason=reason, at=at)
        self.letters.append(letter)


def code_of(refusal: Result) -> Code:
    """The code of the error that a refusal tells of."""
    told = mapping(refusal.data).get("code")
    for code in CODES:
        if code == told:
            return code
    return "INTERNAL"


async def tell_parent(engine: Engine, data: dict[str, Any], tenant: str, ask: Ask, after: float | None = None) -> None:
    """Tell a run of that tenant what became of a child of its."""
    driver = await engine.driver_of(str(data["parent"]), tenant)
    if driver is None:
        return
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    driver.deliver(Message(ask, after=after, answer=answer))
    await answer


async def _heard(answer: asyncio.Future[Any]) -> None:
    try:
        await answer
    except Refused:
        # The run is held, or the engine closes: what the run does not hear now is said again, or was said in vain.
        pass
