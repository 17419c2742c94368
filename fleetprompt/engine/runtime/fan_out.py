"""Fan-out: a signal reaches every run that waits for it, and starts those whose triggers it meets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core import command
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, FleetError, Refused, StoreUnavailable
from fleetprompt.engine.core.facts import RunFinished, output_of
from fleetprompt.engine.core.firing import Firing, Outcome, run_of
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.routing import Missed, Passed, Start, told
from fleetprompt.engine.core.signal import MAX_CHAIN, Result, Signal, type_matches
from fleetprompt.engine.runtime.message import Ask, Message

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine
    from fleetprompt.engine.runtime.handling import Handler

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
        results: list[Result] = []
        fresh = signal.id in engine.bus.fresh
        if signal.unfit:
            results.append(Result(signal=signal.id, status="refused", reason=signal.unfit))
            await engine.store.signals.close(signal.id, results)
            return results[0]
        _, earlier = (True, []) if fresh else await engine.store.signals.results(signal.id)
        answered = {result.run for result in earlier}
        if signal.only:
            pass
        elif signal.type == types.FINISHED:
            await self._child_finished(signal)
        else:
            for run_id, wait in await engine.store.runs.waiting("signal", signal.type, tenant=signal.tenant):
                if run_id not in answered and type_matches(wait.ref, signal.type):
                    answered.add(run_id)
                    await self._hear(run_id, signal)
        for start in engine.workflows.routes.route(signal):
            if signal.only and start.workflow != signal.only:
                continue
            results.append(await self._come_of(signal, start))
        await engine.store.signals.close(signal.id, results)
        return results[0] if results else Result(signal=signal.id, status="accepted")

    async def _come_of(self, signal: Signal, start: Start | Missed | Passed) -> Result:
        """What comes of a trigger that a signal concerns; where that is no run, it is recorded why."""
        if isinstance(start, Start) and signal.chain > MAX_CHAIN:
            start = Missed(start.workflow, start.trigger, start.kind, OUT_OF_CHAIN)
        if isinstance(start, Start):
            result = await self._started_by(signal, start)
            if result.status == "refused":
                await self._record(signal, start, "failed", result.reason)
            return result
        await self._record(signal, start, "failed" if isinstance(start, Missed) else "skipped", start.reason)
        if isinstance(start, Missed):
            return _refused(signal, start, start.reason)
        return Result(signal=signal.id, status="accepted", reason=start.reason)

    async def _hear(self, run_id: str, signal: Signal) -> None:
        driver = await self._engine.reach(run_id)
        if driver is not None:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            hear = Message(
                lambda run, now: command.hear(run, now, signal), signal=signal, overheard=True, answer=answer
            )
            driver.deliver(hear)
            await _heard(answer)

    async def _started_by(self, signal: Signal, start: Start) -> Result:
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
        if start.alone:
            data["alone"] = start.alone
        if signal.replay_of:
            data["labels"] = {"replay_of": signal.replay_of}
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
        )
        if signal.id in self._engine.bus.fresh and not child.key and await self._starts_at_once(child):
            return Result(signal=signal.id, status="accepted", run=run_id)
        signals = self._engine.store.signals
        publication = await signals.publish(child)
        known = publication.signal
        if not publication.duplicate:
            await self._engine.bus.route(known)
        elif known.id != child.id:
            reason = f"its key `{start.key}` has started run {known.subject} before"
            await self._record(signal, start, "duplicate", reason, run=known.subject)
        _, answers = await signals.results(known.id)
        refused = next((answer for answer in answers if answer.status == "refused"), None)
        if refused is not None:
            return _refused(signal, start, refused.reason)
        return Result(signal=signal.id, status="accepted", run=known.subject)

    async def _record(
        self, signal: Signal, start: Start | Missed | Passed, outcome: Outcome, reason: str, run: str = ""
    ) -> None:
        """Record why a trigger that went off has started no run. What comes by the clock, or with files, has a firing
        already, which tells what came of its signal."""
        if start.kind in RECORDED or not start.trigger:
            return
        firing = Firing(
            workflow=start.workflow,
            trigger=start.trigger,
            tenant=signal.tenant,
            kind=start.kind,
            scheduled=signal.id,
            due=signal.at,
            at=self._engine.now(),
            outcome=outcome,
            reason=reason,
            signal=signal.id,
            run=run,
        )
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


def _refused(signal: Signal, start: Start | Missed, reason: str) -> Result:
    text = f"trigger {start.trigger} of {start.workflow}: {reason}"
    return Result(signal=signal.id, status="refused", run=start.workflow, reason=text)


async def tell_parent(engine: Engine, data: dict[str, Any], ask: Ask, after: float | None = None) -> None:
    """Tell a run what became of a child of its."""
    driver = await engine.driver(str(data["parent"]))
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
