"""`fleet logs`: what the steps of a run have said, and go on saying."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_step
from fleetprompt.cli.options import Json, RunId

if TYPE_CHECKING:
    from rich.text import Text

    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import LogLine

app = typer.Typer(rich_markup_mode=None)
BATCH = 1000
LOOK_SECONDS = 0.25
STORED_SECONDS = 1.25
"""A line that was written is in the store after so long."""
FINAL = ("completed", "failed", "cancelled", "timeout")
STYLES = {"warning": "yellow", "error": "red", "stderr": "yellow", "info": "dim", "debug": "dim"}


@app.command("logs")
def logs(
    ctx: typer.Context,
    run: RunId,
    step: Annotated[
        str,
        typer.Option("--step", "-s", metavar="STEP", help="Only this step, by its path.", autocompletion=complete_step),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last lines.")] = None,
    json: Json = False,
) -> int:
    """Show what the steps of a run have logged. With --follow, --json prints an object a line."""
    front: Front = ctx.obj
    front.ask(lambda console: _logs_of(front, console, run, step, follow, tail, json))
    return 0


async def _logs_of(
    front: Front, console: Console, text: str, step: str, follow: bool, tail: int | None, json: bool
) -> None:
    run = await console.find(text)
    path = step or None
    objects: list[dict[str, Any]] = []
    lines, cursor = await console.logs(run, path=path, limit=BATCH if tail is None else tail, tail=tail is not None)
    if step and not lines:
        await _require_step(console, run, step)
    while lines:
        for line in lines:
            if json and not follow:
                objects.append(line_object(line))
            else:
                _print(front, line, json)
        if tail is not None:
            break
        lines, cursor = await console.logs(run, path=path, after=cursor, limit=BATCH)
    if json and not follow:
        front.terminal.json(objects)
    if follow:
        await _follow(front, console, run, path, json, cursor)


async def _require_step(console: Console, run: str, path: str) -> None:
    """Raises `NotFound` for a step that the run does not have."""
    from fleetprompt.cli.show import load_tree
    from fleetprompt.client.wording import short
    from fleetprompt.engine.core.closest import did_you_mean
    from fleetprompt.engine.core.errors import NotFound

    steps = (await load_tree(console, await console.run(run))).run.steps
    if path not in steps:
        hint = did_you_mean(path, steps) or f"`fleet show {short(run)}` lists them"
        raise NotFound(f"run {short(run)} has no step {path}", hint=hint)


async def _follow(front: Front, console: Console, run: str, path: str | None, json: bool, cursor: int) -> None:
    """What comes from here on, as it reaches the store: so nothing is missed and nothing comes twice."""
    quiet = 0.0
    while True:
        lines, cursor = await console.logs(run, path=path, after=cursor, limit=BATCH)
        for line in lines:
            _print(front, line, json)
        if lines:
            quiet = 0.0
            continue
        if quiet > STORED_SECONDS and (await console.run(run)).status in FINAL:
            return
        await asyncio.sleep(LOOK_SECONDS)
        quiet += LOOK_SECONDS


def _print(front: Front, line: LogLine, json: bool) -> None:
    if json:
        front.terminal.json_line(line_object(line))
    else:
        front.terminal.print(_text(front, line))


def _text(front: Front, line: LogLine) -> Text:
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.values import preview

    text = Text(front.terminal.times.clock(line.at) + " ", style="dim")
    text.append_text(plain(line.path, "cyan")).append(f"#{line.attempt}" if line.attempt > 1 else "", style="dim")
    text.append("  ").append_text(plain(line.text.rstrip("\n"), STYLES.get(line.level, "")))
    if line.data is not None:
        text.append("  ").append(preview(line.data), style="dim")
    return text


def line_object(line: LogLine) -> dict[str, Any]:
    """A log line for machines."""
    from fleetprompt.client.wording import rfc3339

    return {
        "at": rfc3339(line.at),
        "level": line.level,
        "text": line.text,
        "data": line.data,
        "step": line.path,
        "attempt": line.attempt,
        "line": line.line,
    }
