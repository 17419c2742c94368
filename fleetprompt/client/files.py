"""Workflow files as the faces use them: loaded with what they start, with the commit they come from."""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.facts import Source
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.registry import STEPS

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names

GIT_SECONDS = 5.0
SUFFIXES = (".yaml", ".yml")


class WorkflowFile(Struct, frozen=True):
    """A loaded file."""

    plan: Plan
    digest: str
    text: str
    file: str
    """Absolute path."""
    named: str
    """The path as it was given."""


def discover_steps() -> None:
    """Make the step types known."""
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")


def load_files(path: Path, folder: Path, names: Names | None = None) -> tuple[WorkflowFile, ...]:
    """A workflow file, then those of the workflows it starts: from its folder or the project's, unknown ones left out.

    `names` is what their project has. Raises `InvalidWorkflow` with every problem, `NotFound` for a file that is not
    there.
    """
    file = load_file(path, names)
    found = {file.plan.name: file}
    queue = list(file.plan.children)
    while queue:
        name = queue.pop()
        if name in found:
            continue
        places = [place / f"{name}{suffix}" for place in (path.parent, folder) for suffix in SUFFIXES]
        where = next((place for place in places if place.is_file()), None)
        if where is not None:
            child = load_file(where, names)
            found[name] = child
            queue += child.plan.children
    return tuple(found.values())


def load_file(path: Path, names: Names | None = None) -> WorkflowFile:
    """A workflow file. Raises `InvalidWorkflow` with every problem, `NotFound` when there is no such file."""
    from fleetprompt.engine.definition.load import load_workflow

    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="give the path of a workflow file, or the name of a workflow")
    discover_steps()
    loaded = load_workflow(path, names)
    return WorkflowFile(
        plan=loaded.plan,
        digest=loaded.digest,
        text=loaded.source,
        file=str(path.resolve()),
        named=str(path),
    )


def shown(path: Path | str) -> str:
    """The path as people would write it from here, in characters that can be written down anywhere."""
    try:
        path = Path(path).relative_to(Path.cwd())
    except (ValueError, OSError):  # It lies elsewhere, or the folder we are in is gone.
        pass
    return writable(path)


def writable(path: Path | str) -> str:
    """A path in characters that can be written down anywhere: what of it is no UTF-8 stands for its bytes by halves of
    characters, which no log, JSON or terminal takes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def source_of(file: WorkflowFile) -> Source:
    """Where a file comes from: its commit, and whether it differs from it."""
    path = Path(file.file)
    digest = sha256(file.text.encode()).hexdigest()
    try:
        shown = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--", path.name],
            cwd=path.parent,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Source(file=file.file, digest=digest)
    commit = ""
    dirty = False
    for line in shown.splitlines():
        if line.startswith("# branch.oid "):
            commit = line.removeprefix("# branch.oid ").strip()
        elif not line.startswith("#"):
            dirty = True
    return Source(file=file.file, digest=digest, commit="" if commit == "(initial)" else commit, dirty=dirty)
