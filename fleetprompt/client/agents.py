"""Agents as the faces see them: as they are written, and what they have done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from fleetprompt.client.files import shown
from fleetprompt.client.wording import faults
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import AGENT_SESSION_FIELDS
from fleetprompt.engine.core.query_scan import quote
from fleetprompt.engine.ports import AgentSession, AgentStatistics, Clock, Page, Store, Workflow

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.definition.agent_files import Found
    from fleetprompt.engine.definition.names import Names
    from fleetprompt.engine.definition.problems import Problem

WORKFLOWS = "workflows"
"""The usual folder of workflow files, beside or in which agents are looked for, too."""
LISTED = 8
"""Names that are told to somebody who asks for one that there is not."""


class AgentDefinition(Struct, frozen=True, kw_only=True):
    """An agent as it is written: in a file of its own, or in a workflow."""

    name: str
    """For a file that cannot be used, what the file is called."""
    agent: Agent | None
    """Everything it is and may do; None where that cannot be read."""
    file: str = ""
    """Absolute path of its file; of one in a workflow, of the workflow's, where that came from one."""
    workflow: str = ""
    """The workflow in which it is written; empty for one with a file of its own."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with its file, warnings included."""

    @property
    def errors(self) -> int:
        """How many problems keep it from being used."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def faults(self) -> str:
        """How much is wrong with it, where that keeps it from being used; empty where it can be."""
        return faults(self.errors, len(self.problems) - self.errors) if self.errors else ""


def row(name: str, definition: AgentDefinition | None, last: str, *, broken: bool) -> Mapping[str, Any]:
    """What a filter over agents compares; `last` is the status of its last execution, if there was one."""
    agent = definition.agent if definition is not None else None
    return {
        "name": name,
        "status": "broken" if broken else last or "idle",
        "description": agent.description if agent is not None else "",
        "model": (agent.model or "default") if agent is not None else "",
        "tools": agent.tools if agent is not None else (),
        "workflow": definition.workflow if definition is not None else "",
    }


def apart(definitions: Iterable[AgentDefinition]) -> set[tuple[str, str]]:
    """Agents of workflows (name and workflow) that have their name in common with others."""
    every = [*definitions]
    written = Counter(each.name for each in every)
    return {(each.name, each.workflow) for each in every if each.workflow and written[each.name] > 1}


def sessions_of(name: str, workflow: str) -> str:
    """A filter that finds the executions of an agent, or the runs in which it has worked; of one of several of a name
    those of its workflow."""
    return f"agent:{quote(name)}" + (f" wf:{quote(workflow)}" if workflow else "")


class Told(NamedTuple):
    """An agent that is written somewhere, or that has done something."""

    name: str
    workflow: str
    """That whose own it is, where others have the same name."""
    definition: AgentDefinition | None
    figures: AgentStatistics | None


async def told(console: Console, since: float) -> list[Told]:
    """All agents with what they have done since then, by name. Raises `FleetError`."""
    definitions = await console.agents()
    own = apart(definitions)
    figures = {(each.agent, each.workflow): each for each in await console.agent_statistics(since, own)}
    found: list[Told] = []
    for each in definitions:
        key = (each.name, each.workflow if (each.name, each.workflow) in own else "")
        found.append(Told(*key, each, figures.get(key)))
    known = {(each.name, each.workflow) for each in found}
    found += [Told(*key, None, each) for key, each in figures.items() if key not in known]
    return sorted(found, key=lambda each: (each.name, each.workflow))


class Agents:
    """The part of a console that knows agents."""

    store: Store
    clock: Clock
    tenant: str
    _root = Path()
    workflow_folders: tuple[Path, ...] = ()
    """The project's folders of workflow files, beside which agents are looked for."""
    names: Callable[[str], Names] | None = None
    """What the project has by name now for a tenant, that files can name."""

    async def agents(self) -> list[AgentDefinition]:
        """All agents: those with a file of their own, then those that are written in workflows that are not archived;
        by name."""
        known = [each for each in await self.store.catalog.workflows(self.tenant) if each.status != "archived"]
        own = await asyncio.to_thread(
            read_agents,
            places(self._root, known, self.workflow_folders),
            self.names(self.tenant) if self.names else None,
        )
        found = own + [each for workflow in known for each in await self._inside(workflow)]
        return sorted(found, key=lambda each: (each.name, each.workflow, each.file))

    async def _inside(self, workflow: Workflow) -> list[AgentDefinition]:
        plan = await self.store.catalog.plan(workflow.plan, self.tenant)
        file = str(self._root / workflow.file) if workflow.file else ""
        return [
            AgentDefinition(name=agent.name, agent=agent, file=file, workflow=workflow.name)
            for agent in (plan.agents.values() if plan is not None else ())
            if not agent.file
        ]

    async def agent(self, name: str) -> AgentDefinition:
        """The agent of that name; of several the one with a file of its own. Raises `NotFound`."""
        found = [each for each in await self.agents() if each.name == name]
        if not found:
            raise no_agent(name, [each.name for each in await self.agents()])
        return found[0]

    async def agent_statistics(self, since: float, own: Collection[tuple[str, str]] = ()) -> list[AgentStatistics]:
        """Of every agent with executions that ended since then or are not over yet, by name."""
        return await self.store.agents.statistics(since, self.tenant, own)

    async def agent_sessions(self, filter_: str, page: Page) -> tuple[list[AgentSession], str]:
        """Matching executions, those that began last first, and the next cursor. Raises `InvalidInput`."""
        query = parse(filter_, AGENT_SESSION_FIELDS)
        query.require()
        return await self.store.agents.list(query, page, now=self.clock.now(), tenant=self.tenant)


