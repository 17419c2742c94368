"""A file in the operator's own editor: the console leaves the terminal to it, and the engine goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from fleetprompt.engine.core.errors import FleetError, InvalidInput

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

VARIABLES = ("VISUAL", "EDITOR")
USUAL = ("vi", "nano")
"""Editors that are taken where none is named, the first one that is installed."""


def editor(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command of the editor and its arguments: the one that is named, else one of the usual.

    Raises `InvalidInput` where there is none.
    """
    for name in VARIABLES:
        text = environment.get(name, "").strip()
        if not text:
            continue
        try:
            return shlex.split(text)
        except ValueError as error:
            raise InvalidInput(f"${name} cannot be understood: {str(error).lower()}", where=text) from error
    for name in USUAL:
        if shutil.which(name, path=environment.get("PATH", os.defpath)):
            return [name]
    raise InvalidInput("no editor is named or installed", hint="set $VISUAL or $EDITOR, or install vi")


async def edit(app: FleetConsole, path: Path) -> None:
    """Let the operator edit a file; returns when the editor has ended. Raises `FleetError` when it cannot be shown."""
    # A path never reaches a shell, and never looks like an option.
    command = [*editor(), str(path.absolute())]
    try:
        # Nothing may be painted over the editor, and ctrl-c means it and not us.
        with app.batch_update(), app.suspend(), _uninterrupted():
            # An error must not leave this block: the terminal would stay with the editor that is not there.
            try:
                code, failed = await _run(command), None
            except (OSError, ValueError) as error:
                code, failed = 0, error
    except SuspendNotSupported as error:
        raise FleetError("this terminal cannot be left to an editor", hint=f"edit {path} elsewhere") from error
    if failed is not None:
        error = failed
        said = getattr(error, "strerror", None) or str(error)
        hint = "check $VISUAL and $EDITOR"
        raise FleetError(f"the editor cannot be started: {said.lower()}", where=command[0], hint=hint) from error
    if code:
        raise FleetError(f"the editor ended with code {code}", where=command[0])


async def _run(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-c ends nothing here. What is started meanwhile has its own way with it."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
