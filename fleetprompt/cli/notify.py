"""`fleet notify`: who is notified of what, and whether that works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front

app = typer.Typer(rich_markup_mode=None)
notify = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List who is notified of what (`[notifications.NAME]` of fleet.toml): fleet notify [--json]. `fleet serve` "
    "notifies. Or try whether it works.",
    subcommand_metavar="| test [NAME]",
)
app.add_typer(notify, name="notify")


@notify.command("list", hidden=True)
def list_(ctx: typer.Context, json: Json = False) -> int:
    """List who is notified of what."""
    from fleetprompt.client.notifying import behind, unsent

    front: Front = ctx.obj
    front.require_store()
    channels = front.project.settings.notifications
    left, problems = front.run(behind(front.place, channels)), front.run(unsent(front.place))
    if json:
        front.terminal.json(
            [
                {
                    "name": name,
                    "by": "webhook" if each.webhook else "apprise",
                    "on": each.on,
                    "behind": left[name],
                    "problem": problems.get(name),
                }
                for name, each in channels.items()
            ]
        )
    elif not channels:
        front.terminal.say("nobody is notified: docs/operations.md shows [notifications.NAME] of fleet.toml")
    for name, each in channels.items() if not json else ():
        told = "has not begun: `fleet serve` notifies" if left[name] is None else f"{left[name]:,} facts behind"
        by = "webhook" if each.webhook else "apprise"
        front.terminal.print(f"{name}: by {by}, of {', '.join(each.on)}; {told}")
        if name in problems:
            front.terminal.print(f"  is tried again until it is taken: {problems[name]}")
    return 0


@notify.command("test")
def try_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One channel; none: all of them.")] = "",
    json: Json = False,
) -> int:
    """Send a message that says it is a test."""
    from fleetprompt.client.notifying import try_out
    from fleetprompt.engine.core.errors import NotFound

    front: Front = ctx.obj
    channels = front.project.settings.notifications
    if not channels:
        raise NotFound("nobody is notified", hint="docs/operations.md shows [notifications.NAME] of fleet.toml")
    found = front.run(try_out(front.place, channels, name, by=front.me))
    if json:
        front.terminal.json([{"name": each.name, "sent": not each.problem, "problem": each.problem} for each in found])
    for each in found if not json else ():
        hint = f" ({each.hint})" if each.hint else ""
        front.terminal.print(f"{each.name}: {each.problem + hint if each.problem else 'sent'}")
    return int(any(each.problem for each in found))
