"""`fleet memory`: what agents remember."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json, Limit, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.core.signal import Result
    from fleetprompt.engine.ports.memory import Memory

app = typer.Typer(rich_markup_mode=None)
memory = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List what agents remember: fleet memory [--scope SCOPE] [--type TYPE] [--tag TAG] [--json]. Or search it, "
    "show one, add one, have some forgotten.",
    subcommand_metavar="| COMMAND [TEXT|ID]",
)
app.add_typer(memory, name="memory")

Scope = Annotated[
    str, typer.Option("--scope", metavar="SCOPE", help="Only of this one: agent/NAME, workflow/NAME or shared.")
]
Type = Annotated[str, typer.Option("--type", metavar="TYPE", help="Only of this type: fact, learned or conversation.")]
Tag = Annotated[str, typer.Option("--tag", metavar="TAG", help="Only with this tag.")]
MemoryId = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first or last characters of it.")]


@memory.command("list", hidden=True)
def list_(
    ctx: typer.Context, scope: Scope = "", type_: Type = "", tag: Tag = "", limit: Limit = 50, json: Json = False
) -> int:
    """List what agents remember, the newest first."""
    front: Front = ctx.obj
    found = front.ask(lambda console: console.memories(scope=scope, type=type_, tag=tag, limit=limit))
    return _tell(front, found, json, "nothing is remembered: `memory:` in an agent's file lets it (docs/agents.md)")


@memory.command("search")
def search(
    ctx: typer.Context,
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="Words, or beginnings of words.")],
    scope: Scope = "",
    type_: Type = "",
    tag: Tag = "",
    limit: Limit = 20,
    json: Json = False,
) -> int:
    """Find what agents remember by its words, the best first."""
    front: Front = ctx.obj
    asked = " ".join(text)
    found = front.ask(lambda console: console.memories(asked, scope=scope, type=type_, tag=tag, limit=limit))
    return _tell(front, found, json, "nothing that is remembered holds any of these words")


def _tell(front: Front, found: list[Memory], json: bool, nothing: str) -> int:
    if json:
        front.terminal.json([memory_object(each) for each in found])
    elif not found:
        front.terminal.say(nothing)
    else:
        _print(front, found)
    return 0


def _print(front: Front, found: list[Memory]) -> None:
    from rich.text import Text

    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago, short

    now = time.time()
    columns = [
        Column("MEMORY", style="cyan"),
        Column("TYPE", drop=2),
        Column("SCOPE", flexible=True, drop=3),
        Column("TEXT", flexible=True),
        Column("FROM", drop=4),
        Column("USED", right=True, drop=5),
        Column("SINCE", right=True, drop=1),
    ]
    rows = [
        [
            each.id,
            each.type,
            each.scope,
            each.text.replace("\n", " "),
            Text("untrusted", style="yellow") if each.untrusted else each.by or (short(each.run) if each.run else ""),
            str(each.accesses),
            ago(now - each.created_at),
        ]
        for each in found
    ]
    front.terminal.table(columns, rows)


@memory.command("show")
def show(ctx: typer.Context, id_: MemoryId, json: Json = False) -> int:
    """Show one memory: its whole text, and where it is from."""
    from rich.text import Text

    from fleetprompt.client.wording import ago, count
    from fleetprompt.engine.core.inert import inert

    front: Front = ctx.obj
    found = front.ask(lambda console: console.memory(id_))
    if json:
        front.terminal.json(memory_object(found))
        return 0
    now = time.time()
    step = f"{found.run} {found.path}".strip()
    facts = {
        "type": found.type,
        "scope": found.scope,
        "tags": ", ".join(found.tags),
        "from": found.by or f"{found.agent} in {found.workflow}, run {step}",
        "by tool": found.tool,
        "trust": "written after something from outside was read: it may be meant to deceive" if found.untrusted else "",
        "since": ago(now - found.created_at),
        "used": f"{count(found.accesses, 'time')}, last {ago(now - found.accessed_at)}" if found.accesses else "never",
        "until": ago(now - found.expires_at) if found.expires_at is not None else "",
        "vector": found.model,
    }
    lines = [Text(found.id, style="cyan")]
    lines += [Text(f"  {name:8}", style="dim").append(inert(value)) for name, value in facts.items() if value]
    lines += [Text(), *(Text(f"  {inert(line)}") for line in found.text.splitlines())]
    front.terminal.print(*lines)
    return 0


@memory.command("add")
def add(
    ctx: typer.Context,
    text: Annotated[list[str], typer.Argument(metavar="TEXT", help="What is to be remembered.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="Whose memory: agent/NAME, workflow/NAME or shared.")
    ] = "shared",
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="fact, learned or conversation.")] = "fact",
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="May be given several times.")] = None,
    json: Json = False,
) -> int:
    """Add to what agents remember. Secrets of the project are masked; agents find it by its words."""
    from fleetprompt.client.remembering import without_secrets

    front: Front = ctx.obj
    said, *tags = without_secrets(front.place.state, " ".join(text), *(tag or []))

    async def send(console: Console) -> Result:
        return await console.remember(said, scope=scope, type=type_, tags=tags, by=front.me)

    result = _accepted(front.ask(send))
    told: dict[str, Any] = result.data if isinstance(result.data, dict) else {}
    if json:
        front.terminal.json({"id": told.get("memory"), "new": told.get("new"), "queued": not told})
        return 0
    if told:
        front.terminal.say(f"{told['memory']} is remembered" + ("" if told["new"] else ", as it was before"))
    return _queued(front, result)


@memory.command("forget")
def forget(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids, or the first or last characters of them.")],
    yes: Yes = False,
) -> int:
    """Delete memories. They cannot be brought back."""
    front: Front = ctx.obj

    async def find(console: Console) -> list[Memory]:
        return [await console.memory(id) for id in ids]

    found = front.ask(find)
    if not yes and front.terminal.interactive:
        _print(front, found)
        if not front.terminal.confirm("Forget this?"):
            return 1
    result = _accepted(front.ask(lambda console: console.forget([each.id for each in found], by=front.me)))
    if result.data and not _is_queued(result):
        front.terminal.say(*(f"{each.id} is forgotten" for each in found))
    return _queued(front, result)


def _accepted(result: Result) -> Result:
    from fleetprompt.engine.core.errors import Refused

    if result.status == "refused":
        raise Refused(result.reason)
    return result


def _is_queued(result: Result) -> bool:
    from fleetprompt.client.protocol import why_queued

    return bool(why_queued(result))


def _queued(front: Front, result: Result) -> int:
    from rich.text import Text

    from fleetprompt.client.protocol import why_queued

    if queued := why_queued(result):
        front.terminal.say(Text(queued, style="yellow"))
    return 0


def memory_object(found: Memory) -> dict[str, Any]:
    """A memory for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": found.id,
        "type": found.type,
        "scope": found.scope,
        "text": found.text,
        "tags": list(found.tags),
        "run": found.run,
        "step": found.path,
        "agent": found.agent,
        "workflow": found.workflow,
        "tool": found.tool,
        "by": found.by,
        "untrusted": found.untrusted,
        "created_at": rfc3339(found.created_at),
        "accessed_at": rfc3339(found.accessed_at),
        "accesses": found.accesses,
        "expires_at": rfc3339(found.expires_at),
        "vector_model": found.model,
    }
