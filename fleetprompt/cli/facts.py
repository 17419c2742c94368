"""`fleet facts`: the journal of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.options import Json, RunId

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import Stored

app = typer.Typer(rich_markup_mode=None)


@app.command("facts")
def facts(
    ctx: typer.Context,
    run: RunId,
    upto: Annotated[int | None, typer.Option("--upto", metavar="N", min=1, help="Only the first facts.")] = None,
    json: Json = False,
) -> int:
    """Show the journal of a run: every fact, in order. All of the run follows from it."""
    front: Front = ctx.obj
    front.ask(lambda console: _facts_of(front, console, run, upto, json))
    return 0


async def _facts_of(front: Front, console: Console, text: str, upto: int | None, json: bool) -> None:
    from fleetprompt.cli.say import summary
    from fleetprompt.cli.table import Column
    from fleetprompt.cli.tree import Tree
    from fleetprompt.engine.core.program import Program

    head = await console.run(await console.find(text))
    entries = await console.facts(head.id, upto=upto)
    if json:
        front.terminal.json([fact_object(entry) for entry in entries])
        return
    tree = Tree(Program(await console.plan(head.plan), head.plan))
    rows: list[list[Any]] = []
    for entry in entries:
        tree.apply(entry.fact)
        name = type(entry.fact).__name__
        rows.append([str(entry.n), front.terminal.times.clock(entry.fact.at), name, summary(entry.fact, tree)])
    columns = [Column("N", right=True), Column("TIME", drop=1), Column("FACT", drop=2), Column("WHAT", flexible=True)]
    front.terminal.table(columns, rows)


def fact_object(entry: Stored) -> dict[str, Any]:
    """A fact for machines: its fields as they are recorded, `at` as a time."""
    import msgspec

    from fleetprompt.client.wording import rfc3339

    fields = msgspec.to_builtins(entry.fact)
    return {"seq": entry.seq, "n": entry.n, **fields, "at": rfc3339(entry.fact.at)}
