"""The bus: validate, dedupe, route, fan out. A signal is stored before anything comes of it, and routed once.

Its effect on a run and its result are one append. A signal that concerns several runs is closed after the last; a
crash in between routes it again, and those that have answered are left out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fleetprompt.engine.core import command
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, FleetError, InvalidInput, Refused, StoreUnavailable
from fleetprompt.engine.core.facts import AnyFact, RunFinished, output_of
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.routing import Missed, Start
from fleetprompt.engine.core.signal import Result, Signal, type_matches
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Publication
from fleetprompt.engine.runtime import memory
from fleetprompt.engine.runtime.edits import checked
from fleetprompt.engine.runtime.message import Ask, Message

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

AGAIN_SECONDS = 1.0
"""How soon signals are routed that could not be because the store was unavailable."""
LONGEST_TYPE = 255
_TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
COMMANDS = frozenset({types.CANCEL, types.PAUSE, types.RESUME, types.RAISE, types.VOTE, types.ESCALATE, types.RESOLVE})
"""What is asked of one run."""
MAX_DATA_BYTES = 1024 * 1024
"""Signals carry references to large things, not the things."""


class Bus:
    """Routes signals to runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.heard = -inf
        """All that was recorded up to this time has reached the runs it is for: timers due by then may fire."""
        self._routing: dict[str, asyncio.Future[bool]] = {}
        self._draining = 0
        self._stalled = False
        """Signals are left that could not be routed; a drain will try again."""
        self._backlog: set[str] = set()
        """Signals that a drain routes: those recorded before them have been."""
        self._done: set[str] = set()
        """Signals that were routed since a drain has read its list."""
        self._fresh: set[str] = set()
        """Signals that are being published here: nobody else routes them, and nothing came of them before."""

    # ------------------------------------------------------------ in

    async def publish(self, signal: Signal) -> Publication:
        """Store a signal from outside and route it. Raises `InvalidInput` for one that may not be published."""
        validate(signal)
        self._fresh.add(signal.id)
        try:
            publication = await self._store(signal)
            if not publication.duplicate:
                await self.route(publication.signal)
        finally:
            self._fresh.discard(signal.id)
        return publication

    async def submit(self, signal: Signal) -> Result:
        """Carry out a command sent by this process, and answer when it is durable."""
        if not signal.key:
            try:
                return await self._handle(signal, received=True)
            finally:
                self._engine.feed.mark(signals=True)
        signals = self._engine.store.signals
        publication = await self._store(signal)
        signal = publication.signal
        routed, results = await signals.results(signal.id) if publication.duplicate else (False, [])
        if not routed:
            await self.route(signal)
            routed, results = await signals.results(signal.id)
        reason = "" if routed else "queued"
        return results[0] if results else Result(signal=signal.id, status="accepted", reason=reason)

    async def _store(self, signal: Signal) -> Publication:
        try:
            publication = await self._engine.store.signals.publish(signal)
            self._engine.feed.mark(signals=True)
            return publication
        except StoreUnavailable:
            # It may be there all the same, and whoever sent it may not come back.
            self._drain_later()
            raise

    def notice(self, signals: tuple[Signal, ...], routed: tuple[str, ...]) -> None:
        """Signals that runs have sent, durable now."""
        for signal in signals:
            if signal.id not in routed:
                self._engine.spawn(self._route_sent(signal))

    async def _route_sent(self, signal: Signal) -> None:
        # The store keeps the first signal with a key only: this one may not be there.
        get = self._engine.store.signals.get
        if not signal.key or await self._engine.patient(f"signal {signal.id}", lambda: get(signal.id)) is not None:
            await self.route(signal)

    async def drain(self) -> tuple[str, ...]:
        """Route what other processes have published, and what was left when an engine died; their ids in order."""
        engine, seen = self._engine, dict[str, None]()
        complete = True
        self._draining += 1
        try:
            while True:
                before = engine.now()
                fresh = [s for s in await engine.store.signals.unrouted() if s.id not in seen]
                if not fresh:
                    break
                for signal in fresh:
                    seen[signal.id] = None
                    if signal.id in self._routing or not (signal.id in self._done or signal.id in self._fresh):
                        self._backlog.add(signal.id)
                        complete &= await self.route(signal)
                        self._backlog.discard(signal.id)
            if complete:
                self.heard = max(self.heard, before)
        finally:
            self._draining -= 1
            if not self._draining:
                self._done.clear()
        return tuple(seen)

    async def catch_up(self, at: float) -> None:
        """Until all that was recorded up to a time has reached the runs it is for, however long the store is away."""
        while self.heard < at:
            try:
                await self._engine.patient("signals", self.drain)
            except FleetError as error:
                self._engine.trouble("signals", error)
            if self.heard < at:
                await asyncio.sleep(AGAIN_SECONDS)

    async def route(self, signal: Signal) -> bool:
        """Route one stored signal, or wait until that has been done. False: the store fails, and it is done later."""
        running = self._routing.get(signal.id)
        if running is not None:
            return await asyncio.shield(running)
        done = self._routing[signal.id] = asyncio.get_running_loop().create_future()
        routed = False
        try:
            await self._route(signal)
            routed = True
            if self._draining:
                self._done.add(signal.id)
        except StoreUnavailable as error:
            self._engine.trouble(f"routing of signal {signal.id}", error)
            self._drain_later()
        finally:
            del self._routing[signal.id]
            done.set_result(routed)
            self._engine.feed.mark(signals=True)
        return routed

    def _drain_later(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._engine.later(AGAIN_SECONDS, lambda: self._engine.spawn(self._drain_again()))

    async def _drain_again(self) -> None:
        self._stalled = False
        await self._engine.patient("signals", self.drain)

    async def _route(self, signal: Signal) -> None:
        try:
            await self._handle(signal, received=False)
        except StoreUnavailable:
            raise
        except Exception as error:
            # Whatever is wrong with one signal, the others behind it are routed.
            if not isinstance(error, FleetError):
                self._engine.trouble(f"routing of signal {signal.id}", error)
            reason = error.message if isinstance(error, FleetError) else f"{type(error).__name__}: {error}"
            await self._engine.store.signals.close(signal.id, (Result(signal.id, "refused", reason=reason),))

    # ------------------------------------------------------------ where to

    async def _handle(self, signal: Signal, *, received: bool) -> Result:
        match signal.type:
            case types.START:
                return await self._start(signal, received)
            case types.RETRY:
                return await self._engine.starter.retry(signal, received)
            case _ if signal.type in COMMANDS:
                return await self._command(signal, received)
            case types.SET_WORKFLOW:
                return await self._settle(signal, received, self._set_workflow)
            case types.REVOKE:
                return await self._settle(signal, received, self._revoke)
            case types.REMEMBER:
                signal = msgspec.structs.replace(signal, data=self._engine.secrets.redact_value(signal.data))
                return await self._settle(signal, received, lambda signal: memory.add(self._engine, signal))
            case types.FORGET:
                return await self._settle(signal, received, lambda signal: memory.forget(self._engine, signal))
            case _:
                if received:
                    signal = (await self._store(signal)).signal
                return await self._fan_out(signal)

    async def _start(self, signal: Signal, received: bool) -> Result:
        try:
            return await self._engine.starter.start(signal, received)
        except StoreUnavailable:
            raise
        except FleetError as error:
            data = _data(signal)
            if data.get("parent"):
                reason = f"the child run could not be started: {error.message}"
                await self._tell_parent(
                    data,
                    lambda run, now: command.child_refused(
                        run, now, path=str(data.get("path")), child=str(data.get("run")), reason=reason
                    ),
                )
            if received:
                raise
            result = Result(signal=signal.id, status="refused", reason=error.message)
            await self._engine.store.signals.close(signal.id, (result,))
            return result

    async def _command(self, signal: Signal, received: bool) -> Result:
        data = _data(signal)
        run_id = str(data.get("run") or signal.subject)
        driver = await self._engine.driver(run_id)
        if driver is None:
            result = Result(signal=signal.id, status="refused", run=run_id, reason=f"there is no run {run_id}")
            if not received:
                await self._engine.store.signals.close(signal.id, (result,))
            return result
        ask = self._ask(signal, data)
        if signal.type == types.VOTE:
            ask = await checked(self._engine, driver, data, ask)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        driver.deliver(Message(ask, signal=signal, received=received, answer=answer))
        return await answer

    def _ask(self, signal: Signal, data: dict[str, Any]) -> Ask:
        engine = self._engine

        def ask(run: Run, now: float) -> list[AnyFact] | command.Refusal:
            match signal.type:
                case types.CANCEL:
                    return command.cancel(run, now, by=signal.by, reason=str(data.get("reason") or ""))
                case types.PAUSE:
                    return command.pause(run, now, by=signal.by, reason=str(data.get("reason") or ""))
                case types.RESUME:
                    return command.resume(run, now, by=signal.by)
                case types.RAISE:
                    return command.raise_limits(
                        run,
                        now,
                        by=signal.by,
                        step=str(data.get("step") or ""),
                        amounts=mapping(data.get("amounts")),
                        reason=str(data.get("reason") or ""),
                    )
                case types.VOTE:
                    return command.vote(
                        run,
                        now,
                        approval=str(data.get("approval")),
                        by=signal.by,
                        groups=engine.groups_of(signal.by),
                        decision=str(data.get("decision")),
                        comment=str(data.get("comment") or ""),
                        values=data.get("values") or {},
                        via=str(data.get("via") or ""),
                        digest=str(data.get("digest") or ""),
                        level=data.get("level"),
                        sent=signal.at,
                        grant=str(data.get("grant") or ""),
                        ends=data.get("ends") is True,
                    )
                case types.ESCALATE:
                    return command.escalate(
                        run,
                        now,
                        approval=str(data.get("approval")),
                        by=signal.by,
                        groups=engine.groups_of(signal.by),
                        comment=str(data.get("comment") or ""),
                    )
                case _:
                    return command.resolve(
                        run,
                        now,
                        path=str(data.get("path")),
                        answer=str(data.get("answer")),
                        attempt=data.get("attempt"),
                        output=data.get("output"),
                        by=signal.by,
                        comment=str(data.get("comment") or ""),
                    )

        return ask

    async def _set_workflow(self, signal: Signal) -> None:
        data = _data(signal)
        await self._engine.workflows.set_status(str(data.get("workflow")), str(data.get("status")), signal.tenant)

    async def _revoke(self, signal: Signal) -> None:
        grant, grants = str(_data(signal).get("grant")), self._engine.store.grants
        if not await grants.revoke(grant, by=signal.by, at=self._engine.now(), tenant=signal.tenant):
            raise Refused(f"there is no grant {grant} that holds", hint="`fleet grants` lists them")

    async def _settle(self, signal: Signal, received: bool, carry_out: Callable[[Signal], Awaitable[Any]]) -> Result:
        """Carry out a command that is about no run, and answer it."""
        if received:
            await self._store(signal)
        try:
            result = Result(signal=signal.id, status="accepted", data=await carry_out(signal))
        except StoreUnavailable:
            raise
        except FleetError as error:
            result = Result(signal=signal.id, status="refused", reason=error.message)
        await self._engine.store.signals.close(signal.id, (result,))
        return result

    # ------------------------------------------------------------ fan-out

    async def _fan_out(self, signal: Signal) -> Result:
        engine = self._engine
        results: list[Result] = []
        _, earlier = (True, []) if signal.id in self._fresh else await engine.store.signals.results(signal.id)
        answered = {result.run for result in earlier}
        if signal.type == types.FINISHED:
            await self._child_finished(signal)
        else:
            for run_id, wait in await engine.store.runs.waiting("signal", signal.type, tenant=signal.tenant):
                if run_id not in answered and type_matches(wait.ref, signal.type):
                    answered.add(run_id)
                    await self._hear(run_id, signal)
        for start in engine.workflows.routes.route(signal):
            if isinstance(start, Missed):
                reason = f"trigger {start.trigger} of {start.workflow}: {start.reason}"
                results.append(Result(signal=signal.id, status="refused", run=start.workflow, reason=reason))
            else:
                results.append(await self._started_by(signal, start))
        await engine.store.signals.close(signal.id, results)
        return results[0] if results else Result(signal=signal.id, status="accepted")

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
        run_id = signal_id("run", signal.id, start.workflow, str(start.trigger))
        trigger = {"kind": start.kind, "signal": signal.id, "type": signal.type, "data": signal.data}
        child = Signal(
            id=signal_id("start", signal.id, start.workflow, str(start.trigger)),
            type=types.START,
            source=f"trigger/{start.workflow}/{start.trigger}",
            at=signal.at,
            subject=run_id,
            tenant=signal.tenant,
            key=start.key and f"{start.workflow}/{start.trigger}/{start.key}",
            correlation=signal.correlation or signal.id,
            causation=signal.id,
            data={
                "run": run_id,
                "workflow": start.workflow,
                "plan": start.plan,
                "inputs": start.inputs,
                "trigger": trigger,
            },
        )
        if signal.id in self._fresh and not child.key and await self._starts_at_once(child):
            return Result(signal=signal.id, status="accepted", run=run_id)
        publication = await self._engine.store.signals.publish(child)
        if not publication.duplicate:
            await self.route(publication.signal)
        return Result(signal=signal.id, status="accepted", run=publication.signal.subject)

    async def _starts_at_once(self, start: Signal) -> bool:
        """Start a run by a signal that is stored with its facts; one that is refused has to be stored beforehand."""
        try:
            return (await self._handle(start, received=True)).status == "accepted"
        except StoreUnavailable:
            raise
        except FleetError:
            return False

    async def _child_finished(self, signal: Signal) -> None:
        data = _data(signal)
        if not data.get("parent"):
            return
        child = str(data.get("run"))
        ended = await self._engine.last_fact(child)
        error = ended.error if isinstance(ended, RunFinished) else Failure("INTERNAL", "its journal has no end")
        output = output_of(ended) if isinstance(ended, RunFinished) else None
        await self._tell_parent(
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
            after=signal.at if signal.id in self._backlog else None,
        )

    async def _tell_parent(self, data: dict[str, Any], ask: Ask, after: float | None = None) -> None:
        driver = await self._engine.driver(str(data["parent"]))
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


def validate(signal: Signal) -> None:
    """Refuse what may not enter from outside. Raises `InvalidInput`."""
    if len(signal.type) > LONGEST_TYPE or not _TYPE.fullmatch(signal.type):
        raise InvalidInput(f"{signal.type!r} is not a signal type", hint="dot-separated words such as deploy.finished")
    if signal.type.startswith(types.RESERVED):
        raise InvalidInput(f"signals of type {types.RESERVED}* are the engine's own")
    from fleetprompt.engine.core.codec import canonical

    if len(canonical(signal.data)) > MAX_DATA_BYTES:
        raise InvalidInput("the data of a signal is at most 1 MiB", hint="store it elsewhere and send a reference")


def _data(signal: Signal) -> dict[str, Any]:
    return cast("dict[str, Any]", signal.data) if isinstance(signal.data, dict) else {}
