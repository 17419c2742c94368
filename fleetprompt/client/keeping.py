"""Workflows and agents that are sent, kept as files of the project: as whoever works in its folder would write them.

Files are of the project's own tenant. What another tenant sends is kept in the store alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

import msgspec

from fleetprompt.client.agents import AgentDefinition, places
from fleetprompt.client.auditing import Auditing
from fleetprompt.client.files import SUFFIXES, WorkflowFile, load_file, shown
from fleetprompt.client.identity import DEFAULT_TENANT, Forbidden
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, Refused
from fleetprompt.engine.ports import Workflow

if TYPE_CHECKING:
    from fleetprompt.client.importing import Imported, Origin
    from fleetprompt.engine.definition.names import Names


_BEING_KEPT: WeakValueDictionary[tuple[str, str, str, str], asyncio.Lock] = WeakValueDictionary()
"""By project, tenant, kind and name."""


class Changed(Refused):
    """It is not what was read any more."""


class Keeping(Auditing):
    """The part of a console that keeps what is sent."""

    _root: Path
    workflow_folders: tuple[Path, ...]
    names: Any
    read_workflow: Callable[..., Awaitable[WorkflowFile]]
    register: Callable[[WorkflowFile], Awaitable[str]]
    source: Callable[[str], Awaitable[str]]

    async def workflow(self, name: str) -> Workflow:
        """The workflow of that name. Raises `NotFound`."""
        found = await self.store.catalog.workflow(name, self.tenant)
        if found is None:
            raise NotFound(f"there is no workflow `{name[:100]}`", hint="GET /api/workflows lists them")
        return found

    async def first_seen(self, names: list[str]) -> dict[str, float]:
        """When each of these workflows was first registered."""
        return await self.store.catalog.first_seen(names, self.tenant)

    async def translated(self, text: bytes) -> Imported | None:
        """A workflow of another system as a workflow file; None for one that is in our own form. Raises
        `NotImportable` with everything that makes it impossible."""
        return await asyncio.to_thread(_translated, text, self._root, self.workflow_folders)

    async def origin(self, digest: str) -> Origin | None:
        """What the steps and inputs of a plan are called by those who sent it in the form of another system; None for
        a plan of our own."""
        from fleetprompt.client.importing import origin_of

        return origin_of(await self.source(digest))

    async def keep_workflow(self, file: WorkflowFile, known: Workflow | None = None) -> Workflow:
        """Keep a workflow that was sent as a new one, or as the new definition of a known one.

        Raises `Changed` where it is not what was known any more, `Refused` where there is another one of that name, or
        where its file was changed by somebody else.
        """
        async with self._alone("workflow", file.plan.name):
            now = await self.store.catalog.workflow(file.plan.name, self.tenant)
            if (now.plan if now is not None else "") != (known.plan if known is not None else ""):
                raise Changed(f"the workflow `{file.plan.name}` was changed meanwhile", hint="read it again")
            return await self._keep_workflow(file, known)

    def _alone(self, kind: str, name: str) -> asyncio.Lock:
        """Held while something is looked at and then written: of two who have read the same, one is too late."""
        return _BEING_KEPT.setdefault((str(self._root), self.tenant, kind, name), asyncio.Lock())

    async def _keep_workflow(self, file: WorkflowFile, known: Workflow | None) -> Workflow:
        if self.tenant == DEFAULT_TENANT and self.workflow_folders:
            path = await asyncio.to_thread(self._place, file.plan.name, known)
            if known is not None and known.file:
                await asyncio.to_thread(_require_unchanged, path, known, self._names())
            await asyncio.to_thread(_write, file.text, path, over=bool(known is not None and known.file))
            file = msgspec.structs.replace(file, file=str(path.resolve()), named=shown(path))
        await self.register(file)
        return await self.workflow(file.plan.name)

    def _place(self, name: str, known: Workflow | None) -> Path:
        """Where the file of a workflow lies, or belongs. Blocks."""
        if known is not None and known.file:
            path = (self._root / known.file).resolve()
            if not any(path.is_relative_to(folder.resolve()) for folder in self.workflow_folders):
                hint = "change the file: `fleet run` takes it as it is"
                raise Refused("its file is not in the folder of workflows", where=known.file, hint=hint)
            return path
        folder = self.workflow_folders[0]
        taken = next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()), None)
        if taken is not None:
            hint = "it holds another workflow, or one that cannot be used: see `fleet validate`"
            raise Refused(f"there is a file for a workflow `{name}` already", where=shown(taken), hint=hint)
        return folder / f"{name}.yaml"

    async def keep_agent(self, text: str, known: AgentDefinition | None = None) -> AgentDefinition:
        """Keep an agent that was sent as a file of its own, or as the new text of its file.

        Raises `InvalidWorkflow` with every problem, `Changed` where it is not what was known any more, `Refused` where
        its file is there already, `Forbidden` for a tenant that is not the project's own.
        """
        if self.tenant != DEFAULT_TENANT:
            raise Forbidden("agents are files of the project, which is of another tenant")
        async with self._alone("agent", known.name if known is not None else ""):
            kept = await asyncio.to_thread(self._keep_agent, text, known)
        # A file is in no transaction: it is told of as soon as it is there.
        note = self.noted("keep_agent", "agent", kept.name, text)
        if note is not None:
            await self.store.audit.add(note)
        return kept

    def _keep_agent(self, text: str, known: AgentDefinition | None) -> AgentDefinition:
        from fleetprompt.engine.definition.yaml import load_document

        path = Path(known.file) if known is not None else self._root / "agents" / f"{_agent_name(text)}.yaml"
        folders, names = self._agent_folders(), self._names()
        kept = _checked_agent(text, path, folders, names)
        if text.lstrip().startswith("{"):
            # What is wrong was told at its place in what was sent; what is kept is for people.
            text = as_yaml(load_document(text, "").data)
            kept = _checked_agent(text, path, folders, names)
        if known is not None and path.exists():
            now = _read_agent(path.read_text(), path, folders, names)
            if now.agent != known.agent:
                raise Changed(f"the agent `{known.name}` was changed meanwhile", hint="read it again")
        _write(text, path, over=known is not None)
        return kept

    def _agent_folders(self) -> list[Path]:
        return places(self._root, inside=self.workflow_folders)

    def _names(self) -> Names | None:
        return self.names(self.tenant) if self.names else None


def _write(text: str, path: Path, *, over: bool) -> None:
    from fleetprompt.client.importing import write

    write(text, path, force=over)


def _require_unchanged(path: Path, known: Workflow, names: Names | None) -> None:
    """Refuse to write over what somebody else has put into a file. Raises `Refused`."""
    try:
        unchanged = load_file(path, names).digest == known.plan
    except NotFound:
        return
    except FleetError:
        unchanged = False
    if not unchanged:
        hint = "somebody has changed it, and it is not taken yet, or cannot be used: see `fleet validate`"
        raise Refused("the file says something else than the workflow", where=shown(path), hint=hint)


def _translated(text: bytes, root: Path, folders: tuple[Path, ...]) -> Imported | None:
    from fleetprompt.client.importing import import_workflow, known_agents, recognise
    from fleetprompt.engine.definition.yaml import load_document

    data = load_document(text, "").data
    if not recognise(data):
        return None
    agents = known_agents(root, folders[0]) if folders else ()
    return import_workflow(text, file="", agents=agents)


def _agent_name(text: str) -> str:
    """What an agent's text calls it; anything else than a name where that is none, which is told when it is checked."""
    from fleetprompt.engine.definition.agents import NAME
    from fleetprompt.engine.definition.outline import mapping
    from fleetprompt.engine.definition.yaml import load_document

    name = mapping(load_document(text, "").data).get("name")
    return name if isinstance(name, str) and re.match(NAME, name) else "agent"


def _checked_agent(text: str, path: Path, folders: list[Path], names: Names | None) -> AgentDefinition:
    from fleetprompt.engine.definition.problems import InvalidWorkflow

    found = _read_agent(text, path, folders, names)
    if found.agent is None or found.errors:
        raise InvalidWorkflow(found.problems)
    return found


def _read_agent(text: str, path: Path, folders: list[Path], names: Names | None) -> AgentDefinition:
    from fleetprompt.engine.definition.agent_files import check_agent

    known = {path.stem, *(each.stem for folder in folders for each in folder.glob("*.yaml"))}
    found = check_agent(text, path, shown(path), names, known)
    name = found.agent.name if found.agent is not None else path.stem
    return AgentDefinition(name=name, agent=found.agent, file=str(path), problems=found.problems)


def as_yaml(data: Any) -> str:
    """A definition that was sent as JSON, as somebody would write it. Raises `InvalidInput`."""
    from fleetprompt.engine.definition.importers._yaml import dump

    if not isinstance(data, dict):
        raise InvalidInput("a definition is a mapping")
    return dump(cast("dict[str, Any]", data))
