"""The engine under test: a project folder with a workflow and its functions, opened as `fleet` opens it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uuid_utils

from bench.task import Task
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_file
from fleetprompt.client.opening import Place, open_console
from fleetprompt.engine.core.signal import START, Signal
from fleetprompt.engine.ports import RunHead
from fleetprompt.engine.runtime.engine import Engine


def place(folder: Path) -> Place:
    """The project in a folder; its store is `.fleet/fleet.db`."""
    state = folder / ".fleet"
    return Place(root=folder, state=state, database=str(state / "fleet.db"))


def write_project(folder: Path, functions: str, **workflows: str) -> None:
    """Make a project: `work.py` and workflow files beside it."""
    at = folder / "workflows"
    at.mkdir(parents=True, exist_ok=True)
    (at / "work.py").write_text(functions)
    for name, text in workflows.items():
        (at / f"{name}.yaml").write_text(text)


def signal(type_: str, data: Any) -> Signal:
    """A signal from here and now."""
    return Signal(id=str(uuid_utils.uuid7()), type=type_, source="bench", at=time.time(), data=data, by="bench")


@asynccontextmanager
async def engine(task: Task) -> AsyncIterator[Engine]:
    """The engine of the project in the task's folder, with lock and socket; option `memory` has neither nor a disk."""
    if task.store == "memory":
        from fleetprompt.engine.store.memory import MemoryStore

        async with Engine(MemoryStore(), directory=task.folder) as opened:
            yield opened
        return
    console = await open_console(place(task.path), "engine", what="bench", recover=True)
    assert isinstance(console, EmbeddedConsole)
    try:
        yield console.engine
    finally:
        await console.close()


class Workflow:
    """A registered workflow file, ready to be started."""

    def __init__(self, opened: Engine, name: str, file: Path) -> None:
        self._engine = opened
        self._data = {"workflow": name, "source": {"file": str(file)}}

    @classmethod
    async def register(cls, opened: Engine, folder: Path, name: str) -> Workflow:
        """Load, check and register `workflows/NAME.yaml`."""
        file = load_file(folder / "workflows" / f"{name}.yaml")
        await opened.workflows.register(file.plan, source=file.text, file=file.file)
        return cls(opened, file.plan.name, Path(file.file))

    async def start(self, **inputs: Any) -> str:
        """Start a run; its id, when the start is durable."""
        return (await self._engine.bus.submit(signal(START, {**self._data, "inputs": inputs}))).run

    async def run(self, **inputs: Any) -> RunHead:
        """Start a run and wait for its end."""
        head = await self._engine.wait(await self.start(**inputs))
        if head.status != "completed":
            raise RuntimeError(f"run {head.id} is {head.status}: {head.error_message}")
        return head
