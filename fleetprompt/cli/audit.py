"""`fleet audit`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.options import Json, Limit

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.engine.core.audit import AuditEntry

app = typer.Typer(rich_markup_mode=None)
audit = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List what operators changed and were refused, the newest first: "
    "fleet audit [--since TIME] [--by NAME] [--action NAME] [--object ID] [--refused] [--json]. Or verify the chain.",
    subcommand_metavar="[OPTIONS] | verify",
)
app.add_typer(audit, name="audit")


@audit.command("list", hidden=True)
def list_(
    ctx: typer.Context,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Such as 24h, today or 2026-11-20.")] = "",
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Of this identity.")] = "",
    action: Annotated[str, typer.Option("--action", metavar="NAME", help="Such as vote or create_token.")] = "",
    object_: Annotated[str, typer.Option("--object", metavar="ID", help="About this run, approval, token …")] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> int:
    """List what operators changed and were refused."""
    from fleetprompt.cli.filters import begin
    from fleetprompt.engine.ports.audit import AuditQuery

    front: Front = ctx.obj
    query = AuditQuery(
        since=begin(since, time.time(), front.terminal.times.tzinfo) if since else 0.0,
        by=by,
        action=action,
        object=object_,
        outcome="refused" if refused else "",
        limit=limit,
    )
    found = front.ask(lambda console: console.audit(query))
    if json:
        front.terminal.json([audit_object(entry) for entry in found])
    elif not found:
        front.terminal.say("the audit log has no such entry")
    else:
        _print(front, found)
    return 0


def _print(front: Front, found: list[AuditEntry]) -> None:
    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column

    now = time.time()
    columns = [
        Column("SEQ", right=True),
        Column("AT"),
        Column("BY", flexible=True),
        Column("ROLE", drop=4),
        Column("VIA", drop=3),
        Column("ACTION"),
        Column("ABOUT", flexible=True, drop=1),
        Column("OUTCOME"),
        Column("HASH", drop=2),
    ]
    rows = [
        [
            str(entry.seq),
            front.terminal.times.moment(entry.at, now),
            entry.by,
            entry.role or "-",
            entry.via or "-",
            entry.action,
            f"{entry.kind} {entry.object}".strip() or "-",
            marked("approved" if entry.outcome == "done" else "rejected").append(f" {_outcome(entry)}"),
            entry.hash[:12],
        ]
        for entry in found
    ]
    front.terminal.table(columns, rows)


def _outcome(entry: AuditEntry) -> str:
    times = f" ×{entry.count}" if entry.count > 1 else ""
    return f"{entry.outcome}{f' {entry.code}' if entry.code else ''}{times}"


def audit_object(entry: AuditEntry) -> dict[str, Any]:
    """An entry for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339
    from fleetprompt.engine.core.audit import note_fields

    return {"seq": entry.seq} | note_fields(entry) | {"at": rfc3339(entry.at), "prev": entry.prev, "hash": entry.hash}


@audit.command("verify")
def verify(
    ctx: typer.Context,
    head: Annotated[
        str, typer.Option("--head", metavar="HASH", help="A head that was kept elsewhere: it has to be in the chain.")
    ] = "",
    json: Json = False,
) -> int:
    """Walk through the whole chain; name the first entry that is broken, and the head."""
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.wording import count

    front: Front = ctx.obj
    found = front.ask(lambda console: console.verify_audit(head))
    if json:
        front.terminal.json(
            {
                "ok": found.ok,
                "entries": found.entries,
                "head": found.head,
                "broken": found.broken,
                "problem": found.problem,
            }
        )
        return int(not found.ok)
    entries = f"{count(found.entries, 'entry', 'entries')}"
    if found.ok:
        front.terminal.print(marked("completed").append(f" the audit log is in order: {entries}"))
    else:
        line = marked("failed").append(f" entry {found.broken}: ").append_text(plain(found.problem))
        front.terminal.print(line.append(f" ({entries} before it are in order)"))
    front.terminal.print(plain(f"head {found.head}"))
    return int(not found.ok)
