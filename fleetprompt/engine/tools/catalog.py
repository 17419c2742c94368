"""All tools of a project: built-in and installed ones, functions that the operator lists, those of MCP servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.ports.tool import Tool
from fleetprompt.engine.registry import TOOLS, PluginFailed, installed
from fleetprompt.engine.tools._settings import Misfit, Section, dotted, misfits, no_table
from fleetprompt.engine.tools.mcp_servers import McpServers
from fleetprompt.engine.tools.python import CALL, FunctionTool, PythonTool, mark_of

GROUP = "fleetprompt.tools"
NAMED_TABLES = ("sql", "notify")
"""Families whose table holds tables by name: `[tools.sql.shop]`."""


def discover() -> None:
    """Register all tools: the modules of this package, then entry points: a module of classes, or a marked function.

    What cannot be loaded is in `TOOLS.failed`; the rest works without it.
    """
    TOOLS.discover("fleetprompt.engine.tools", GROUP)
    for point in installed(GROUP):
        if point.name in TOOLS.failed:
            continue
        found = point.load()
        if mark_of(found) is None or point.name in TOOLS:
            continue
        try:
            made = FunctionTool(found, point.value)
            TOOLS.register(made.info.spec.name)(made)
        except (FleetError, ValueError) as error:
            TOOLS.failed[point.name] = PluginFailed(f"tool `{point.name}` ({point.value}): {error}")


def misfits_of_tables(tables: Mapping[str, Any]) -> Iterator[Misfit]:
    """All that is to be said about `[tools]`."""
    for family, table in tables.items():
        yield from _misfits_of(family, table)


def _misfits_of(family: str, table: Any) -> Iterator[Misfit]:
    sections = _sections()
    path = ("tools", family)
    if family == "python":
        hint = 'write ["billing.tools:refund"]'
        if not isinstance(table, list):
            yield Misfit(path, "[tools] python has to be a list of functions", hint, ProblemCode.WRONG_TYPE)
            return
        for place, call in enumerate(cast("list[Any]", table)):
            if not (isinstance(call, str) and CALL.match(call)):
                yield Misfit((*path, place), "[tools] python has to be a list of functions", hint)
    elif family not in sections:
        hint = did_you_mean(family, [*sections, "python"]) or f"there are {', '.join([*sections, 'python'])}"
        yield Misfit(path, f"there is no [{dotted(path)}]", hint, ProblemCode.UNKNOWN_KEY)
    elif not isinstance(table, Mapping):
        yield no_table(path)
    elif family in NAMED_TABLES:
        for name, entry in cast("Mapping[str, Any]", table).items():
            if isinstance(entry, Mapping):
                yield from misfits((*path, name), sections[family], entry)
            else:
                message = f"[tools.{family}] holds tables by name"
                yield Misfit((*path, name), message, f"write [tools.{family}.NAME]", ProblemCode.WRONG_TYPE)
    else:
        yield from misfits(path, sections[family], table)


def _sections() -> dict[str, type[Section]]:
    from fleetprompt.engine.tools._fs import FsSettings
    from fleetprompt.engine.tools._git import GitSettings
    from fleetprompt.engine.tools._memory import MemoryTable
    from fleetprompt.engine.tools._sql import SqlDatabase
    from fleetprompt.engine.tools.http import HttpSettings
    from fleetprompt.engine.tools.notify import Channel
    from fleetprompt.engine.tools.shell import ShellSettings

    return {
        "fs": FsSettings,
        "shell": ShellSettings,
        "http": HttpSettings,
        "git": GitSettings,
        "sql": SqlDatabase,
        "notify": Channel,
        "memory": MemoryTable,
    }


class Catalog:
    """The tools of a project, as an agent or a step asks for them."""

    def __init__(self, tables: Mapping[str, Any], servers: McpServers | None = None, code: str = "") -> None:
        """`tables` is `[tools]` of the settings, `code` the folder of the workflow file, where listed functions are
        looked for first. They are taken as they are: `settings_file.require_usable` looks at them."""
        self._tables = tables
        self._servers = servers
        self._code = code
        self._python: dict[str, PythonTool] | None = None

    def settings(self, tool: str) -> Mapping[str, Any]:
        """What `ToolRoom.settings` gives to a tool: the table of its family."""
        table = self._tables.get(tool.partition(".")[0])
        return cast("Mapping[str, Any]", table) if isinstance(table, Mapping) else {}

    async def find(self, patterns: Sequence[str], *, servers: bool = True) -> list[Tool]:
        """The tools with these names, or with names that match: `git.*`. Servers that none of them can mean are not
        started, and functions are not loaded where all of them are names of other tools. Raises `NotFound` for a name
        that nothing has, with a did-you-mean; `InvalidInput`, `Refused`."""
        known: dict[str, Tool] = dict(TOOLS)
        if not all(pattern in known for pattern in patterns):
            for name, tool in self._functions().items():
                _add(known, name, tool)
        if self._servers is not None and servers:
            for server in self._servers.servers:
                if any(fnmatchcase(server, pattern.partition(".")[0]) for pattern in patterns):
                    for tool in await self._servers.tools(server):
                        _add(known, tool.info.spec.name, tool)
        found: dict[str, Tool] = {}
        for pattern in patterns:
            matching = {name: tool for name, tool in known.items() if fnmatchcase(name, pattern)}
            if not matching:
                hint = did_you_mean(pattern, known) or f"tools: {', '.join(sorted(known))}"
                raise NotFound(f"there is no tool `{inert(pattern)}`", hint=hint)
            found |= matching
        return [found[name] for name in sorted(found)]

    def _functions(self) -> dict[str, PythonTool]:
        if self._python is None:
            made: dict[str, PythonTool] = {}
            for call in cast("list[str]", self._tables.get("python", [])):
                tool = PythonTool(call, self._code)
                _add(made, tool.info.spec.name, tool)
            self._python = made
        return self._python


def _add(known: dict[str, Any], name: str, tool: Tool) -> None:
    if name in known:
        there: Tool = known[name]
        raise InvalidInput(f"two tools are called `{name}`: {there.info.origin} and {tool.info.origin}")
    known[name] = tool
