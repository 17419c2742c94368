"""`fleet signal` and `fleet signals`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli import dead_letters
from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_signal, complete_signals_term
from fleetprompt.cli.options import FILTERED, Json, Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console, Published
    from fleetprompt.engine.core.signal import Result, Signal

app = typer.Typer(rich_markup_mode=None)
signals = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List signals, the newest first: fleet signals [FILTER]... [--limit N] [--json]. Or show one, replay some, "
    "list what came to nothing.",
    subcommand_metavar="[FILTER]... | COMMAND ID",
)
signals.registered_commands += dead_letters.commands.registered_commands
app.add_typer(signals, name="signals")

SignalId = Annotated[str, typer.Argument(metavar="ID", help="Id of a signal.", autocompletion=complete_signal)]


@app.command("signal")
def signal(
    ctx: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Dot-separated words, such as deploy.finished.")],
    data: Annotated[str, typer.Option("--data", "-d", metavar="JSON|@FILE|-", help="What it carries.")] = "",
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The same key counts only once.")] = "",
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="What it is about.")] = "",
    json: Json = False,
) -> int:
    """Publish a signal: it starts workflows that listen for it and wakes runs that wait for it."""
    from fleetprompt.cli.values import read_json

    front: Front = ctx.obj
    value = read_json(data, "the data") if data else None
    return front.run(_publish(front, type_, value, key, subject, json))


async def _publish(front: Front, type_: str, data: Any, key: str, subject: str, json: bool) -> int:
    from fleetprompt.client.protocol import Published
    from fleetprompt.client.store_console import new_id
    from fleetprompt.engine.core.signal import Signal

    me, now = front.me, time.time()
    sent = Signal(id=new_id(), type=type_, source=f"cli/{me}", at=now, data=data, subject=subject, key=key, by=me)
    async with front.opened() as console:
        stored, duplicate = await console.publish(sent)
        routed, results = await console.outcome(stored.id)
    return tell(front, Published(stored, duplicate, routed, tuple(results)), json)


def tell(front: Front, published: Published, json: bool) -> int:
    """Say what became of a signal that was published."""
    found, routed, results = published.signal, published.routed, published.results
    if json:
        front.terminal.json({**signal_object(found, routed, results), "duplicate": published.duplicate})
        return 0
    front.terminal.print(_line(found, "was published before" if published.duplicate else "published"))
    _print_results(front, routed, results)
    return 0


def _line(found: Signal, text: str) -> Any:
    from rich.text import Text

    from fleetprompt.cli.render import plain

    return Text(found.id, style="cyan").append(" ").append_text(plain(f"{found.type} {text}"))


def _print_results(front: Front, routed: bool, results: Sequence[Result]) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.protocol import QUEUED

    for result in results:
        line = Text("  ").append_text(marked(result.status)).append(" ")
        said = f"{result.run} {result.reason}".strip() or result.status
        front.terminal.print(line.append_text(plain(said)))
    if not routed:
        front.terminal.say(Text(f"  {QUEUED}", style="yellow"))


@signals.command("list", context_settings=FILTERED, hidden=True)
def list_(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as type:deploy.*", autocompletion=complete_signals_term),
    ] = None,
    limit: Limit = 30,
    json: Json = False,
) -> int:
    """List signals, the newest first."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)

    async def look(console: Console) -> list[tuple[Signal, bool, list[Result]]]:
        found, _ = await console.signals(text, Page(limit=limit))
        return [await console.signal(one.id) for one in found]

    found = front.ask(look)
    if json:
        front.terminal.json([signal_object(*one) for one in found])
    elif not found:
        front.terminal.say("no signal matches" if text else "there are no signals yet")
    else:
        _print_table(front, found)
    return 0


def _status(routed: bool, results: Sequence[Result]) -> str:
    statuses = {result.status for result in results}
    if "accepted" in statuses or (routed and not statuses):
        return "accepted"
    return "refused" if statuses else "pending"


def _print_table(front: Front, found: list[tuple[Signal, bool, list[Result]]]) -> None:
    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column
    from fleetprompt.client.values import preview
    from fleetprompt.client.wording import ago

    now = time.time()
    columns = [
        Column("SIGNAL"),
        Column("TYPE", flexible=True),
        Column("SOURCE", flexible=True, drop=3),
        Column("AT", right=True, drop=4),
        Column("DATA", flexible=True, drop=2),
    ]
    rows = [
        [
            marked(_status(routed, results)).append(f" {one.id}", style="cyan"),
            one.type,
            one.source,
            ago(now - one.at),
            preview(one.data, 80) if one.data is not None else "",
        ]
        for one, routed, results in found
    ]
    front.terminal.table(columns, rows)


@signals.command("show")
def show(ctx: typer.Context, signal_id: SignalId, json: Json = False) -> int:
    """Show one signal and what came of it."""
    front: Front = ctx.obj
    found = front.ask(lambda console: console.signal(signal_id))
    if json:
        front.terminal.json(signal_object(*found))
        return 0
    from rich.text import Text

    from fleetprompt.cli.question import outline
    from fleetprompt.cli.render import plain

    one, routed, results = found
    front.terminal.print(_line(one, ""))
    fields = (
        ("source", one.source),
        ("at", front.terminal.times.moment(one.at, time.time())),
        ("subject", one.subject),
        ("key", one.key),
        ("by", one.by),
        ("correlation", one.correlation),
        ("causation", one.causation),
        ("replay of", one.replay_of),
    )
    for name, value in fields:
        if value:
            front.terminal.print(Text(f"  {name:<12}", style="dim").append_text(plain(value)))
    if one.data is not None:
        front.terminal.print(
            Text("  data", style="dim"), *(Text("    ").append_text(line) for line in outline(one.data))
        )
    _print_results(front, routed, results)
    return 0


def signal_object(found: Signal, routed: bool, results: Sequence[Result]) -> dict[str, Any]:
    """A signal for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": found.id,
        "type": found.type,
        "source": found.source,
        "at": rfc3339(found.at),
        "subject": found.subject,
        "key": found.key,
        "by": found.by,
        "correlation": found.correlation,
        "causation": found.causation,
        "replay_of": found.replay_of,
        "data": found.data,
        "status": _status(routed, results),
        "results": [{"status": one.status, "run": one.run, "reason": one.reason} for one in results],
    }
