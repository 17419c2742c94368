"""`fleet tools`: what agents can be given, and MCP servers to be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.agent_means import AgentTool

app = typer.Typer(rich_markup_mode=None)
tools = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List the tools that agents can be given, with what the policy says of them: "
    "fleet tools [PATTERN...] [--json]. Or accept an MCP server.",
    subcommand_metavar="| COMMAND [SERVER]",
)
app.add_typer(tools, name="tools")


@tools.command("list", hidden=True)
def list_(
    ctx: typer.Context,
    patterns: Annotated[list[str] | None, typer.Argument(metavar="[PATTERN...]", help="Such as 'git.*'.")] = None,
    json: Json = False,
) -> int:
    """List the tools that agents can be given, with what the policy says of them.

    POLICY is what happens to a call that no rule about arguments is about. MCP servers are started and asked. Exits
    with 1 where one of them cannot be asked.
    """
    from fleetprompt.client.equipment import tools_of

    front: Front = ctx.obj
    found = front.run(tools_of(front.place, patterns or ()))
    if json:
        front.terminal.json([tool_object(tool) for tool in found.tools])
    elif found.tools:
        _print(front, found.tools)
    else:
        front.terminal.say("no tool has such a name")
    for whose, said, hint in found.problems:
        front.terminal.say(f"{whose}: {said}" + (f" ({hint})" if hint else ""))
    return int(bool(found.problems))


def _print(front: Front, found: tuple[AgentTool, ...]) -> None:
    from rich.text import Text

    from fleetprompt.cli.table import Column

    styles = {"allow": "green", "ask": "yellow", "deny": "bold red"}
    columns = [
        Column("TOOL"),
        Column("POLICY"),
        Column("REACH", drop=2),
        Column("REPEAT", drop=3),
        Column("FROM", drop=1),
        Column("WHAT IT DOES", flexible=True),
    ]
    rows = [
        [
            Text(tool.name, style="cyan"),
            Text(tool.verdict, style=styles[tool.verdict]),
            tool.reach,
            tool.repeat,
            tool.origin,
            tool.description.partition(". ")[0].removesuffix("."),
        ]
        for tool in found
    ]
    front.terminal.table(columns, rows)


def tool_object(tool: AgentTool) -> dict[str, Any]:
    """A tool for machines: always the same keys."""
    return {
        "name": tool.name,
        "description": tool.description,
        "reach": tool.reach,
        "repeat": tool.repeat,
        "verdict": tool.verdict,
        "rule": tool.rule,
        "origin": tool.origin,
    }


@tools.command("accept")
def accept(
    ctx: typer.Context,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="A table [mcp.SERVER] of fleet.toml.")],
    yes: Yes = False,
) -> int:
    """Look at what is different about an MCP server, and accept it as it is now: its tools are offered again."""
    from fleetprompt.client.equipment import accept_server, differences_of
    from fleetprompt.engine.core.errors import Refused

    front: Front = ctx.obj
    found = front.run(differences_of(front.place, server))
    if not found:
        front.terminal.say(f"{server} is what was accepted")
        return 0
    front.terminal.print(f"{server} is not what was accepted:", *(f"  {each}" for each in found))
    if not yes and not front.terminal.interactive:
        raise Refused(f"nobody is here to accept {server}", hint="look at what is different, and say `--yes`")
    if not yes and not front.terminal.confirm(f"accept {server} as it is now?"):
        front.terminal.say("nothing done")
        return 1
    front.run(accept_server(front.place, server))
    front.terminal.say(f"{server} is accepted as it is now, by {front.me}")
    return 0
