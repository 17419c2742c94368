"""Workflow files of a running daemon: taken as they are, and again whenever they change.

A file that cannot be used, or is gone, changes nothing: its last good version goes on, and that is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from fleetprompt.client.files import SUFFIXES, WorkflowFile
from fleetprompt.client.protocol import Console
from fleetprompt.client.workflow_files import FileState, WorkflowFiles
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.definition.problems import Problem
from fleetprompt.engine.outside.changes import changes

T = TypeVar("T")
SETTLE_MS = 200
"""Editors write a file in several steps: how long it has to be quiet."""
LOOK_MS = 2_000
"""How often files are looked at although nobody told of a change."""


class Broken(Struct, frozen=True):
    """A file that cannot be used."""

    problems: tuple[Problem, ...]
    kept: bool
    """A version of it from before goes on."""

    @property
    def first(self) -> Problem:
        """What keeps it from being used."""
        return next((each for each in self.problems if each.severity == "error"), self.problems[0])

    @property
    def said(self) -> str:
        """What is wrong."""
        errors = sum(each.severity == "error" for each in self.problems)
        return f"{self.first.code} {self.first.message}" + (f" (and {errors - 1} more)" if errors > 1 else "")

    @property
    def means(self) -> str:
        """What becomes of the workflow meanwhile."""
        return "the last good version goes on" if self.kept else "there is no workflow of it until that is mended"


class Reloaded(Struct, frozen=True, kw_only=True):
    """What a look at the files has brought."""

    taken: tuple[str, ...] = ()
    """Names of workflows that are new or have changed."""
    broken: dict[str, Broken] = {}
    """Files that cannot be used, by name, and why."""
    mended: tuple[str, ...] = ()
    """Files that could not be used before and can be now."""
    doubled: dict[str, str] = {}
    """Files that are left out because another one has a workflow of the same name: which."""
    gone: dict[str, str] = {}
    """Files that are not there any more, and the workflow that goes on as it was in each."""


class Reloading:
    """The files of one project, registered with one console."""

    def __init__(self, console: Console, files: WorkflowFiles, told: Callable[[str, Exception], object]) -> None:
        """`told` is given what is wrong with a file, once for each time it was written so."""
        self._console = console
        self._files = files
        self._told = told
        self._before = Reloaded()

    async def look(self) -> Reloaded:
        """Register what is new or has changed. Of what is wrong only what was not so at the look before."""
        known = {each.name: each for each in await self._console.workflows()}
        states = await asyncio.to_thread(self._states)
        taken: dict[str, WorkflowFile] = {}
        doubled: dict[str, str] = {}
        seen: dict[str, FileState] = {}
        for state in states:
            if state.file is None:
                continue
            name = state.file.plan.name
            if name in seen:
                doubled[state.named] = seen[name].named
                continue
            seen[name] = state
            workflow = known.get(name)
            if workflow is None or workflow.plan != state.file.digest or self._files.path_of(workflow) != state.path:
                taken[name] = state.file
        await self._console.register_all([*taken.values()])
        lying = {path: name for name, each in known.items() if (path := self._files.path_of(each)) is not None}
        there = {state.path for state in states if not state.missing}
        found = Reloaded(
            taken=tuple(taken),
            broken={
                state.named: Broken(state.problems, kept=state.path in lying)
                for state in states
                if state.file is None and not state.missing
            },
            doubled=doubled,
            gone={
                self._files.named(path): name
                for path, name in lying.items()
                if path.parent == self._files.folder
                and path not in there
                and name not in seen
                and known[name].status == "active"
            },
        )
        return self._news(found)

    def _news(self, found: Reloaded) -> Reloaded:
        """What was not so before, told of where an operator looks."""
        before, self._before = self._before, found
        news = Reloaded(
            taken=found.taken,
            broken=_new(found.broken, before.broken),
            mended=tuple(name for name in before.broken if name not in found.broken and name not in found.gone),
            doubled=_new(found.doubled, before.doubled),
            gone=_new(found.gone, before.gone),
        )
        for name, broken in news.broken.items():
            where = f"{name}:{broken.first.line}:{broken.first.column}"
            self._told(where, FleetError(broken.said, hint=f"{broken.means}; fleet validate {name}"))
        for name, other in news.doubled.items():
            self._told(name, FleetError(f"it is left out: {other} has a workflow of the same name", hint="rename one"))
        for name, workflow in news.gone.items():
            said = f"the file is gone; workflow {workflow} goes on as it was"
            self._told(name, FleetError(said, hint=f"fleet workflows archive {workflow} ends it"))
        return news

    def _states(self) -> list[FileState]:
        return [self._files.look(path) for path in self._files.places()]

    async def follow(self, folders: tuple[Path, ...]) -> AsyncGenerator[Reloaded]:
        """What each change of a file in these folders, or below them, brings."""
        failed = ""
        async for _ in self._moments(folders):
            try:
                found = await self.look()
            except Exception as error:
                # Whatever is wrong with a file, or with the store just now: whoever serves goes on serving, and is told
                # once of what is found every two seconds.
                if str(error) != failed:
                    failed = str(error)
                    self._told("workflow files", error)
                continue
            failed = ""
            if found != Reloaded():
                yield found

    async def _moments(self, folders: tuple[Path, ...]) -> AsyncGenerator[None]:
        """Whenever there may be something to look at."""
        try:
            async for _ in changes(folders, _counts, debounce=SETTLE_MS, step=50, look=LOOK_MS):
                yield
        except (OSError, RuntimeError) as error:
            hint = f"changes are found within {LOOK_MS / 1000:g} s all the same"
            self._told("workflow files", FleetError(f"the kernel tells of no changes: {error}", hint=hint))
        while True:
            await asyncio.sleep(LOOK_MS / 1000)
            yield


def _counts(path: str) -> bool:
    return not Path(path).name.startswith(".") and path.endswith((*SUFFIXES, ".json"))


def _new(now: dict[str, T], before: dict[str, T]) -> dict[str, T]:
    return {name: each for name, each in now.items() if before.get(name) != each}
