"""A project in a folder, for tests of the consoles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleetprompt.client.consoles import AttachedConsole, EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import Place, open_console
from fleetprompt.client.protocol import StartRun

ME = "ana"


def place_at(root: Path, **options: Any) -> Place:
    """The place of a project."""
    state = root / ".fleet"
    return Place(root=root, state=state, database=str(state / "fleet.db"), **options)


async def embedded(place: Place, *, recover: bool = True) -> EmbeddedConsole:
    """A console with the engine."""
    console = await open_console(place, "engine", recover=recover)
    assert isinstance(console, EmbeddedConsole)
    return console


async def attached(place: Place) -> AttachedConsole:
    """A console without."""
    console = await open_console(place, "attach")
    assert isinstance(console, AttachedConsole)
    return console


def start_of(file: Path, **options: Any) -> StartRun:
    """The wish to start a file."""
    return StartRun(files=load_files(file, file.parent), by=ME, **options)
