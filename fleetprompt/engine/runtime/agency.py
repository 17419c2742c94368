"""What agents of an engine have at hand: models, tools, and the policy that says what they may do with them.

Made when it is first asked for: an engine without agents imports none of it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.plan import Guardrails
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.ports.model import Models, ModelTarget
from fleetprompt.engine.ports.tool import Judgement, Preview, Tool, ToolInfo
from fleetprompt.engine.runtime.secrets import Secrets

if TYPE_CHECKING:
    from fleetprompt.engine.llm.providers import Lines
    from fleetprompt.engine.llm.settings import ModelSettings
    from fleetprompt.engine.tools.catalog import Catalog
    from fleetprompt.engine.tools.mcp_servers import McpServer, McpServers
    from fleetprompt.engine.tools.policy import Grant, Policy


class AgencySettings(Struct, frozen=True, kw_only=True):
    """What a project says about models, tools and what agents may do."""

    models: Mapping[str, ModelSettings] = {}
    tools: Mapping[str, Any] = {}
    """`[tools.<family>]` tables."""
    mcp: Mapping[str, Any] = {}
    """`[mcp.<server>]` tables."""
    policy: Mapping[str, Any] = {}
    guardrails: Guardrails | None = None
    """What the whole fleet may spend in a day (UTC)."""
    workflows: tuple[Path, ...] = ()
    """Folders of workflow files, beside which simulations are looked for."""


class Agency:
    """Models, tools and policy of one engine."""

    def __init__(
        self,
        secrets: Secrets,
        settings: AgencySettings | None = None,
        *,
        root: Path | str = ".",
        models: Models | None = None,
    ) -> None:
        self._secrets = secrets
        self._settings = settings or AgencySettings()
        self._root = Path(root)
        self._models = models
        self._state = self._root / ".fleet"
        self._catalog: Catalog | None = None
        self._mcp: McpServers | None = None
        self._policy: Policy | None = None
        self._stamp: tuple[int, int] | None = None
        self._making = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.recording: Callable[[str, str], Awaitable[Lines | None]] | None = None
        """What the models of a run answered, for the run that asks; set by an engine, which has the journal."""

    @property
    def guardrails(self) -> Guardrails | None:
        """What the whole fleet may spend in a day."""
        return self._settings.guardrails

    @property
    def models(self) -> Models:
        """All models there are."""
        if self._models is None:
            from fleetprompt.engine.llm.models import KnownModels
            from fleetprompt.engine.llm.providers import Room

            room = Room(
                root=self._root,
                workflows=self._settings.workflows,
                redact=self._secrets.redact,
                recording=self._recorded,
            )
            self._models = KnownModels(self._settings.models, os.environ, room, secret=self._secrets.get)
        return self._models

    async def _recorded(self, run: str, asker: str) -> Lines | None:
        return await self.recording(run, asker) if self.recording is not None else None

    async def tools(self, patterns: Sequence[str], *, servers: bool = True) -> Sequence[Tool]:
        """The tools with these names, or with names that match; also those of MCP servers, unless these are left out.
        Raises `NotFound`, `InvalidInput`, `Refused`."""
        return await (await self._tools()).find(patterns, servers=servers)

    async def probe(self, target: ModelTarget) -> str:
        """Let a model call a tool, once: what it did instead; empty where it did that."""
        from fleetprompt.engine.llm.discovery import probe

        models = self.models
        try:
            said = await probe(target, models.provider(target), models.reveal(target))
        except FleetError as error:
            return error.message
        return said.said

    async def server_differences(self, server: str) -> list[str]:
        """What is different about an MCP server from what was accepted. Raises `NotFound`, `Refused`."""
        return await (await self._server(server)).differences()

    async def accept_server(self, server: str) -> list[str]:
        """Accept an MCP server as it is now; what was different. Raises `NotFound`, `Refused`."""
        return await (await self._server(server)).accept()

    async def _server(self, name: str) -> McpServer:
        await self._tools()
        if self._mcp is None:
            raise NotFound(f"there is no MCP server `{name}`", hint="servers are tables [mcp.<name>] of fleet.toml")
        return self._mcp.server(name)

    async def _tools(self) -> Catalog:
        if self._catalog is None:
            async with self._making:
                if self._catalog is None:
                    self._catalog = await asyncio.to_thread(self._make_catalog)
        return self._catalog

    def _make_catalog(self) -> Catalog:
        from fleetprompt.engine.tools.catalog import Catalog, discover
        from fleetprompt.engine.tools.settings_file import require_usable

        require_usable(self._root, self._settings.tools, self._settings.mcp)
        discover()
        folder = next(iter(self._settings.workflows), self._root)
        return Catalog(self._settings.tools, self._servers(), str(folder))

    def _servers(self) -> McpServers | None:
        if not self._settings.mcp:
            return None
        from fleetprompt.engine.tools.mcp_pins import Pins
        from fleetprompt.engine.tools.mcp_servers import McpServers

        self._mcp = McpServers(
            self._settings.mcp,
            root=self._root,
            pins=Pins(self._state),
            secret=self._secrets.get,
            spawn=self._spawn,
        )
        return self._mcp

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._loop.create_task(work)

    async def close(self) -> None:
        """End what was started for tools and models."""
        if self._mcp is not None:
            await self._mcp.close()
        if self._models is not None and (close := getattr(self._models, "close", None)) is not None:
            await close()

    def tool_settings(self, name: str) -> Mapping[str, Any]:
        """What the project says about a tool that was found."""
        return self._catalog.settings(name) if self._catalog is not None else {}

    def judge(
        self,
        agent: Agent,
        info: ToolInfo,
        preview: Preview,
        *,
        run: str,
        workflow: str,
        tainted: bool,
        grants: Sequence[Grant] = (),
    ) -> Judgement:
        """What the policies of the project and of an agent say about a call, and what people have granted: calls just
        like one that they have seen. Raises `InvalidInput` for a policy that cannot be read."""
        from fleetprompt.engine.tools.policy import Asked, decide
        from fleetprompt.engine.tools.policy_read import read_policy

        layers = [self._fleets_policy()]
        if agent.policy:
            layers.append(read_policy(agent.policy, f"agent {agent.name}"))
        asked = Asked(now=0.0, run=run, workflow=workflow, tainted=tainted)
        found = decide(layers, info, preview, asked, grants)
        reason = f": {found.reason}" if found.reason else ""
        return Judgement(found.verdict, f"{found.rule}{reason}", bool(found.grant))

    def switched_off(self, name: str) -> str:
        """By which rule a tool, or `model`, is switched off; empty where none says so. Raises `InvalidInput`."""
        from fleetprompt.engine.tools.policy import switched_off

        return switched_off(self._fleets_policy(), name)

    def _fleets_policy(self) -> Policy:
        """As its file is now: what is switched off there must not happen any more."""
        from fleetprompt.engine.tools.policy_file import fleet_policy, stamp

        now = stamp(self._root)
        if self._policy is None or now != self._stamp:
            self._policy, self._stamp = None, now
            self._policy = fleet_policy(self._root, self._settings.policy)
        return self._policy


def grants_of_run(run: str, noted: Sequence[Mapping[str, Any]]) -> list[Grant]:
    """What people have granted in a run, from its notes."""
    from fleetprompt.engine.tools.policy import Grant

    return [
        Grant(
            id=str(note.get("approval", "")),
            scope="run",
            of=run,
            tool=str(note.get("tool", "")),
            covers=mapping(note.get("subject")),
        )
        for note in noted
        if note.get("scope") == "run"
    ]


def grant_of_workflow(granted: WorkflowGrant) -> Grant:
    """What somebody has granted for every run of a workflow."""
    from fleetprompt.engine.tools.policy import Grant

    return Grant(
        id=granted.id,
        scope="workflow",
        of=granted.workflow,
        tool=granted.tool,
        covers=granted.subject,
        by=granted.by,
    )
