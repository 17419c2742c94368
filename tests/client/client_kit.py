"""A project in a folder, for tests of the consoles."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.http.address import address_of
from fleetprompt.client.http.console import connect
from fleetprompt.client.opening import Place, open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.ports import Change
from tests.client import far

ME = "ana"


def place_at(root: Path, **options: Any) -> Place:
    """The place of a project."""
    state = root / ".fleet"
    return Place(root=root, state=state, database=str(state / "fleet.db"), **options)


async def embedded(place: Place, *, recover: bool = True) -> EmbeddedConsole:
    """A console with the engine."""
    console = await open_console(place, "engine", recover=recover)
    assert isinstance(console, EmbeddedConsole)
    if far.asked:
        return cast("EmbeddedConsole", await far.serve(console, place))
    return console


async def attached(place: Place) -> AttachedConsole:
    """A console without."""
    console = await open_console(place, "attach")
    assert isinstance(console, AttachedConsole)
    if far.asked and (url := far.url(place)):
        return cast("AttachedConsole", far.Far(console, await connect(address_of(url))))
    return console


def start_of(file: Path, **options: Any) -> StartRun:
    """The wish to start a file."""
    return StartRun(files=load_files(file, file.parent), by=ME, **options)


class Heard:
    """What a console is told, as it comes."""

    def __init__(self, console: AttachedConsole | EmbeddedConsole, seconds: float = 0.01) -> None:
        self.changes: list[Change] = []
        self._task = asyncio.get_running_loop().create_task(self._listen(console, seconds))

    async def _listen(self, console: AttachedConsole | EmbeddedConsole, seconds: float) -> None:
        async for change in console.changes(seconds):
            self.changes.append(change)

    async def until(self, test: Callable[[Change], Any]) -> Change:
        """The first change of which it holds; those before it are forgotten."""
        for _ in range(24_000):
            for i, change in enumerate(self.changes):
                if test(change):
                    del self.changes[: i + 1]
                    return change
            assert not self._task.done(), self._task
            await asyncio.sleep(0.005)
        raise AssertionError(f"it was never told; {self.changes}")

    async def over(self) -> None:
        """Until nothing will be told any more."""
        async with asyncio.timeout(120):
            await self._task

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def until(test: Callable[[], bool]) -> None:
    for _ in range(24_000):
        if test():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about")


def lose(place: Place, fault: str) -> None:
    """What is done to the file of a store that is open."""
    file = place.file
    assert file is not None
    if fault == "deleted":
        file.unlink()
    elif fault == "replaced":
        shutil.copy(file, file.with_name("copy"))
        file.with_name("copy").replace(file)
    else:
        os.truncate(file, 0)
