"""Workflow files checked without running them, and the JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.client.files import SUFFIXES, discover_steps
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.definition.problems import (
    InvalidFile,
    InvalidWorkflow,
    Problem,
    ProblemCode,
    as_json,
    ordered,
    render,
)
from fleetprompt.engine.definition.toml import TomlFile

if TYPE_CHECKING:
    from fleetprompt.client.names import ProjectNames
    from fleetprompt.engine.definition.names import Names

__all__ = [
    "LINE_BREAK",
    "Checked",
    "InvalidFile",
    "InvalidWorkflow",
    "Problem",
    "ProblemCode",
    "TomlFile",
    "as_json",
    "check_files",
    "check_settings",
    "check_text",
    "check_usable",
    "find_files",
    "render",
    "schema",
    "step_lines",
]

NOT_WORKFLOWS = frozenset({"agents", "schemas", "simulations"})
"""Folders beside workflow files in which other YAML files are; agents are checked where they are named."""
LINE_BREAK = re.compile(r"\r\n|\r|\n")
"""What ends a line of a workflow file, as its problems count lines."""


class Checked(Struct, frozen=True):
    """What is to be said about one workflow file."""

    file: str
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> int:
        """How many problems keep it from being run."""
        return sum(problem.severity == "error" for problem in self.problems)


def find_files(places: Iterable[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are named. Raises `NotFound`."""
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            named = (path for path in place.rglob("*") if path.suffix in SUFFIXES and not path.is_dir())
            inside = sorted(path for path in named if not _is_other(path, place))
            if not inside:
                raise NotFound(f"there is no workflow file in {place}", hint="workflow files end in .yaml or .yml")
            found |= dict.fromkeys(inside)
        elif place.exists():
            found[place] = None
        else:
            raise NotFound(f"there is no file {place}", hint="give workflow files, folders, or - for standard input")
    return list(found)


def _is_other(path: Path, place: Path) -> bool:
    """Whether it is hidden, or lies in a folder of what workflow files name."""
    *folders, _ = parts = path.relative_to(place).parts
    return any(part.startswith(".") for part in parts) or not NOT_WORKFLOWS.isdisjoint(folders)


def check_files(files: Iterable[Path], names: Names | None = None) -> list[Checked]:
    """Every problem of every file; those that several files have in common, such as of an agent's file, once."""
    seen: set[Problem] = set()
    checked: list[Checked] = []
    paths = HookPaths()
    for file in files:
        one = _check_file(file, names)
        if not one.errors:
            one = Checked(one.file, ordered([*one.problems, *paths.look(file)]))
        checked.append(Checked(one.file, tuple(problem for problem in one.problems if problem not in seen)))
        seen |= {*one.problems}
    return checked


class HookPaths:
    """The webhooks of several workflow files: of two that have the same path, no request reaches the second."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        """Path to the file that has it."""

    def look(self, file: Path) -> list[Problem]:
        """What is to be said about the paths of a file, which has no errors of its own."""
        from fleetprompt.engine.core.codec import items, mapping
        from fleetprompt.engine.definition.load import read_file
        from fleetprompt.engine.definition.yaml import load_document

        text = read_file(file)
        if b"webhook" not in text:
            return []
        document = load_document(text, str(file))
        found: list[Problem] = []
        for index, trigger in enumerate(map(mapping, items(mapping(document.data).get("triggers")))):
            path = str(trigger.get("path"))
            holder = self._known.setdefault(path, str(file)) if trigger.get("type") == "webhook" else str(file)
            if holder != str(file):
                message = f"the webhook of {holder} has this path: of two that are active only the older one is reached"
                hint = "give each of them a path of its own"
                place = ("triggers", index, "path")
                found.append(document.problem(place, ProblemCode.SUSPICIOUS, message, hint, severity="warning"))
        return found


def _check_file(file: Path, names: Names | None) -> Checked:
    from fleetprompt.engine.definition.load import read_file

    try:
        text = read_file(file)
    except InvalidWorkflow as unreadable:
        return Checked(str(file), unreadable.problems)
    return check_text(text, str(file), file.parent, names)


def check_settings(names: ProjectNames, others: Iterable[Problem] = ()) -> list[Checked]:
    """What is to be said about the models, the settings of tools and the policy of a project, by file. `others`: what
    was found there before."""
    return _by_file([*others, *names.settings_problems()])


def check_usable(names: ProjectNames, others: Iterable[Problem] = ()) -> list[Checked]:
    """Why the settings of tools or the policy of a project cannot be used, by file; nothing where they can. `others`:
    what was found there before."""
    return _by_file([*others, *names.settings_errors()])


def _by_file(problems: Iterable[Problem]) -> list[Checked]:
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.file, []).append(problem)
    return [Checked(file, ordered(each)) for file, each in found.items()]


def check_text(text: bytes | str, file: str, directory: Path | None = None, names: Names | None = None) -> Checked:
    """Every problem of the text of a workflow file."""
    from fleetprompt.engine.definition.load import check

    discover_steps()
    return Checked(file, tuple(check(text, file, directory, names)))


def schema() -> dict[str, Any]:
    """The JSON Schema of workflow files, with the step types that are installed."""
    from fleetprompt.engine.definition.schema import workflow_schema

    discover_steps()
    return workflow_schema()


def step_lines(text: str) -> dict[str, tuple[int, int]]:
    """Where the steps of a workflow file stand: id to its lines, counted from 0, the second not included.

    What undoes a step has the step's id and `@compensate`. What cannot be read has no lines.
    """
    from fleetprompt.engine.core.transition import COMPENSATION
    from fleetprompt.engine.definition.outline import Outline
    from fleetprompt.engine.definition.yaml import load_document

    discover_steps()
    document = load_document(text, "")
    lines = [line.strip() for line in LINE_BREAK.split(text)]
    found: dict[str, tuple[int, int]] = {}
    for site in Outline(document.data, {}).sites if document.complete else ():
        places = {site.id: site.pointer}
        if "compensate" in site.raw:
            places[site.id + COMPENSATION] = (*site.pointer, "compensate")
        for id_, pointer in places.items():
            first, end = document.key(pointer).line - 1, document.value(pointer).end_line
            # A comment behind a step belongs to what follows.
            while end > first + 1 and (not lines[end - 1] or lines[end - 1].startswith("#")):
                end -= 1
            found.setdefault(id_, (first, end))
    found.pop("", None)
    return found
