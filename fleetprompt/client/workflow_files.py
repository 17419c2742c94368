"""The workflow files of a project as they lie on the disk now, each read again only when it has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from fleetprompt.client.files import SUFFIXES, WorkflowFile, discover_steps, load_files, writable
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.definition.problems import InvalidWorkflow, Problem, ProblemCode
from fleetprompt.engine.ports import Workflow

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names

Stamp = tuple[tuple[int, int], ...]
"""When a file, and each file that it names, was written, and its bytes."""


class FileState(Struct, frozen=True, kw_only=True):
    """A workflow file as it was found."""

    path: Path
    named: str
    """The path from the project's folder, where it lies in it."""
    file: WorkflowFile | None = None
    """None where it cannot be used."""
    problems: tuple[Problem, ...] = ()
    """What is to be said about it, warnings included."""
    missing: bool = False
    """It is not there any more."""
    inside: bool = False
    """It lies in the project's folder of workflows."""

    @property
    def name(self) -> str:
        """The workflow's name; that of the file where it cannot be read."""
        return self.file.plan.name if self.file is not None else Path(self.named).stem

    @property
    def errors(self) -> int:
        """How many problems keep it from being run."""
        return sum(problem.severity == "error" for problem in self.problems)


class WorkflowFiles:
    """The files in a project's folder of workflows, and those that the store has been told of."""

    def __init__(self, root: Path, folder: Path, names: Callable[[], Names] | None = None) -> None:
        """`root` is the project's folder, from which paths in the store count; `folder` that of its workflows; `names`
        tells what the project has by name now."""
        self._names = names
        self.root = root
        self.folder = folder
        self._known: dict[Path, tuple[Stamp, FileState]] = {}

    def path_of(self, workflow: Workflow) -> Path | None:
        """Where the file of a workflow lies, or lay; None for one that came from no file."""
        return self.root / workflow.file if workflow.file and "\0" not in workflow.file else None

    def places(self, known: Iterable[Workflow] = ()) -> list[Path]:
        """Every file: those in the folder by name, then those of workflows that lie elsewhere. Raises `FleetError`."""
        found: dict[Path, None] = {}
        try:
            inside = [path for path in self.folder.iterdir() if path.suffix in SUFFIXES and not path.is_dir()]
            found = dict.fromkeys(sorted(path for path in inside if not path.name.startswith(".")))
        except FileNotFoundError:
            pass  # A project need not have one.
        except OSError as error:
            said = (error.strerror or type(error).__name__).lower()
            raise FleetError(f"the folder of workflows cannot be read: {said}", where=str(self.folder)) from error
        seen = {path.resolve() for path in found}
        for workflow in known:
            path = self.path_of(workflow)
            if path is not None and path.resolve() not in seen:
                seen.add(path.resolve())
                found[path] = None
        return list(found)

    def look(self, path: Path, *, anew: bool = False) -> FileState:
        """A file as it is now: it is read and checked unless it is as it was, or in any case with `anew`.

        May take seconds for one of megabytes: not to be called where something else has to go on.
        """
        known = self._known.get(path)
        # What is wrong with a file may be that another one is missing.
        if known is not None and known[1].file is not None and not anew and _stamp(path, known[1]) == known[0]:
            return known[1]
        state = self._read(path)
        self._known[path] = (_stamp(path, state), state)
        return state

    def _read(self, path: Path) -> FileState:
        from fleetprompt.engine.definition.load import load_text, read_file

        named, inside = self.named(path), path.parent == self.folder
        if not path.exists():
            return FileState(path=path, named=named, inside=inside, missing=True)
        if writable(path) != str(path):
            said, hint = "the name of the file is not UTF-8: nothing can be told of it", "rename it"
            wrong = Problem(ProblemCode.BAD_VALUE, said, hint, file=named, line=1, column=1, end_column=1)
            return FileState(path=path, named=named, inside=inside, problems=(wrong,))
        discover_steps()
        try:
            loaded = load_text(read_file(path), named, path.parent, self._now())
        except InvalidWorkflow as invalid:
            return FileState(path=path, named=named, inside=inside, problems=invalid.problems)
        file = WorkflowFile(
            plan=loaded.plan, digest=loaded.digest, text=loaded.source, file=str(path.resolve()), named=named
        )
        return FileState(path=path, named=named, inside=inside, file=file, problems=loaded.warnings)

    def load(self, path: Path) -> tuple[WorkflowFile, ...]:
        """A file with those of the workflows that it starts. Raises `InvalidWorkflow`, `NotFound`. Blocks."""
        return load_files(path, self.folder, self._now())

    def _now(self) -> Names | None:
        return self._names() if self._names is not None else None

    def named(self, path: Path) -> str:
        """The path as people see it: from the project's folder, where it lies in it."""
        return writable(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def text_of(path: Path) -> str:
    """The text of a workflow file, whatever is wrong with it. Raises `InvalidWorkflow` where it cannot be read."""
    from fleetprompt.engine.definition.load import read_file

    return read_file(path).decode("utf-8", "replace")


def _stamp(path: Path, state: FileState) -> Stamp:
    names = state.file.plan.files if state.file is not None else ()
    return tuple(_written(place) for place in (path, *(path.parent / name for name in names)))


def _written(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):  # It is gone, or its name is none.
        return (0, 0)
    return found.st_mtime_ns, found.st_size
