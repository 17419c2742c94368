"""What an agent would work with in a project: the model that its name stands for, and its tools with what the policy
says of calls that no rule about arguments is about. Nothing is asked of a model, and no MCP server is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.ports.model import ModelTarget
from fleetprompt.engine.ports.tool import Preview, Tool, ToolInfo, Verdict
from fleetprompt.engine.runtime.agency import Agency
from fleetprompt.engine.runtime.secrets import Secrets

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place


class AgentTool(Struct, frozen=True, kw_only=True):
    """A tool of an agent."""

    name: str
    description: str
    reach: str
    """`read` or `write`."""
    repeat: str
    """`safe` or `never`."""
    verdict: Verdict
    rule: str
    """Why, for people."""
    origin: str


class AgentMeans(Struct, frozen=True, kw_only=True):
    """What an agent would work with."""

    target: ModelTarget | None
    """None where the model cannot be used: see `model_problem`."""
    model_problem: str
    tools: tuple[AgentTool, ...]
    unknown: tuple[tuple[int, str, str], ...]
    """Of the names of its tools that mean nothing: their place in the list, what is wrong, and a hint."""
    servers: tuple[str, ...]
    """MCP servers whose tools are among them; what those are is asked when the agent begins."""
    policy_problem: str
    """What is wrong with the policies; then nothing may be called, and this is the rule."""


async def means_of(place: Place, agent: Agent) -> AgentMeans:
    """Look at what an agent of a project would work with."""
    agency = _agency(place)
    try:
        target, said = await _model(agency, agent)
        tools, unknown, servers = await _tools(agency, place, agent)
        told, policy_problem = judged(agency, agent, tools)
        return AgentMeans(
            target=target,
            model_problem=said,
            tools=tuple(sorted((*told, *own(agency, agent.tools)), key=lambda tool: tool.name)),
            unknown=unknown,
            servers=servers,
            policy_problem=policy_problem,
        )
    finally:
        await agency.close()


def _agency(place: Place) -> Agency:
    settings = replace(place.agency, mcp={})
    return Agency(Secrets(place.state / "secrets.toml"), settings, root=place.root)


async def _model(agency: Agency, agent: Agent) -> tuple[ModelTarget | None, str]:
    try:
        return await agency.models.find(agent.model or "default"), ""
    except FleetError as error:
        return None, f"{error.message}{f' ({error.hint})' if error.hint else ''}"


async def _tools(
    agency: Agency, place: Place, agent: Agent
) -> tuple[list[Tool], tuple[tuple[int, str, str], ...], tuple[str, ...]]:
    from fleetprompt.engine.agents.toolbox import outside

    found: dict[str, Tool] = {}
    unknown: list[tuple[int, str, str]] = []
    servers: dict[str, None] = {}
    for i, pattern in enumerate(agent.tools):
        family = pattern.partition(".")[0]
        meant = [server for server in place.agency.mcp if fnmatchcase(server, family)]
        servers |= dict.fromkeys(meant)
        if not outside([pattern]):
            continue
        try:
            found |= {tool.info.spec.name: tool for tool in await agency.tools([pattern])}
        except FleetError as error:
            if not meant:
                unknown.append((i, error.message, error.hint))
    return [found[name] for name in sorted(found)], tuple(unknown), tuple(servers)


def judged(agency: Agency, agent: Agent, tools: list[Tool]) -> tuple[tuple[AgentTool, ...], str]:
    """Tools with what the policy says of them, and what is wrong with the policy."""
    told: list[AgentTool] = []
    problem = ""
    for tool in tools:
        info = tool.info
        try:
            judgement = agency.judge(
                agent, info, Preview(info.spec.name), run="", workflow="", tainted=False, grants=()
            )
            verdict, rule = judgement.verdict, judgement.rule
        except FleetError as error:
            # As the engine has it: a policy that cannot be read lets nothing happen.
            verdict, rule = "deny", error.message
            problem = f"{error.message}{f' ({error.hint})' if error.hint else ''}"
        told.append(_told(info, verdict, rule))
    return tuple(told), problem


def own(agency: Agency, patterns: Sequence[str]) -> list[AgentTool]:
    """What agents can name among their tools that is given by that alone, unless it is switched off: asking people,
    and the variables of the run."""
    from fleetprompt.engine.agents.toolbox import own_tools

    told: list[AgentTool] = []
    for info in own_tools(patterns):
        try:
            off = agency.switched_off(info.spec.name)
        except FleetError as error:
            off = error.message
        told.append(_told(info, "deny" if off else info.verdict, off or "what an agent's own file gives it"))
    return told


def _told(info: ToolInfo, verdict: Verdict, rule: str) -> AgentTool:
    return AgentTool(
        name=info.spec.name,
        description=info.spec.description,
        reach=info.reach,
        repeat=info.repeat,
        verdict=verdict,
        rule=rule,
        origin=info.origin,
    )
