"""`fleet record`: what models answered in a run becomes a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.options import RunId

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console

app = typer.Typer(rich_markup_mode=None)


@app.command("record")
def record(
    ctx: typer.Context,
    run: RunId,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file, such as recordings/triage.jsonl.")],
) -> int:
    """Write what models answered in a run to a file, which the model replay/FILE answers from: also in another project,
    and after the run was pruned. Of its pictures, vectors and child runs nothing is in it."""
    from fleetprompt.client.record import record as write
    from fleetprompt.client.wording import count

    front: Front = ctx.obj
    target = front.here / file

    async def ask(console: Console) -> int:
        return await write(console, (await console.run(await console.find(run))).id, target)

    front.terminal.say(f"{count(front.ask(ask), 'answer')} of models written to {file}")
    return 0
