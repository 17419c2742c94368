"""`fleet switch`: pause, drain or stop a whole fleet, and let it go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fleetprompt.cli.options import Json, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports.operations import Position, Switch

app = typer.Typer(rich_markup_mode=None)
Move = Literal["show", "pause", "drain", "off", "on"]
_TO: dict[str, Position] = {"pause": "paused", "drain": "draining", "off": "off", "on": "on"}


@app.command("switch")
def switch(
    ctx: typer.Context,
    move: Annotated[Move, typer.Argument(metavar="[pause|drain|off|on]", help="Where to; none: show it.")] = "show",
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it is recorded, and shown.")] = "",
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Pause, drain or stop everything, and let it go on. It is enforced by the engine, and outlives it.

    pause: nothing new starts, what is in flight finishes. drain: no run begins, those that have begun go on. off: what
    is in flight is stopped, too, as a crash would stop it; what must not be repeated is in doubt then. on: all goes on.
    Signals and schedules are recorded meanwhile, and their runs wait.
    """
    front: Front = ctx.obj
    if move == "show":
        return front.ask(lambda console: _show(front, console, json))
    return front.ask(lambda console: _move(front, console, _TO[move], reason, yes=yes, json=json))


async def _show(front: Front, console: Console, json: bool) -> int:
    found = await console.switch()
    if json:
        front.terminal.json(_object(found))
    else:
        front.terminal.print(_said(found))
    return 0


async def _move(front: Front, console: Console, to: Position, reason: str, *, yes: bool, json: bool) -> int:
    from fleetprompt.client.protocol import why_queued

    before = await console.switch()
    if to == "off" and not yes and not await _agreed(front, console):
        front.terminal.say("nothing done")
        return 1
    result = await console.set_switch(to, by=front.me, reason=reason)
    if result.status == "refused":
        front.terminal.say(result.reason)
        return 1
    queued = why_queued(result)
    if json:
        front.terminal.json({"before": before.position, "position": to, "queued": bool(queued)})
    elif queued:
        front.terminal.say(queued)
    else:
        front.terminal.print(_said(await console.switch()))
    return 0


async def _agreed(front: Front, console: Console) -> bool:
    from fleetprompt.client.wording import count
    from fleetprompt.engine.core.errors import InvalidInput

    running = await console.count("status:running")
    if not front.terminal.interactive:
        raise InvalidInput(f"{count(running, 'run')} would be stopped", hint="--yes to stop everything")
    return front.terminal.confirm(f"stop {count(running, 'run')} at once? what must not be repeated is in doubt then")


def _said(found: Switch) -> str:
    from fleetprompt.client.switching import MEANS, is_whole
    from fleetprompt.client.wording import ago

    whose = "the fleet" if is_whole(found) else f"tenant {found.tenant}"
    text = f"{whose} is {found.position}: {MEANS[found.position]}"
    if found.by:
        text += f" ({found.by}, {ago(time.time() - found.at)}{f': {found.reason}' if found.reason else ''})"
    return text


def _object(found: Switch) -> dict[str, Any]:
    return {
        "position": found.position,
        "tenant": found.tenant,
        "by": found.by,
        "reason": found.reason,
        "at": found.at or None,
    }
