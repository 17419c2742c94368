"""`fleet token`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.client.tokens import Issued
    from fleetprompt.engine.ports.token import Token

app = typer.Typer(rich_markup_mode=None)
token = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List the tokens by which those are known who come over the network: fleet token [--json]. Or make or revoke "
    "one. Each belongs to one tenant and has one role: viewer, operator, approver or admin.",
    subcommand_metavar="| COMMAND …",
)
app.add_typer(token, name="token")


@token.command("list")
def list_(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are revoked or have expired.")] = False,
    json: Json = False,
) -> int:
    """List tokens, without what is secret of them."""
    front: Front = ctx.obj
    found = front.ask(lambda console: console.tokens())
    now = time.time()
    shown = [each for each in found if all_ or not _over(each, now)]
    if json:
        front.terminal.json([token_object(each, now) for each in shown])
    elif not shown:
        front.terminal.say("there are no tokens: `fleet token create NAME --role ROLE` makes one")
    else:
        _print(front, shown, now)
    return 0


def _over(each: Token, now: float) -> str:
    """Why a token is worth nothing; empty while it is worth something."""
    if each.revoked_at is not None:
        return "revoked"
    return "expired" if each.expires_at is not None and each.expires_at <= now else ""


def _print(front: Front, found: list[Token], now: float) -> None:
    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago

    columns = [
        Column("TOKEN"),
        Column("NAME", flexible=True),
        Column("ROLE"),
        Column("CREATED", right=True, drop=2),
        Column("BY", drop=3),
        Column("EXPIRES", right=True),
        Column("LAST USED", right=True, drop=1),
    ]
    rows = [
        [
            marked("cancelled" if _over(each, now) else "completed").append(f" {each.id}", style="cyan"),
            each.name,
            each.role,
            ago(now - each.created_at),
            each.created_by,
            _over(each, now) or _left(each, now),
            "never" if each.last_used_at is None else ago(now - each.last_used_at),
        ]
        for each in found
    ]
    front.terminal.table(columns, rows)


def _left(each: Token, now: float) -> str:
    from fleetprompt.client.wording import ago

    return "never" if each.expires_at is None else ago(now - each.expires_at)


def token_object(each: Token, now: float) -> dict[str, Any]:
    """A token for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": each.id,
        "name": each.name,
        "tenant": each.tenant,
        "role": each.role,
        "status": _over(each, now) or "valid",
        "created_at": rfc3339(each.created_at),
        "created_by": each.created_by,
        "expires_at": rfc3339(each.expires_at),
        "revoked_at": rfc3339(each.revoked_at),
        "revoked_by": each.revoked_by,
        "last_used_at": rfc3339(each.last_used_at),
    }


@token.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who they are who show it: recorded with what they do.")],
    role: Annotated[
        Literal["viewer", "operator", "approver", "admin"],
        typer.Option(
            "--role",
            help="viewer looks, operator starts and controls, approver decides, admin does all of it and more.",
        ),
    ] = "viewer",
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it is worth something: 30d, 12h, or never.")
    ] = "90d",
    json: Json = False,
) -> int:
    """Make a token and print it, this once: only its SHA-256 is kept."""
    from fleetprompt.cli.render import plain
    from fleetprompt.engine.core.duration import parse_duration
    from fleetprompt.engine.core.errors import InvalidInput

    front: Front = ctx.obj
    try:
        lasts = None if expires == "never" else parse_duration(expires)
    except InvalidInput as error:
        raise InvalidInput(f"--expires: {error.message}", hint=error.hint or "30d, 12h, or never") from None

    async def make(console: Console) -> Issued:
        return await console.create_token(name, role=role, lasts=lasts, by=front.me)

    issued = front.run(_with_store(front, make))
    if json:
        front.terminal.json({**token_object(issued.token, time.time()), "token": issued.secret})
        return 0
    sys.stdout.write(f"{issued.secret}\n")
    sys.stdout.flush()
    tenant = f" of tenant {issued.token.tenant}" if front.tenant else ""
    until = "" if issued.token.expires_at is None else f" until {front.terminal.times.moment(issued.token.expires_at)}"
    said = f"{issued.token.name} is {role}{tenant}{until}; the token is shown this once, and kept nowhere"
    front.terminal.say(plain(said, "dim"), plain(f"to end it: fleet token revoke {issued.token.id}", "dim"))
    return 0


async def _with_store(front: Front, make: Any) -> Issued:
    """With a store, which is made where there is none yet: tokens come before the first run."""
    from fleetprompt.client.opening import make_state

    if front.elsewhere is None:
        make_state(front.project.state)
    async with front.opened() as console:
        return await make(console)


@token.command("revoke")
def revoke(ctx: typer.Context, which: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id.")]) -> int:
    """Make a token worth nothing, at once."""
    front: Front = ctx.obj

    async def end(console: Console) -> Token:
        return await console.revoke_token(which, by=front.me)

    ended = front.ask(end)
    front.terminal.say(f"{ended.id} of {ended.name} is worth nothing any more")
    return 0
