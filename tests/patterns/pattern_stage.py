"""A stage for workflow files: a real engine on a store in memory, a scripted operator, and no waiting.

Time is virtual: when nothing but timers is left, the loop jumps to the next one. So a day's wait costs nothing, and how
long a run took is exact and the same on every machine.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.definition.load import Loaded, load_workflow
from fleetprompt.engine.ports import Page
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.store.memory import MemoryStore
from fleetprompt.engine.store.memory_state import State

sys.path.append(str(Path(__file__).resolve().parents[1] / "simulation"))

from virtual_loop import VirtualLoop

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "patterns"
EPOCH = 1_800_000_000.0
GROUPS = {"oncall": ["ana", "ben"], "leads": ["lea", "lou"]}


class _Clock:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return EPOCH + self._loop.time()


class Stage:
    """The engine, and what an operator and the outside world can do to it."""

    def __init__(self, engine: Engine, loop: VirtualLoop) -> None:
        self.engine = engine
        self.loop = loop
        self._count = 0

    async def at(self, second: float) -> None:
        """Let time pass until so many seconds after the beginning."""
        await asyncio.sleep(second - self.loop.time())

    async def start(self, name: str, **inputs: Any) -> str:
        """Start a run of a file of the folder; returns its id."""
        data = {"workflow": name, "inputs": inputs, "source": {"file": str(FOLDER / f"{name}.yaml")}}
        result = await self._send(types.START, "", data)
        assert result.status == "accepted", result.reason
        return result.run

    async def publish(self, type_: str, data: Any = None, *, subject: str = "", key: str = "") -> None:
        """Send a signal from outside."""
        await self.engine.bus.publish(self._signal(type_, subject, data, "world", key))

    async def vote(self, decision: str, by: str, **values: Any) -> Result:
        """Decide about the one approval that is open."""
        found, _ = await self.engine.store.approvals.list(_open(), Page(limit=10), now=EPOCH, tenant="default")
        (approval,) = found
        data = {"run": approval.run, "approval": approval.id, "decision": decision, "values": values}
        return await self._send(types.VOTE, approval.run, data, by)

    async def command(self, type_: str, run: str, **data: Any) -> Result:
        """Send a command about a run."""
        return await self._send(type_, run, {"run": run, **data})

    async def runs(self) -> list[Run]:
        """Every run there is, oldest first."""
        found = [await self.engine.load(id_) for id_ in list(self._state.runs)]
        return sorted((run for run in found if run is not None), key=lambda run: run.created.at if run.created else 0)

    async def settle(self) -> None:
        """Until every run is over, also those that others start."""
        quiet = False
        while not quiet:
            open_ = [id_ for id_, head in self._state.runs.items() if head.finished_at is None]
            if open_:
                await self.engine.wait(open_[0])
            else:
                await asyncio.sleep(1)
                quiet = all(head.finished_at is not None for head in self._state.runs.values())

    def check(self) -> None:
        """Nothing went wrong behind the scenes, and nothing is left lying about."""
        state = self._state
        assert self.engine.troubles == []
        assert state.unrouted == {}
        assert state.waits == {}
        assert [holders for holders in state.claims.values() if holders] == []
        assert [approval.id for approval in state.approvals.values() if approval.status == "pending"] == []

    @property
    def _state(self) -> State:
        store = self.engine.store
        assert isinstance(store, MemoryStore)
        return store.journal.state

    async def _send(self, type_: str, subject: str, data: Any, by: str = "ana") -> Result:
        return await self.engine.bus.submit(self._signal(type_, subject, data, by))

    def _signal(self, type_: str, subject: str, data: Any, by: str, key: str = "") -> Signal:
        self._count += 1
        return Signal(
            id=f"signal-{self._count}",
            type=type_,
            source=f"test/{by}",
            at=self.engine.now(),
            data=data,
            subject=subject,
            key=key,
            by=by,
        )


def _open() -> Any:
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS

    return parse("status:pending", APPROVAL_FIELDS)


@cache
def load(name: str) -> Loaded:
    """A file of the folder. Raises `InvalidWorkflow` with every problem."""
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    return load_workflow(FOLDER / f"{name}.yaml")


def perform(names: Iterable[str], script: Callable[[Stage], Awaitable[list[Run]]]) -> list[Run]:
    """Open an engine that knows these workflows and play a script on it; returns what the script does."""

    async def play() -> list[Run]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        accidents: list[Any] = []
        loop.set_exception_handler(lambda _, context: accidents.append(context))
        engine = Engine(MemoryStore(), clock=_Clock(loop), groups=GROUPS, directory=FOLDER)
        async with engine:
            for name in sorted(names):
                loaded = load(name)
                await engine.workflows.register(loaded.plan, source=loaded.source, file=str(FOLDER / f"{name}.yaml"))
            stage = Stage(engine, loop)
            found = await script(stage)
            stage.check()
        assert accidents == []
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(play())
