"""Agents where they are looked for: in files of their own (`agents/<name>.yaml`), or in the workflow itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.definition.agents import MAX_AGENTS, NAME, AgentFileModel, AgentModel
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.models import WorkflowModel
from fleetprompt.engine.definition.names import Names, agents_of_agent, names_of_agent
from fleetprompt.engine.definition.outline import mapping
from fleetprompt.engine.definition.problems import Pointer, Problem, ProblemCode
from fleetprompt.engine.definition.roles import roles
from fleetprompt.engine.definition.shape import problems_from
from fleetprompt.engine.definition.source import AGENT_FILE
from fleetprompt.engine.definition.yaml import load_document

FOLDER = "agents"
MOST_PROBLEMS = 100
"""Problems with names of one file that are told: a list of names may be as long as a file."""
_NAME = re.compile(NAME)


class Found(Struct, frozen=True):
    """An agent file, and what is wrong with it."""

    agent: Agent | None
    """None where its form is wrong."""
    document: Document | None
    """None where it cannot be read."""
    problems: tuple[Problem, ...]


def read_agent(path: Path, shown: str, names: Names | None = None, known: Collection[str] | None = None) -> Found:
    """Read and check an agent file. `names`: what it can name; without them, only its form is looked at. `known`: names
    of the agents that it may name; None: whether there are any is found out elsewhere. Raises `OSError`."""
    return check_agent(path.read_bytes(), path, shown, names, known)


def check_agent(
    text: bytes | str, path: Path, shown: str, names: Names | None = None, known: Collection[str] | None = None
) -> Found:
    """Check the text of an agent file that lies, or is to lie, at a path."""
    document = load_document(text, shown, AGENT_FILE)
    problems = list(document.problems)
    model: AgentFileModel | None = None
    sound = False
    if document.complete:
        try:
            model = AgentFileModel.model_validate(document.data)
        except ValidationError as error:
            found = problems_from(error, document, candidates=lambda pointer: agent_keys(document.data, pointer))
            problems += map(_of_agent, found)
        named = mapping(document.data).get("name")
        if isinstance(named, str) and named != path.stem:
            message = f"the agent is called `{named}`, its file {path.name}"
            problems.append(document.problem(("name",), ProblemCode.BAD_VALUE, message, "give both the same name"))
        # What it is can be told although what it names is not there.
        sound = model is not None and not _errors(problems)
        if names is not None:
            more = names_of_agent(document.data, (), document, names, path.parent.parent, path.stem)
            problems += beyond(problems, more)
        if known is not None:
            problems += beyond(problems, _unknown(document, known))
    agent = model.compiled(model.name, path.name) if model is not None and sound else None
    return Found(agent, document, tuple(problems))


def _of_agent(problem: Problem) -> Problem:
    """With a hint for whoever writes an agent as if it were a workflow."""
    key = problem.pointer.removeprefix("/")
    if problem.code is not ProblemCode.UNKNOWN_KEY or problem.hint != problem.code.remedy or "/" in key:
        return problem
    if key in roles(WorkflowModel):
        hint = f"`{key}` belongs to workflow files; a step of type `agent` there names this agent"
    else:
        hint = "remove it, or see which keys agent files have in docs/workflows.md, Agents"
    return replace(problem, hint=hint)


def _errors(problems: Collection[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def beyond(problems: Collection[Problem], more: Iterator[Problem]) -> list[Problem]:
    """Those of more problems at whose place nothing is wrong yet: a name that is none is not unknown besides."""
    there = {(each.file, each.line, each.column) for each in problems if each.severity == "error"}
    return list(islice((each for each in more if (each.file, each.line, each.column) not in there), MOST_PROBLEMS))


def agent_keys(data: Any, pointer: Pointer, model: type[AgentModel] = AgentFileModel) -> Collection[str]:
    """The keys that the mapping at a place in an agent can have, for a did-you-mean."""
    known = roles(model)
    parts = list(pointer)
    while parts:
        role = known.get(str(parts.pop(0)))
        if role is None or role.part is None:
            return ()
        if role.keyed and parts:
            parts.pop(0)
        elif role.keyed:
            return ()
        known = roles(role.part)
    return known


def _unknown(document: Document, known: Collection[str]) -> Iterator[Problem]:
    for name, pointer in agents_of_agent(document.data):
        if name not in known:
            hint = did_you_mean(name, known) or f"write {FOLDER}/{name}.yaml, or put it under `agents:` of the workflow"
            yield document.problem(
                pointer, ProblemCode.UNKNOWN_NAME, f"there is no agent `{name}`", hint, severity="warning"
            )


def read_folder(
    folder: Path, shown: Callable[[Path], str], only: Path | None = None, names: Names | None = None
) -> Iterator[tuple[Path, Found]]:
    """Every agent file in a folder by name, or one of them, checked, with those that it names looked for beside it.
    `shown` is how people call a path."""
    paths = sorted(path for path in folder.glob("*.yaml") if path.is_file() and not path.name.startswith("."))
    known = {path.stem for path in paths}
    for path in paths if only is None else (only,):
        try:
            yield path, read_agent(path, shown(path), names, known)
        except OSError as error:
            said = f"the file cannot be read: {(error.strerror or str(error)).lower()}"
            problem = Problem(ProblemCode.MISSING_FILE, said, file=shown(path))
            yield path, Found(None, None, (problem,))


def folders(directory: Path) -> Iterator[Path]:
    """Where agent files are looked for, seen from the folder of a workflow file."""
    yield directory / FOLDER
    yield directory.parent / FOLDER


class Agents:
    """The agents that a workflow names, each looked at once; what is wrong is told where it is named. Without a
    directory files are not looked for."""

    def __init__(
        self,
        document: Document,
        models: Mapping[str, AgentModel],
        directory: Path | None,
        names: Names | None = None,
    ) -> None:
        """`document` is the workflow's, `models` the agents in it, where it has the right form."""
        self._document = document
        self._inline = mapping(mapping(document.data).get("agents"))
        self._models = models
        self._directory = directory
        self._names = names
        self._looked: dict[str, Problem | None] = {}
        """Names that were looked for; what is wrong with them at the place that was the first."""
        self.found: dict[str, Agent] = {}
        self.problems: list[Problem] = []

    def look_inside(self) -> None:
        """Look at all agents that are written in the workflow, also those that no step names."""
        for name, raw in self._inline.items():
            if len(self.problems) > MOST_PROBLEMS:
                return
            pointer: Pointer = ("agents", name)
            if self._names is not None:
                found = names_of_agent(raw, pointer, self._document, self._names, self._directory, name)
                self.problems += islice(found, MOST_PROBLEMS)
            for other, place in agents_of_agent(raw, pointer):
                self.take(other, self._document, place)

    def take(self, name: str, document: Document, pointer: Pointer) -> None:
        """Find an agent, and all that it names."""
        if not _NAME.match(name) or len(self.problems) > MOST_PROBLEMS:
            return
        if name in self._looked:
            if (first := self._looked[name]) is not None and first.code is ProblemCode.UNKNOWN_NAME:
                # Each place has to be mended.
                self.problems.append(document.problem(pointer, first.code, first.message, first.hint))
            return
        self._looked[name] = None
        if len(self._looked) > MAX_AGENTS:
            problem = document.problem(pointer, ProblemCode.BAD_VALUE, f"more than {MAX_AGENTS} agents", "name fewer")
        elif name in self._inline:
            problem = self._from_workflow(name)
        else:
            problem = self._from_file(name, document, pointer)
        self._looked[name] = problem
        if problem is not None:
            self.problems.append(problem)

    def _from_workflow(self, name: str) -> None:
        if (model := self._models.get(name)) is not None:
            self.found[name] = model.compiled(name)
        for other, place in agents_of_agent(self._inline[name], ("agents", name)):
            self.take(other, self._document, place)

    def _from_file(self, name: str, document: Document, pointer: Pointer) -> Problem | None:
        if self._directory is None:
            return None
        for folder in folders(self._directory):
            path = folder / f"{name}.yaml"
            if not path.is_file():
                continue
            try:
                found = read_agent(path, str(path), self._names)
            except OSError as error:
                said = f"the agent `{name}` cannot be read: {(error.strerror or str(error)).lower()}"
                return document.problem(pointer, ProblemCode.MISSING_FILE, said, f"look at {path}")
            self.problems += found.problems
            if found.document is not None:
                for other, place in agents_of_agent(found.document.data):
                    self.take(other, found.document, place)
            if found.agent is None or _errors(found.problems):
                message = f"the agent `{name}` cannot be used: {path}"
                return document.problem(pointer, ProblemCode.MISSING_FILE, message, "mend what is wrong in that file")
            self.found[name] = found.agent
            return None
        known = [*self._inline, *(each.stem for folder in folders(self._directory) for each in folder.glob("*.yaml"))]
        hint = did_you_mean(name, known) or f"write {FOLDER}/{name}.yaml, or `agents: {{{name}: …}}` in this file"
        return document.problem(pointer, ProblemCode.UNKNOWN_NAME, f"there is no agent `{name}`", hint)
