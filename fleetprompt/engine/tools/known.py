"""Tools as they can be known without starting anything: built-in and installed ones, functions that the project lists,
and those that its MCP servers had when they were accepted. For whoever checks a file that names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final, cast

from msgspec import Struct

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.names import Said
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.ports.tool import Tool
from fleetprompt.engine.registry import TOOLS
from fleetprompt.engine.tools._arguments import is_known, misfits
from fleetprompt.engine.tools.catalog import discover
from fleetprompt.engine.tools.declare import Declared
from fleetprompt.engine.tools.mcp_pins import Pins, SeenServer, SeenTool
from fleetprompt.engine.tools.policy_read import names_in, rules_in

_NOT_A_STEP: Final = {
    "human.ask": "use a step of type `approval`",
    "vars.get": "write `${{ vars.NAME }}` where it is needed",
    "vars.set": "write `set: {NAME: expression}` on a step",
}
"""What agents alone can call, and what a workflow has in its place."""
_OF_AGENTS: Final = ("delegate.", "handoff.")
"""What names of tools begin with that stand for other agents."""


class Server(Struct, frozen=True):
    """What the settings say about an MCP server, as far as it is needed here."""

    allow: Sequence[str] = ("*",)


class KnownTools:
    """The tools of a project by name."""

    def __init__(
        self,
        functions: Sequence[str],
        servers: Mapping[str, Server],
        pins: Pins,
        *,
        code: str = "",
        own: Collection[str] = (),
    ) -> None:
        """`functions` is `[tools] python`, `code` the folder where they are looked for first; `own` is what agents can
        name that is no tool of the registry."""
        self._functions = functions
        self._servers = servers
        self._pins = pins
        self._code = code
        self._own = own
        self._found: dict[str, Tool] | None = None
        self._python: dict[str, Tool] | None = None
        self._seen: dict[str, SeenServer] | None = None
        self.failed: dict[int, InvalidInput] = {}
        """Listed functions, by their place in the list, that cannot be used."""

    # ---------------------------------------------------------------- what files name

    def pattern(self, pattern: str) -> Said | None:
        """What is wrong with an entry in an agent's list of tools."""
        if pattern in self._own or pattern in self._registered():
            return None
        self._listed()
        return self._unusable(pattern) if self.failed and _is_open(pattern) else self._missing(pattern)

    def _missing(self, pattern: str) -> Said | None:
        """Why nothing that there is matches."""
        if any(fnmatchcase(name, pattern) for name in (*self._own, *self._registered())):
            return None
        for name in self._listed():
            if fnmatchcase(name, pattern):
                return None
        meant = [server for server in self._servers if fnmatchcase(server, pattern.partition(".")[0])]
        for server in meant:
            tools = self._tools_of(server)
            if tools is None or any(fnmatchcase(name, pattern) for name in tools):
                return _not_recorded(pattern, server) if tools is None else None
        return self._unknown(pattern, meant)

    def _unusable(self, pattern: str) -> Said:
        """A pattern may mean a function that cannot be loaded: whoever has it among their tools cannot begin."""
        place, error = next(iter(self.failed.items()))
        told = f"`{inert(pattern)}` cannot be used: {self._functions[place]} of [tools] python: {error.message}"
        return Said(told, error.hint, ProblemCode.BAD_VALUE)

    def call(self, name: str, arguments: Mapping[str, Any] | None) -> Iterator[Said]:
        """What is wrong with a call that a workflow makes by itself."""
        if "*" in name:
            return
        if name in self._own:
            hint = _NOT_A_STEP.get(name, "give it to an agent")
            yield Said(f"`{name}` is for agents: a step cannot call it", hint)
            return
        tool = self._registered().get(name) or self._listed().get(name)
        if tool is not None:
            schema = tool.info.spec.parameters
            if arguments is not None:
                yield from self._judged(name, schema, arguments, tool)
            return
        server = name.partition(".")[0]
        if server not in self._servers:
            yield self._unknown(name, [])
            return
        tools = self._tools_of(server)
        if tools is None:
            yield _not_recorded(name, server)
        elif name not in tools:
            yield self._unknown(name, [server])
        elif (recorded := tools[name].schema) is None:
            message = (
                f"whether the arguments fit `{name}` is not known: its server was accepted before that was recorded"
            )
            yield Said(message, "`fleet tools` asks it again", severity="warning")
        elif arguments is not None:
            yield from self._judged(name, recorded, arguments, None)

    def _judged(
        self, name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any], tool: Tool | None
    ) -> Iterator[Said]:
        found = list(misfits(name, schema, arguments))
        yield from found
        if found or tool is None or not is_known(arguments):
            return
        # What a tool asks of its arguments beyond what their schema can say.
        try:
            tool.check(arguments)
        except InvalidInput as error:
            yield Said(error.message, error.hint, ProblemCode.BAD_VALUE, at=())

    def _unknown(self, name: str, servers: Sequence[str]) -> Said:
        there = [each for server in servers for each in self._tools_of(server) or ()]
        if servers and name not in there and self._left_out(name):
            message = f"the tool `{inert(name)}` is left out by `allow` of [mcp.{servers[0]}]"
            return Said(message, "add it there, in fleet.toml")
        known = [
            *self._registered(),
            *self._listed(),
            *self._own,
            *(each for s in self._servers for each in self._tools_of(s) or ()),
        ]
        families = sorted({f"{each.partition('.')[0]}.*" for each in known if "." in each})
        hint = did_you_mean(name, there) or did_you_mean(name, families if "*" in name else known)
        if servers:
            what = f"the MCP server `{servers[0]}` has no tool `{inert(name)}`"
            hint = hint or (f"it has {', '.join(f'`{each}`' for each in there[:8])}" if there else "it has none")
        else:
            what = f"there is no tool `{inert(name)}`" if "*" not in name else f"no tool matches `{inert(name)}`"
        if self.failed and not hint and f"{name.partition('.')[0]}.*" not in families:
            call = self._functions[next(iter(self.failed))]
            said = f"whether there is a tool `{inert(name)}` is not known: `{call}` of [tools] python cannot be loaded"
            return Said(said, "`fleet validate` says why", severity="warning")
        return Said(what, hint or f"there are {', '.join(families)}; `fleet tools` lists them")

    # ---------------------------------------------------------------- policies

    def doubts(self, policy: Mapping[str, Any], functions: Collection[str] = ()) -> Iterator[Said]:
        """What in a policy without faults is about no tool that there is; `functions` are those of agents."""
        others = (*functions, "model")
        for verdict, i, entry in rules_in(policy):
            place: tuple[str | int, ...] = (verdict, i)
            body = cast("dict[str, Any]", entry) if isinstance(entry, dict) else None
            patterns = names_in(entry if body is None else body["tool"])
            nested = body is not None
            many = nested and not isinstance(body["tool"], str)
            found = False
            for k, pattern in enumerate(patterns):
                at = (*place, *(("tool",) if nested else ()), *((k,) if many else ()))
                doubt = self._doubt(pattern, functions, at)
                found = found or doubt is None
                if doubt is not None:
                    yield doubt
            if body is not None and found and isinstance(body.get("where"), dict):
                yield from self._doubts_of_where(patterns, cast("dict[str, Any]", body["where"]), (*place, "where"))
        for key in ("tools", "off"):
            value = policy.get(key)
            if value is None or isinstance(value, bool):
                continue
            for k, pattern in enumerate(names_in(value)):
                at = (key,) if isinstance(value, str) else (key, k)
                if (doubt := self._doubt(pattern, others if key == "off" else functions, at)) is not None:
                    yield doubt

    def _doubt(self, pattern: str, others: Collection[str], at: tuple[str | int, ...]) -> Said | None:
        if pattern.startswith(_OF_AGENTS) or any(fnmatchcase(name, pattern) for name in others):
            return None
        said = self._missing(pattern)
        if said is None or said.severity == "warning":
            # What a server has is looked at when it is started.
            return None
        hint = said.hint if said.hint.startswith("did you mean") else "`fleet tools` lists what there is"
        return Said(f"this rule is about no tool: {said.message}", hint, severity="warning", at=at)

    def _doubts_of_where(
        self, patterns: Sequence[str], where: Mapping[str, Any], at: tuple[str | int, ...]
    ) -> Iterator[Said]:
        judged: set[str] = set()
        for name, tool in (*self._registered().items(), *self._listed().items()):
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                judged |= _judged_by(tool)
        for server in self._servers:
            for name, tool in (self._tools_of(server) or {}).items():
                if any(fnmatchcase(name, pattern) for pattern in patterns):
                    if tool.schema is None:
                        return
                    judged |= set(cast("dict[str, Any]", tool.schema.get("properties", {})))
        for name in where if judged else ():
            if name not in judged:
                what = f"`{patterns[0]}`" if len(patterns) == 1 else "these tools"
                message = f"this rule is about no call: `{inert(name)}` is not what calls of {what} are judged by"
                hint = did_you_mean(name, sorted(judged)) or f"they are judged by {', '.join(sorted(judged))}"
                yield Said(message, hint, severity="warning", at=(*at, name))

    # ---------------------------------------------------------------- what there is

    def _registered(self) -> Mapping[str, Tool]:
        if self._found is None:
            _discover_once()
            self._found = dict(TOOLS)
        return self._found

    def _listed(self) -> Mapping[str, Tool]:
        """Listed functions; their modules are imported when something is named that is no other tool."""
        if self._python is None:
            self._python = {}
            for place, call in enumerate(self._functions):
                from fleetprompt.engine.tools.python import PythonTool

                try:
                    tool = PythonTool(call, self._code)
                except InvalidInput as error:
                    self.failed[place] = error
                    continue
                name = tool.info.spec.name
                there = self._python.get(name) or self._registered().get(name)
                if there is not None:
                    message = f"two tools are called `{name}`: {there.info.origin} and {tool.info.origin}"
                    self.failed[place] = InvalidInput(message, hint="give one of them another name")
                    continue
                self._python[name] = tool
        return self._python

    def look_at_functions(self) -> Mapping[int, InvalidInput]:
        """Load all listed functions: those that cannot be used, by their place."""
        self._listed()
        return self.failed

    def _accepted(self) -> dict[str, SeenServer]:
        if self._seen is None:
            try:
                self._seen = self._pins.read()
            except FleetError:
                # Who starts the server is told; here it is as if nobody had accepted it.
                self._seen = {}
        return self._seen

    def _tools_of(self, server: str) -> dict[str, SeenTool] | None:
        """Tools of a server that are offered, by their full names; None: nobody has accepted it yet."""
        seen = self._accepted().get(server)
        if seen is None:
            return None
        allow = self._servers[server].allow
        return {
            f"{server}.{name}": tool
            for name, tool in seen.tools.items()
            if any(fnmatchcase(name, pattern) for pattern in allow)
        }

    def _left_out(self, name: str) -> bool:
        server, _, tool = name.partition(".")
        seen = self._accepted().get(server)
        return seen is not None and tool in seen.tools


def _is_open(pattern: str) -> bool:
    """Whether it can mean several tools."""
    return any(character in pattern for character in "*?[")


@cache
def _discover_once() -> None:
    discover()


def _judged_by(tool: Tool) -> set[str]:
    named = tool.model.judged_by if isinstance(tool, Declared) else None
    return set(named if named is not None else tool.info.spec.parameters.get("properties", {}))


def _not_recorded(name: str, server: str) -> Said:
    message = f"whether the MCP server `{server}` has `{inert(name)}` is not known: it was never started here"
    return Said(message, "`fleet tools` starts it, and records what it has", severity="warning")
