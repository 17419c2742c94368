"""Where a signal goes: to the starter, to one run, to the engine itself, or to everyone who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fleetprompt.engine.core import command
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import FleetError, Refused, StoreUnavailable
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.runtime import memory
from fleetprompt.engine.runtime.asking import COMMANDS, asked
from fleetprompt.engine.runtime.edits import checked
from fleetprompt.engine.runtime.fan_out import FanOut, tell_parent
from fleetprompt.engine.runtime.message import Message

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine


class Handler:
    """Carries out one signal."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fan_out = FanOut(engine, self)

    async def handle(self, signal: Signal, *, received: bool) -> Result:
        """Carry a signal out, and answer it. `received`: it is not in the store yet. Raises what keeps it from that."""
        match signal.type:
            case types.START:
                return await self._start(signal, received)
            case types.RETRY:
                return await self._engine.starter.retry(signal, received)
            case _ if signal.type in COMMANDS:
                return await self._command(signal, received)
            case types.SET_WORKFLOW:
                return await self._settle(signal, received, self._set_workflow)
            case types.FIRE:
                return await self._settle(signal, received, self._engine.schedules.fire)
            case types.SET_SCHEDULE:
                return await self._settle(signal, received, self._engine.schedules.set)
            case types.DISMISS:
                return await self._settle(signal, received, self._dismiss)
            case types.REDELIVER:
                return await self._settle(signal, received, self._redeliver)
            case types.SET_SWITCH:
                return await self._settle(signal, received, self._engine.switch.set)
            case types.REVOKE:
                return await self._settle(signal, received, self._revoke)
            case types.REMEMBER:
                signal = msgspec.structs.replace(signal, data=self._engine.secrets.redact_value(signal.data))
                return await self._settle(signal, received, lambda signal: memory.add(self._engine, signal))
            case types.FORGET:
                return await self._settle(signal, received, lambda signal: memory.forget(self._engine, signal))
            case _:
                if received:
                    signal = (await self._engine.bus.store(signal)).signal
                return await self._fan_out.carry(signal)

    async def _start(self, signal: Signal, received: bool) -> Result:
        try:
            return await self._engine.starter.start(signal, received)
        except StoreUnavailable:
            raise
        except FleetError as error:
            data = mapping(signal.data)
            if data.get("parent"):
                reason = f"the child run could not be started: {error.message}"
                await tell_parent(
                    self._engine,
                    data,
                    signal.tenant,
                    lambda run, now: command.child_refused(
                        run, now, path=str(data.get("path")), child=str(data.get("run")), reason=reason
                    ),
                )
            if received:
                raise
            result = Result(signal=signal.id, status="refused", reason=error.message, data={"code": error.code})
            await self._engine.store.signals.close(signal.id, (result,))
            return result

    async def _command(self, signal: Signal, received: bool) -> Result:
        data = mapping(signal.data)
        run_id = str(data.get("run") or signal.subject)
        driver = await self._engine.driver_of(run_id, signal.tenant)
        if driver is None:
            result = Result(signal=signal.id, status="refused", run=run_id, reason=f"there is no run {run_id}")
            if not received:
                await self._engine.store.signals.close(signal.id, (result,))
            return result
        is_vote = signal.type == types.VOTE
        ask = await checked(self._engine, driver, signal) if is_vote else asked(self._engine, signal)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        driver.deliver(Message(ask, signal=signal, received=received, answer=answer))
        return await answer

    async def _set_workflow(self, signal: Signal) -> None:
        data = mapping(signal.data)
        await self._engine.workflows.set_status(str(data.get("workflow")), str(data.get("status")), signal.tenant)

    async def _revoke(self, signal: Signal) -> None:
        grant, grants = str(mapping(signal.data).get("grant")), self._engine.store.grants
        if not await grants.revoke(grant, by=signal.by, at=self._engine.now(), tenant=signal.tenant):
            raise Refused(f"there is no grant {grant} that holds", hint="`fleet grants` lists them")

    async def _dismiss(self, signal: Signal) -> dict[str, int]:
        ids = [str(id_) for id_ in items(mapping(signal.data).get("letters"))]
        letters = self._engine.store.dead_letters
        return {"dismissed": await letters.dismiss(ids, by=signal.by, at=self._engine.now(), tenant=signal.tenant)}

    async def _redeliver(self, signal: Signal) -> None:
        engine = self._engine
        ids = [str(id_) for id_ in items(mapping(signal.data).get("letters"))]
        if not await engine.store.deliveries.again(ids, now=engine.now(), tenant=signal.tenant):
            raise Refused("there is nothing to deliver any more", hint="it was delivered, or is on its way already")
        engine.deliverer.look()

    async def _settle(self, signal: Signal, received: bool, carry_out: Callable[[Signal], Awaitable[Any]]) -> Result:
        """Carry out a command that is about no run, and answer it."""
        if received:
            await self._engine.bus.store(signal)
        try:
            result = Result(signal=signal.id, status="accepted", data=await carry_out(signal))
        except StoreUnavailable:
            raise
        except FleetError as error:
            result = Result(signal=signal.id, status="refused", reason=error.message)
        await self._engine.store.signals.close(signal.id, (result,))
        return result
