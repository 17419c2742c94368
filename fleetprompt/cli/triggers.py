"""`fleet triggers`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_firings_term
from fleetprompt.cli.options import FILTERED, Json, Limit

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.core.firing import Firing
    from fleetprompt.engine.core.plan import Trigger
    from fleetprompt.engine.ports import Workflow

app = typer.Typer(rich_markup_mode=None)
triggers = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List what starts runs, and what was recorded of it last: fleet triggers [--json]. "
    "Or list firings of every kind, with the reasons of those that started no run: fleet triggers firings [FILTER]...",
    subcommand_metavar="COMMAND",
)
app.add_typer(triggers, name="triggers")

RECENT = 500
"""Firings among which the last of each trigger is looked for: the latest."""


@triggers.command("list", hidden=True)
def list_(ctx: typer.Context, json: Json = False) -> int:
    """List the triggers of workflows that are registered here."""
    from fleetprompt.engine.core.errors import NotFound
    from fleetprompt.engine.core.plan import trigger_ids
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj

    async def look(console: Console) -> list[dict[str, Any]]:
        recorded, _ = await console.firings("", Page(limit=RECENT))
        last: dict[tuple[str, str], Firing] = {}
        for firing in recorded:
            last.setdefault((firing.workflow, firing.trigger), firing)
        paused = {state.name for state in await console.schedules() if state.status == "paused"}
        found: list[dict[str, Any]] = []
        for workflow in sorted(await console.workflows(), key=lambda each: each.name):
            try:
                declared = (await console.plan(workflow.plan)).triggers
            except NotFound:
                continue
            for id_, trigger in zip(trigger_ids(declared), declared, strict=True):
                recent = last.get((workflow.name, id_))
                if recent is None and len(recorded) == RECENT:
                    # Others that go off often have more than their share of these.
                    own, _ = await console.firings(f'wf:"{workflow.name}" trigger:"{id_}"', Page(limit=1))
                    recent = own[0] if own else None
                found.append(_object(workflow, id_, trigger, recent, paused))
        return found

    rows = front.ask(look)
    if json:
        front.terminal.json(rows)
    elif not rows:
        front.terminal.say("no registered workflow has a trigger")
    else:
        _print_table(front, rows)
    return 0


def _object(
    workflow: Workflow, id_: str, trigger: Trigger, last: Firing | None, paused: Collection[str]
) -> dict[str, Any]:
    """A trigger for machines: always the same keys. `paused` are those that somebody has paused one by one."""
    from fleetprompt.cli.schedules import firing_object

    name = f"{workflow.name}/{id_}"
    return {
        "name": name,
        "workflow": workflow.name,
        "trigger": id_,
        "kind": trigger.type,
        "status": "off" if workflow.status != "active" else "paused" if name in paused else "active",
        "workflow_status": workflow.status,
        "what": what(trigger.type, trigger.config),
        "last": firing_object(last) if last is not None else None,
    }


def what(kind: str, config: dict[str, Any]) -> str:
    """What makes a trigger go off, in a few words."""
    from fleetprompt.engine.core.codec import items
    from fleetprompt.engine.core.duration import format_duration

    match kind:
        case "schedule":
            return str(config.get("cron") or f"every {format_duration(config['every'])}")
        case "webhook":
            return f"POST /api/webhooks/{config.get('path')}"
        case "signal":
            return str(config.get("match"))
        case "completion":
            of = f"agent {config['agent']}" if config.get("agent") else str(config.get("workflow"))
            return f"{of} {', '.join(map(str, items(config.get('status')) or ['completed']))}"
        case "watch":
            return ", ".join(map(str, items(config.get("paths"))))
        case _:
            return ""


def _print_table(front: Front, rows: list[dict[str, Any]]) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.engine.core.inert import inert

    columns = [
        Column("TRIGGER"),
        Column("KIND"),
        Column("WHAT", flexible=True),
        Column("LAST RECORD"),
        Column("REASON", flexible=True, drop=1),
    ]
    table: list[list[Any]] = []
    for row in rows:
        last = row["last"]
        table.append(
            [
                marked(row["workflow_status"] if row["status"] == "off" else row["status"])
                .append(" ")
                .append_text(plain(row["name"])),
                row["kind"],
                inert(row["what"]),
                marked(last["outcome"]).append(f" {last['outcome']}") if last else "-",
                plain(last["reason"]) if last else "",
            ]
        )
    front.terminal.table(columns, table)


@triggers.command("firings", context_settings=FILTERED)
def firings(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILTER", help="Such as kind:webhook outcome:duplicate", autocompletion=complete_firings_term
        ),
    ] = None,
    limit: Limit = 20,
    json: Json = False,
) -> int:
    """List firings of triggers of every kind, those recorded last first."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.schedules import firing_object
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago, short
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)
    found, _ = front.ask(lambda console: console.firings(text, Page(limit=limit)))
    if json:
        front.terminal.json([firing_object(each) for each in found])
    elif not found:
        front.terminal.say("no firing matches" if text else "nothing has gone off yet")
    else:
        now = time.time()
        columns = [
            Column("TRIGGER"),
            Column("KIND"),
            Column("OUTCOME"),
            Column("RECORDED", right=True),
            Column("RUN", style="cyan"),
            Column("REASON", flexible=True),
        ]
        rows = [
            [
                plain(f"{each.workflow}/{each.trigger}"),
                each.kind,
                marked(each.outcome).append(f" {each.outcome}"),
                ago(now - each.at),
                short(each.run) if each.run else "",
                plain(each.reason),
            ]
            for each in found
        ]
        front.terminal.table(columns, rows)
    return 0
