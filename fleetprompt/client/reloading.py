"""Workflow files of a running daemon: taken as they are, and again whenever they change.

A file that cannot be used changes nothing: its last good version goes on, and why it cannot be used is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from msgspec import Struct

from fleetprompt.client.files import SUFFIXES, WorkflowFile
from fleetprompt.client.protocol import Console
from fleetprompt.client.workflow_files import FileState, WorkflowFiles
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.definition.problems import Problem

SETTLE_MS = 200
"""Editors write a file in several steps: how long it has to be quiet."""
LOOK_MS = 2_000
"""How often files are looked at although nobody told of a change."""


class Reloaded(Struct, frozen=True, kw_only=True):
    """What a look at the files has brought."""

    taken: tuple[str, ...] = ()
    """Names of workflows that are new or have changed."""
    broken: dict[str, tuple[Problem, ...]] = {}
    """Files that cannot be used, by name, and why."""
    mended: tuple[str, ...] = ()
    """Files that could not be used before and can be now."""
    doubled: dict[str, str] = {}
    """Files that are left out because another one has a workflow of the same name: which."""


class Reloading:
    """The files of one project, registered with one console."""

    def __init__(self, console: Console, files: WorkflowFiles, told: Callable[[str, FleetError], object]) -> None:
        """`told` is given what is wrong with a file, once for each time it was written so."""
        self._console = console
        self._files = files
        self._told = told
        self._broken: dict[str, tuple[Problem, ...]] = {}

    async def look(self) -> Reloaded:
        """Register what is new or has changed."""
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
        broken = {state.named: state.problems for state in states if state.file is None and not state.missing}
        mended = tuple(name for name in self._broken if name not in broken)
        for name, problems in broken.items():
            if self._broken.get(name) != problems:
                first = next((each for each in problems if each.severity == "error"), problems[0])
                said = f"{first.code} {first.message}" + (
                    f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
                )
                hint = f"the last good version goes on; fleet validate {name}"
                self._told(f"{name}:{first.line}:{first.column}", FleetError(said, hint=hint))
        self._broken = broken
        return Reloaded(taken=tuple(taken), broken=broken, mended=mended, doubled=doubled)

    def _states(self) -> list[FileState]:
        return [self._files.look(path) for path in self._files.places()]

    async def follow(self, folders: tuple[Path, ...], stop: asyncio.Event) -> AsyncGenerator[Reloaded]:
        """What each change of a file in these folders, or below them, brings; until it is to stop."""
        from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

        def counts(change: Change, path: str) -> bool:
            return not Path(path).name.startswith(".") and path.endswith((*SUFFIXES, ".json"))

        there = [folder for folder in folders if folder.is_dir()]
        if not there:
            return
        changes = awatch(
            *there,
            watch_filter=counts,
            stop_event=stop,
            debounce=SETTLE_MS,
            step=50,
            # What changed before it watched, or where the kernel tells nothing, is found by looking.
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
        )
        async for _ in changes:
            before = self._broken
            try:
                found = await self.look()
            except FleetError as error:
                self._told("workflow files", error)
                continue
            if found.taken or found.mended or found.broken != before:
                yield found
