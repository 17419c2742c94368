"""`fleet grants`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports.grant import WorkflowGrant

app = typer.Typer(rich_markup_mode=None)
grants = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List what people have allowed in every run of a workflow (`fleet approve --for-workflow`): "
    "fleet grants [--all] [--json]. Or take one back.",
    subcommand_metavar="| COMMAND GRANT",
)
app.add_typer(grants, name="grants")


@grants.command("list", hidden=True)
def list_(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were taken back.")] = False,
    json: Json = False,
) -> int:
    """List what people have allowed in every run of a workflow."""
    front: Front = ctx.obj
    found = front.ask(lambda console: console.grants())
    shown = [grant for grant in found if all_ or grant.revoked_at is None]
    if json:
        front.terminal.json([grant_object(grant) for grant in shown])
    elif not shown:
        front.terminal.say("nothing is granted: `fleet approve ID --for-workflow` does so")
    else:
        _print(front, shown)
    return 0


def _print(front: Front, found: list[WorkflowGrant]) -> None:
    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago

    now = time.time()
    columns = [
        Column("GRANT"),
        Column("WORKFLOW", flexible=True, drop=2),
        Column("TOOL"),
        Column("CALLS LIKE", flexible=True),
        Column("BY", drop=1),
        Column("GIVEN", right=True, drop=3),
    ]
    rows = [
        [
            marked("cancelled" if grant.revoked_at is not None else "approved").append(f" {grant.id}", style="cyan"),
            grant.workflow,
            grant.tool,
            ", ".join(f"{name}={_short(value)}" for name, value in grant.subject.items() if value is not None),
            grant.by,
            ago(now - grant.at),
        ]
        for grant in found
    ]
    front.terminal.table(columns, rows)


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def grant_object(grant: WorkflowGrant) -> dict[str, Any]:
    """A grant for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": grant.id,
        "workflow": grant.workflow,
        "tool": grant.tool,
        "subject": grant.subject,
        "agent": grant.agent,
        "run": grant.run,
        "by": grant.by,
        "granted_at": rfc3339(grant.at),
        "revoked_at": rfc3339(grant.revoked_at),
        "revoked_by": grant.revoked_by,
    }


@grants.command("revoke")
def revoke(ctx: typer.Context, grant: Annotated[str, typer.Argument(metavar="GRANT", help="Its id.")]) -> int:
    """Take a grant back: such calls are asked about again."""
    from rich.text import Text

    from fleetprompt.client.protocol import why_queued
    from fleetprompt.engine.core.errors import Refused

    front: Front = ctx.obj

    async def send(console: Console) -> Any:
        return await console.revoke(grant, by=front.me)

    result = front.ask(send)
    if result.status == "refused":
        raise Refused(result.reason, hint="`fleet grants` lists them")
    queued = why_queued(result)
    front.terminal.say(f"{grant} {'will be' if queued else 'is'} taken back by {front.me}")
    if queued:
        front.terminal.say(Text(queued, style="yellow"))
    return 0
