"""The fleet's switch: whether runs begin, steps start, and what is in flight goes on. It is looked at where these
things are decided, so no face can get around it, and it is kept in the store, so it outlives the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.outcome import unknown
from fleetprompt.engine.core.signal import SET_SWITCH, Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.core.working import interrupted
from fleetprompt.engine.ports.operations import EVERYBODY, POSITIONS, Position, Switch

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.driver import Driver
    from fleetprompt.engine.runtime.engine import Engine

WHOLE = "default"
"""The tenant whose operators have the switch of the whole fleet; those of others have their own."""
LONGEST_REASON = 500


class FleetSwitch:
    """What may happen now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._switches: dict[str, Switch] = {}
        self._moved = asyncio.Event()
        self._is_on = True
        """Everything may happen, for everybody: then nothing has to be looked at."""

    async def load(self) -> None:
        """Read how it stands, and carry out first of all what was asked of it while no engine ran."""
        engine = self._engine
        for each in await engine.store.operations.switches():
            self._put(each)
        for signal in await engine.store.signals.unrouted():
            if signal.type == SET_SWITCH:
                await engine.bus.route(signal)

    def of(self, tenant: str) -> Switch:
        """The switch that counts for a tenant: its own, or that of the whole fleet where that lets less happen."""
        own = self._switches.get(tenant) or Switch(tenant=tenant)
        whole = self._switches.get(EVERYBODY)
        if whole is None or POSITIONS.index(whole.position) < POSITIONS.index(own.position):
            return own
        return whole

    def halts(self, run: Run) -> bool:
        """Whether nothing new may start in a run."""
        if self._is_on or run.created is None:
            return False
        position = self.of(run.created.tenant).position
        if position == "draining":
            # What a run that has begun has started itself belongs to it.
            return run.started_at is None and not run.created.parent
        return position != "on"

    async def go_on(self, driver: Driver) -> None:
        """Until work in flight may go on."""
        while self.halts(driver.run):
            await self._moved.wait()

    async def set(self, signal: Signal) -> dict[str, Any]:
        """Move it as a signal asks for. Raises `InvalidInput`."""
        data = mapping(signal.data)
        position: Position | None = next((each for each in POSITIONS if each == data.get("position")), None)
        if position is None:
            raise InvalidInput(f"the switch is {', '.join(POSITIONS)}, not {data.get('position')!r}")
        tenant = EVERYBODY if signal.tenant == WHOLE else signal.tenant
        switch = Switch(
            tenant=tenant,
            position=position,
            by=signal.by,
            reason=self._engine.secrets.redact(str(data.get("reason") or ""))[:LONGEST_REASON],
            at=self._engine.now(),
        )
        await self._engine.store.operations.set_switch(switch)
        before = self._put(switch)
        self._move()
        self._engine.feed.mark(troubles=True)
        return {"before": before.position if before is not None else "on", "position": position}

    def _put(self, switch: Switch) -> Switch | None:
        """Let it count from now on; the one before it."""
        before = self._switches.get(switch.tenant)
        self._switches[switch.tenant] = switch
        self._is_on = all(each.position == "on" for each in self._switches.values())
        return before

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for driver in list(self._engine.live.values()):
            created = driver.run.created
            if created is not None and self.of(created.tenant).position == "off":
                self._stop(driver)
            elif driver.run.pending and not driver.tasks:
                # What was stopped goes on; the time until now was nobody's.
                driver.tell(lambda run, now: interrupted(run, max(now, run.at)))
            driver.wake()
        self._engine.slots.reconsider()

    def _stop(self, driver: Driver) -> None:
        """Stop what is in flight, as a crash would: what may be repeated is done again later, the rest is in doubt."""
        switch = self.of(driver.run.created.tenant) if driver.run.created is not None else Switch(tenant="")
        who = f" by {switch.by}" if switch.by else ""
        reason = f"stopped by the fleet's switch{who}" + (f": {switch.reason}" if switch.reason else "")
        for key in list(driver.tasks):
            path, attempt, _ = key
            step = driver.run.steps.get(path)
            if step is not None and step.unrepeatable and step.status == "running":
                driver.tell(_doubted(path, attempt, reason))
            else:
                driver.tasks.pop(key).cancel()


def _doubted(path: str, attempt: int, reason: str) -> Any:
    def ask(run: Run, now: float) -> list[AnyFact]:
        step = run.steps.get(path)
        if step is None or step.attempt != attempt or step.status != "running":
            return []
        return unknown(run, step, max(now, run.at), reason)

    return ask
