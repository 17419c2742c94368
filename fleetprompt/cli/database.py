"""`fleet db`: looking after the store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.options import Json, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front

app = typer.Typer(rich_markup_mode=None)
db = typer.Typer(rich_markup_mode=None, no_args_is_help=False, help="Upgrade, check, back up or prune the store.")
app.add_typer(db, name="db")

DAY = 86_400.0


@db.command("upgrade")
def upgrade(ctx: typer.Context) -> int:
    """Bring the store to the newest schema, or make it."""
    from fleetprompt.client.database import newest_schema, store_of

    front: Front = ctx.obj

    async def work() -> None:
        async with store_of(front.place):
            return

    front.run(work())
    front.terminal.print(f"{_name(front)} has schema {newest_schema()}, the newest")
    return 0


@db.command("check")
def check(ctx: typer.Context, json: Json = False) -> int:
    """Read the whole store and say what is wrong with it."""
    from fleetprompt.client.database import check as examine
    from fleetprompt.client.wording import count, size

    front: Front = ctx.obj
    front.require_store()
    started = time.monotonic()
    health = front.run(examine(front.place))
    if json:
        found = {"ok": health.ok, "schema": health.schema, "problems": list(health.problems)}
        front.terminal.json({**found, "counts": dict(health.counts), "bytes": health.bytes})
        return int(not health.ok)
    from rich.text import Text

    from fleetprompt.cli.render import marked, plain

    for problem in health.problems:
        front.terminal.print(marked("failed").append(" ").append_text(plain(problem)))
    counts = ", ".join(f"{table} {number:,}" for table, number in health.counts.items() if number)
    line = marked("completed" if health.ok else "failed").append(f" {_name(front)}: ")
    line.append("in order" if health.ok else count(len(health.problems), "problem"), style="bold")
    line.append(f", {size(health.bytes)}, schema {health.schema}, read in {time.monotonic() - started:.1f}s")
    front.terminal.print(line, *([Text(f"  {counts}", style="dim")] if counts else []))
    return int(not health.ok)


@db.command("backup")
def backup(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes; must be new.")]
) -> int:
    """Copy the store to a file while it is in use."""
    from fleetprompt.client.database import backup as copy
    from fleetprompt.client.wording import size

    front: Front = ctx.obj
    front.require_store()
    written = front.run(copy(front.place, front.here / file))
    front.terminal.print(f"{size(written)} written to {file}")
    return 0


@db.command("prune")
def prune(
    ctx: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Finished runs that ended so long ago, such as 30d.")
    ] = "",
    logs_older_than: Annotated[
        str, typer.Option("--logs-older-than", metavar="AGE", help="Logs of finished runs, such as 7d.")
    ] = "",
    audit_older_than: Annotated[
        str,
        typer.Option("--audit-older-than", metavar="AGE", help="Entries of the audit log, which else stay for good."),
    ] = "",
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Write the store anew, as small as it can be; no engine may run.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs it would be.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Delete finished runs with all that is theirs, and give their room back to the disk.

    Without ages, those of fleet.toml count, with those of single workflows in [retention].
    """
    from fleetprompt.client.database import prunable
    from fleetprompt.client.database import prune as delete
    from fleetprompt.client.wording import count, rough, size
    from fleetprompt.engine.core.audit import AuditNote, digest_of

    front: Front = ctx.obj
    front.require_store()
    settings = front.project.settings
    age = _age(older_than) if older_than else settings.retention_days * DAY
    logs_age = _age(logs_older_than) if logs_older_than else min(age, settings.log_retention_days * DAY)
    now, tenant = time.time(), front.identity.tenant
    # Who names an age means all runs.
    own = {} if older_than else {name: now - days * DAY for name, days in settings.retention.items()}
    runs = front.run(prunable(front.place, before=now - age, now=now, workflows=own, tenant=tenant))
    said = f"{count(runs, 'run')} that ended more than {rough(age)} ago"
    said += " (some workflows have times of their own)" if own else ""
    if dry_run:
        if json:
            front.terminal.json({"dry_run": True, "runs": runs})
        else:
            front.terminal.print(f"would delete {said}, and logs older than {rough(logs_age)}")
        return 0
    if runs and not yes and front.terminal.interactive and not front.terminal.confirm(f"delete {said}?"):
        front.terminal.say("nothing done")
        return 1
    told = AuditNote(
        tenant=tenant,
        at=now,
        by=front.identity.name,
        role=front.identity.role,
        via="cli",
        action="prune",
        kind="store",
        detail=digest_of([age, logs_age, own, audit_older_than]),
    )
    deleted, room = front.run(
        delete(
            front.place,
            before=now - age,
            logs_before=now - logs_age,
            vacuum=vacuum,
            workflows=own,
            tenant=tenant,
            audit=told,
            audit_before=now - _age(audit_older_than) if audit_older_than else None,
        )
    )
    if json:
        front.terminal.json({"dry_run": False, **deleted, "bytes_freed": room.freed, "bytes_unused": room.left})
        return 0
    rows = ", ".join(f"{number:,} {table}" for table, number in deleted.items() if number)
    front.terminal.print(f"deleted: {rows or 'nothing'}; {size(room.freed)} given back to the disk")
    if room.left:
        front.terminal.say(f"{size(room.left)} of the file are unused: `fleet db prune --vacuum` gives them back")
    return 0


def _age(text: str) -> float:
    from fleetprompt.engine.core.duration import parse_duration
    from fleetprompt.engine.core.errors import InvalidInput

    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(str(error), hint="an age is written 12h, 30d or 8w") from None


def _name(front: Front) -> str:
    database = front.place.database
    return database.removeprefix(f"{front.project.root}/")
