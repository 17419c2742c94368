"""The console of the process that holds the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.protocol import Progress, TakenUp, Where
from fleetprompt.client.right import EngineRight
from fleetprompt.client.store_console import StoreConsole
from fleetprompt.engine.core.plan import plan_digest
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import (
    Approval,
    Change,
    EngineHealth,
    Piece,
    Stored,
)
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.admission import Origin
from fleetprompt.engine.runtime.edits import look_at
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.wire import Wire


class EmbeddedConsole(StoreConsole):
    """The engine is here."""

    where: Where = "embedded"

    def __init__(self, engine: Engine, right: EngineRight | None, wire: Wire | None) -> None:
        super().__init__(engine.store, engine.clock)
        self.engine = engine
        self._root = Path(engine.directory)
        self._right = right
        self._wire = wire
        found = engine.recovered
        self.taken_up = TakenUp(
            runs=found.runs,
            in_doubt=found.in_doubt,
            signals=found.signals,
            corrupt=tuple(corrupt.run for corrupt in found.corrupt),
            others=found.others,
        )

    @property
    def holder(self) -> str:
        return "this process"

    async def close(self) -> None:
        """Close the engine: finish or park."""
        if self._lent:
            return
        await self.refusals.close()
        await self.published.close()
        try:
            if self._wire is not None:
                await self._wire.close()
            await self.engine.close()
        finally:
            if self._right is not None:
                await self._right.release()

    async def adopt(self, run: str) -> None:
        """Go on with a run that another engine has left, or that waits; one that cannot be read is held."""
        driver = await self.engine.reach(run)
        if driver is not None:
            driver.wake()

    async def _send(self, signal: Signal) -> Result:
        return await self.engine.bus.submit(signal)

    async def _edited(self, approval: Approval, values: Mapping[str, Any]) -> EditedCall | None:
        return await look_at(self.engine, approval.run, approval.id, values)

    async def _register(self, file: WorkflowFile) -> str:
        note = self.noted("register", "workflow", file.plan.name, file.digest)
        return await self.engine.workflows.register(
            file.plan, source=file.text, file=file.file, tenant=self.tenant, audit=note
        )

    async def register_all(self, files: Sequence[WorkflowFile]) -> None:
        """Register the files of workflows that differ."""
        given = [(file.plan, file.text, file.file) for file in files]
        await self.engine.workflows.register_all(
            given, self.tenant, lambda plan: self.noted("register", "workflow", plan.name, plan_digest(plan))
        )

    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]:
        """Publish a signal from there."""
        publication = await self.engine.bus.publish(signal, origin)
        return publication.signal, publication.duplicate

    async def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts and log lines as they come."""
        async for entry in self.engine.feed.watch(self.store.journal, after, run, self.tenant):
            yield entry if isinstance(entry, Stored) else Progress(*entry)

    def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes, as the engine notes it in passing."""
        return self.engine.feed.changes(self.store.journal, seconds, self.tenant)

    def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run."""
        return self.engine.pieces.watch(run, seconds, self.tenant)

    async def holds(self) -> Mapping[str, str]:
        """Runs that the engine does nothing for any more, and why."""
        return self.engine.holds_of(self.tenant)

    async def health(self) -> EngineHealth:
        """How the engine is."""
        return await self._shown(await self.engine.vitals.health(self.tenant))
