"""Workflows of other systems: read, translated, and put into the project's folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fleetprompt.client.agents import places
from fleetprompt.client.files import SUFFIXES, discover_steps, shown
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.definition.importing import Imported, formats, ids_of, import_workflow

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names
    from fleetprompt.engine.definition.problems import Problem

__all__ = [
    "Imported",
    "check_imported",
    "formats",
    "ids_of",
    "import_workflow",
    "known_agents",
    "read_source",
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
    """Write a workflow file, over another one only with `force`, and then as a whole or not at all.

    Raises `Refused` where there is one, `InvalidInput` where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not force:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise Refused("there is a file already", where=shown(path), hint="--force writes over it") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidInput(f"the file cannot be written: {reason}", where=shown(path)) from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