def no_agent(name: str, known: Iterable[str]) -> NotFound:
    """What is said where there is no such agent, with those that may be meant."""
    from fleetprompt.engine.core.closest import did_you_mean

    names = sorted(set(known))
    listed = ", ".join(names[:LISTED]) + (", … (`fleet agents`)" if len(names) > LISTED else "")
    hint = did_you_mean(name, names) or (f"there are: {listed}" if names else "write agents/NAME.yaml")
    return NotFound(f"there is no agent `{name}`", hint=hint)


def places(root: Path, workflows: Iterable[Workflow] = (), inside: Iterable[Path] = ()) -> list[Path]:
    """Folders of agent files of a project: its own, and those in and beside the folders of its workflows."""
    from fleetprompt.engine.definition.agent_files import FOLDER, folders

    found = dict.fromkeys([root / FOLDER, root / WORKFLOWS / FOLDER])
    for folder in inside:
        found |= dict.fromkeys(folders(folder))
    for workflow in workflows:
        if workflow.file and "\0" not in workflow.file:
            found |= dict.fromkeys(folders((root / workflow.file).parent))
    unique = {folder.resolve(): folder for folder in reversed(found) if folder.is_dir()}
    return [*reversed(unique.values())]


def read_agents(folders: Sequence[Path], names: Names | None = None) -> list[AgentDefinition]:
    """The agents in some folders, in the order of their files; `names` is what they can name. Blocks."""
    from fleetprompt.engine.definition.agent_files import read_folder

    return [_definition(path, found) for folder in folders for path, found in read_folder(folder, shown, names=names)]


def read_files(paths: Sequence[Path], names: Names | None = None) -> list[AgentDefinition]:
    """The agents in some files, and in the folders among them. Raises `NotFound`."""
    from fleetprompt.engine.definition.agent_files import read_folder

    found: list[AgentDefinition] = []
    for path in paths:
        if path.is_dir():
            found += read_agents([path], names)
        elif path.is_file():
            found += [_definition(each, read) for each, read in read_folder(path.parent, shown, path, names)]
        else:
            raise NotFound(f"there is no file {path}", hint="give agent files, or folders of them")
    return found


def _definition(path: Path, found: Found) -> AgentDefinition:
    return AgentDefinition(
        name=path.stem if found.agent is None else found.agent.name,
        agent=found.agent,
        file=str(path.resolve()),
        problems=found.problems,
    )
