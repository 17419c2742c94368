"""What a project has for its agents: models by name, tools, MCP servers, the policy; and what is wrong with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.client.agent_means import AgentTool, judged, own
from fleetprompt.client.agents import places, read_agents
from fleetprompt.client.definitions import InvalidFile, check_files, check_settings, find_files
from fleetprompt.client.diagnosis import Finding
from fleetprompt.client.files import shown
from fleetprompt.client.names import SETTINGS
from fleetprompt.client.wording import count
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.ports.model import Mode, ModelTarget
from fleetprompt.engine.runtime.agency import Agency
from fleetprompt.engine.runtime.secrets import Secrets

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place
    from fleetprompt.engine.definition.problems import Problem

DEFAULT = "default"
ASKED: tuple[Mode, ...] = ("live", "local")
"""Modes in which somebody answers who can be asked."""
NO_AGENT = Agent(name="")
"""What policies say without one."""


class KnownModel(Struct, frozen=True, kw_only=True):
    """What a name of `fleet.toml` stands for."""

    name: str
    target: ModelTarget | None = None
    """None where it cannot be used."""
    configured: bool = False
    """It stands in the settings."""
    fallback: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""
    answers: bool | None = None
    """Whether it has just called a tool when it was asked to; None: it was not asked."""

    @property
    def mode(self) -> str:
        """As of its target; empty where it cannot be used."""
        return self.target.mode if self.target is not None else ""


class KnownTools(Struct, frozen=True):
    """Tools that agents can be given."""

    tools: tuple[AgentTool, ...]
    problems: tuple[tuple[str, str, str], ...] = ()
    """What could not be asked or read: whose it is, what is wrong, and what to do."""


@asynccontextmanager
async def agency_of(place: Place, *, servers: bool = True) -> AsyncGenerator[Agency]:
    """Models, tools and policy of a project, without an engine."""
    settings = place.agency if servers else replace(place.agency, mcp={})
    agency = Agency(Secrets(place.state / "secrets.toml"), settings, root=place.root)
    try:
        yield agency
    finally:
        await agency.close()


async def models_of(
    place: Place, *, ask: Collection[Mode] = (), asking: Callable[[Sequence[KnownModel]], None] | None = None
) -> list[KnownModel]:
    """Every name of a model in the settings, and `default`. `ask`: let each of those in these modes call a tool once,
    which costs what that costs; `asking` is told which, before. Simulated ones are never asked."""
    names = dict.fromkeys([DEFAULT, *place.agency.models])
    async with agency_of(place, servers=False) as agency:
        found = [replace(await _model(agency, name), configured=name in place.agency.models) for name in names]
        asked = [known for known in found if known.mode in ask and known.mode in ASKED]
        if asked and asking is not None:
            asking(asked)
        return [await _answering(agency, known) if known in asked else known for known in found]


async def _model(agency: Agency, name: str) -> KnownModel:
    models = agency.models
    fallback = tuple(models.fallbacks(name))
    try:
        target = await models.find(name)
        if target.mode in ASKED:
            models.reveal(target)
    except FleetError as error:
        return KnownModel(name=name, fallback=fallback, problem=error.message, remedy=error.hint)
    return KnownModel(name=name, target=target, fallback=fallback)


async def _answering(agency: Agency, known: KnownModel) -> KnownModel:
    assert known.target is not None
    said = await agency.probe(known.target)
    return replace(known, answers=not said, problem=said, remedy=_OTHER if said else "")


_OTHER = "see `fleet models`, and name another model in fleet.toml"


async def tools_of(place: Place, patterns: Sequence[str] = ()) -> KnownTools:
    """The tools with names that match, all of them without patterns, with what the policy says of calls that no rule
    about arguments is about. MCP servers that the patterns can mean are started and asked. Raises `InvalidFile` for
    settings that cannot be used."""
    problems: list[tuple[str, str, str]] = []
    async with agency_of(place) as agency:
        try:
            found = {tool.info.spec.name: tool for tool in await agency.tools(["*"], servers=False)}
        except InvalidFile:
            raise
        except FleetError as error:
            return KnownTools((), (("fleet.toml", error.message, error.hint),))
        for server in place.agency.mcp:
            try:
                found |= {tool.info.spec.name: tool for tool in await agency.tools([f"{server}.*"])}
            except FleetError as error:
                problems.append((f"mcp.{server}", error.message, error.hint))
        told, wrong = judged(agency, NO_AGENT, [found[name] for name in sorted(found)])
        every = sorted((*told, *own(agency, ["*"])), key=lambda tool: tool.name)
    if wrong:
        problems.append(("policy", wrong, "docs/tools.md shows what a policy holds; until then no tool may be called"))
    return KnownTools(tuple(tool for tool in every if _matches(tool.name, patterns)), tuple(problems))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


async def differences_of(place: Place, server: str) -> list[str]:
    """What is different about an MCP server from what was accepted. Raises `NotFound`, `Refused`."""
    async with agency_of(place) as agency:
        return await agency.server_differences(server)


async def accept_server(place: Place, server: str) -> list[str]:
    """Accept an MCP server as it is now; what was different. Raises `NotFound`, `Refused`."""
    async with agency_of(place) as agency:
        return await agency.accept_server(server)


async def examine(place: Place, asking: Callable[[Sequence[KnownModel]], None]) -> list[Finding]:
    """Models, tools, servers, policy and agent files, for `fleet doctor`. Models at addresses of this machine are asked
    to call a tool, and `asking` is told which, before: one that only passes requests on may bill them. MCP servers are
    started."""
    models = await models_of(place, ask=("local",), asking=asking)
    try:
        tools = await tools_of(place)
    except InvalidFile as error:
        tools = KnownTools((), ((SETTINGS, error.message, error.hint),))
    found = [_of_model(each) for each in models]
    kinds = len({tool.name.partition(".")[0] for tool in tools.tools})
    if not any(whose == "fleet.toml" for whose, _, _ in tools.problems):
        found.append(Finding("tools", "ok", f"{len(tools.tools)} tools of {kinds} families (`fleet tools`)"))
        # Names of tools mean nothing where the settings cannot be used.
        found += _agents(place) + _workflows(place)
    written = [of_problem(problem) for file in check_settings(place.names()) for problem in file.problems]
    # What the files say is told with its place there.
    told = ("fleet.toml", "policy") if any(one.status == "fail" for one in written) else ()
    others = [Finding(whose, "fail", said, hint) for whose, said, hint in tools.problems if whose not in told]
    return found + written + others


def of_problem(problem: Problem) -> Finding:
    """What is wrong with a file of the project, as something that was looked at."""
    policy = Path(problem.file).name != SETTINGS or problem.pointer.startswith("/policy")
    place = f":{problem.line}:{problem.column}" if problem.line else ""
    text = f"{problem.file}{place}: {problem.message}"
    status = "fail" if problem.severity == "error" else "warn"
    return Finding("policy" if policy else "settings", status, text, problem.hint)


def _agents(place: Place) -> list[Finding]:
    checked = read_agents(places(place.root, inside=place.agency.workflows), place.names())
    if not checked:
        return []
    wrong = [each.name for each in checked if each.errors]
    if not wrong:
        return [Finding("agents", "ok", f"{count(len(checked), 'agent file')}, all of them valid")]
    named = f"{', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}"
    text = f"{len(wrong)} of {count(len(checked), 'agent file')} cannot be used: {named}"
    return [Finding("agents", "fail", text, "`fleet agents validate` says what is wrong")]


def _workflows(place: Place) -> list[Finding]:
    try:
        files = find_files(place.agency.workflows)
    except NotFound:
        # A project may have none yet.
        return []
    checked = check_files(files, place.names())
    wrong = [shown(each.file) for each in checked if each.errors]
    if not wrong:
        return [Finding("workflows", "ok", f"{count(len(checked), 'workflow file')}, all of them valid")]
    named = f"{', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}"
    text = f"{len(wrong)} of {count(len(checked), 'workflow file')} cannot be used: {named}"
    return [Finding("workflows", "fail", text, "`fleet validate` says what is wrong")]


def _of_model(known: KnownModel) -> Finding:
    target = known.target
    what = "model"
    if target is None:
        problem = known.problem if f"`{known.name}`" in known.problem else f"`{known.name}`: {known.problem}"
        return Finding(what, "fail" if known.configured else "warn", problem, known.remedy)
    if known.answers is False:
        return Finding(what, "warn", f"`{known.name}` is {target.model}, asked just now: {known.problem}", known.remedy)
    if target.mode == "simulated":
        text = f"`{known.name}` is simulated: no model is asked"
        if known.configured:
            return Finding(what, "ok", text)
        return Finding(what, "ok", f"{text}, for there is no key of a provider, and no server on this machine")
    key = target.credential.removeprefix("env:") or "no key"
    priced = "" if target.price is not None else ", of unknown price: refused where money is limited"
    answers = "; asked just now: it calls tools" if known.answers else ""
    return Finding(what, "ok", f"`{known.name}` is {target.model} ({target.mode}, {key}){priced}{answers}")
