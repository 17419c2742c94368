"""Engines in processes of their own, and the moments at which they are killed."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.bytecode import bytecode
from tests.crash.project import Project

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""Seconds in which an engine has to get as far as it is wanted."""
LOOK = 0.002


def environment() -> dict[str, str]:
    """For processes: they are of this clone, and keep compiled modules."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **bytecode(), "PYTHONPATH": str(ROOT)}


class Useless(Exception):
    """Nothing can be said about crashes: an engine did not do what it is killed in the middle of."""


@dataclass(frozen=True)
class Moment:
    """When to kill: so many lines of effects after the engine was started (none: at once), and a little later."""

    effects: int
    seconds: float

    @classmethod
    def draw(cls, chance: random.Random, most: int) -> Moment:
        """Mostly in the midst of the work, sometimes while the engine opens or recovers."""
        if chance.random() < 0.25:
            return cls(0, chance.uniform(0.1, 1.5))
        return cls(chance.randint(1, most), chance.uniform(0, 0.01))

    def __str__(self) -> str:
        if not self.effects:
            return f"{self.seconds:.2f} s after its start"
        lines = "line" if self.effects == 1 else "lines"
        return f"{self.seconds * 1000:.0f} ms after its effects had written {self.effects} {lines}"


class Engine:
    """`fleet recover` in a process: it takes up everything that is there and waits for these runs."""

    def __init__(self, project: Project, process: asyncio.subprocess.Process) -> None:
        self.project = project
        self.process = process

    @classmethod
    async def start(cls, project: Project, runs: Sequence[str]) -> Engine:
        """Start one."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fleetprompt.cli", "recover", "--quiet", *runs),
            cwd=project.folder,
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(project, process)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.kill()

    async def until(self, moment: Moment) -> None:
        """Until the moment has come. Raises `Useless` when it cannot."""
        before = self.project.lines
        deadline = time.monotonic() + PATIENCE
        while self.project.lines < before + moment.effects:
            if self.process.returncode is not None:
                raise Useless(f"an engine ended by itself: {await self._said()}")
            if time.monotonic() > deadline:
                raise Useless(f"an engine has left fewer than {moment.effects} lines in {PATIENCE:.0f} s")
            await asyncio.sleep(LOOK)
        await asyncio.sleep(moment.seconds)

    async def kill(self) -> bool:
        """`kill -9`; whether there was anything to kill."""
        try:
            self.process.kill()
        except ProcessLookupError:
            return False
        return await self.process.wait() == -9

    async def finish(self) -> None:
        """Until everything is over. Raises `Useless` when that takes too long, or the command fails."""
        try:
            _, said = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        except TimeoutError:
            raise Useless(f"the last engine was not done after {PATIENCE:.0f} s") from None
        # 0: all completed, 1: a run failed, as some of them have to.
        if self.process.returncode not in (0, 1):
            raise Useless(f"the last engine exited with {self.process.returncode}: {said.decode()}")

    async def _said(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode() or f"exit code {self.process.returncode}"
