"""Workflows of other systems: read, translated, and put into the project's folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fleetprompt.client.agents import places
from fleetprompt.client.files import SUFFIXES, discover_steps, shown
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.definition.importing import (
    EVERYTHING,
    Imported,
    Origin,
    formats,
    ids_of,
    import_workflow,
    origin_of,
    recognise,
)

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names
    from fleetprompt.engine.definition.problems import Problem

__all__ = [
    "EVERYTHING",
    "Imported",
    "Origin",
    "check_imported",
    "formats",
    "ids_of",
    "import_workflow",
    "known_agents",
    "origin_of",
    "read_source",
    "recognise",
    "target",
    "write",
]


def read_source(path: Path) -> bytes:
    """The bytes of a file that is to be imported. Raises `NotFound`, `InvalidWorkflow`."""
    from fleetprompt.engine.definition.load import read_file

    if not path.exists():
        raise NotFound(f"there is no file {path}", hint="give a JSON or YAML file, or - for standard input")
    return read_file(path)


def known_agents(root: Path, workflows: Path) -> Iterator[str]:
    """Names of the agents that a project has in files of their own."""
    for folder in places(root, inside=[workflows]):
        try:
            yield from sorted(path.stem for path in folder.glob("*.yaml"))
        except OSError:
            continue


def check_imported(
    imported: Imported, file: str, directory: Path | None, names: Names | None = None
) -> tuple[Problem, ...]:
    """Everything that is to be said about the result, as `fleet validate` would say it of its file."""
    from fleetprompt.engine.definition.load import check

    discover_steps()
    return tuple(check(imported.text, file, directory, names))


def target(imported: Imported, workflows: Path, *, force: bool = False) -> Path:
    """Where the file of an imported workflow belongs in a project. Raises `Refused` where there is one of that name."""
    path = workflows / f"{imported.name}.yaml"
    other = next((each for each in (path.with_suffix(suffix) for suffix in SUFFIXES) if each.exists()), None)
    if other is not None and not (force and other == path):
        hint = "--force writes over it, -o FILE writes elsewhere" if other == path else "rename it, or give -o FILE"
        raise Refused("there is a file for this workflow already", where=shown(other), hint=hint)
    return path


def write(text: str, path: Path, *, force: bool = False) -> None:
    """Write a file as a whole or not at all, over another one only with `force`. It is on the disk when this returns.

    Raises `Refused` where there is one, `InvalidInput` where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
        try:
            # The kernel takes the umask away, as from any file that is made.
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if force:
                if path.exists():
                    beside.chmod(path.stat().st_mode & 0o777)
                beside.replace(path)
            else:
                # Unlike a renaming, it never replaces what somebody else has put there meanwhile.
                path.hardlink_to(beside)
        finally:
            beside.unlink(missing_ok=True)
    except FileExistsError:
        raise Refused("there is a file already", where=shown(path), hint="--force writes over it") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidInput(f"the file cannot be written: {reason}", where=shown(path)) from None
