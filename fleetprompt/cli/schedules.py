"""`fleet schedules`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_schedule, complete_schedules_term
from fleetprompt.cli.options import FILTERED, Json, Limit

if TYPE_CHECKING:
    from rich.text import Text

    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.client.scheduling import ScheduleState
    from fleetprompt.client.wording import Times
    from fleetprompt.engine.core.firing import Firing, Occurrence
    from fleetprompt.engine.core.signal import Result
    from fleetprompt.engine.ports import EngineHealth

app = typer.Typer(rich_markup_mode=None)
schedules = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List schedules with when they come and what came of it last: fleet schedules [FILTER]... [--json]. "
    "Or show, fire, pause or resume one, or show the next times of a cron expression.",
    subcommand_metavar="[FILTER]... | COMMAND NAME",
)
app.add_typer(schedules, name="schedules")

ScheduleName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="WORKFLOW/TRIGGER, or the workflow alone where it has one schedule.",
        autocompletion=complete_schedule,
    ),
]


@schedules.command("list", context_settings=FILTERED, hidden=True)
def list_(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as status:paused", autocompletion=complete_schedules_term),
    ] = None,
    json: Json = False,
) -> int:
    """List the schedules and file watches of workflows that are registered here."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import SCHEDULE_FIELDS
    from fleetprompt.engine.core.query_match import matcher

    front: Front = ctx.obj
    text = joined(filter_)
    query = parse(text, SCHEDULE_FIELDS)
    query.require()
    fits = matcher(query, time.time(), front.terminal.times.tzinfo)

    async def look(console: Console) -> tuple[list[ScheduleState], EngineHealth]:
        return await console.schedules(), await console.health()

    found, health = front.ask(look)
    shown = [state for state in found if fits(state.row)]
    if json:
        front.terminal.json([schedule_object(state) for state in shown])
    elif not shown:
        front.terminal.say("no schedule matches" if text else "no registered workflow has a schedule")
    else:
        _print_table(front, shown)
        _say_who_fires(front, health)
    return 0


def _say_who_fires(front: Front, health: EngineHealth) -> None:
    """Say it where nothing will fire: whoever looks at times relies on them."""
    from rich.text import Text

    if health.state == "none":
        text = "no engine is here: nothing fires until `fleet serve`, or the console, is"
    elif not health.fires:
        text = f"the engine that is here ({health.what}) fires no schedules: `fleet serve` and the console do"
    else:
        return
    front.terminal.say(Text(text, style="yellow"))


def _print_table(front: Front, found: list[ScheduleState]) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import STYLES, ago
    from fleetprompt.engine.core.inert import inert

    now = time.time()
    columns = [
        Column("SCHEDULE"),
        Column("STATUS"),
        Column("WHEN", flexible=True),
        Column("ZONE", drop=3),
        Column("NEXT", right=True),
        Column("LAST", right=True, drop=1),
        Column("OUTCOME", drop=2),
    ]
    rows = [
        [
            marked(state.status).append(" ").append_text(plain(state.name)),
            _styled(state.status, STYLES.get(state.status, "")),
            inert(state.rhythm),
            inert(state.zone),
            ago(now - state.next) if state.next is not None else "-",
            ago(now - state.last.at) if state.last is not None else "never",
            _styled(state.last.outcome, STYLES.get(state.last.outcome, "")) if state.last is not None else "-",
        ]
        for state in found
    ]
    front.terminal.table(columns, rows)


def _styled(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)


def schedule_object(state: ScheduleState) -> dict[str, Any]:
    """A schedule for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    schedule, watch = state.schedule, state.watch
    return {
        "name": state.name,
        "workflow": state.workflow,
        "trigger": state.trigger,
        "kind": state.kind,
        "status": state.status,
        "workflow_status": state.workflow_status,
        "cron": (schedule.cron or None) if schedule is not None else None,
        "every": (schedule.every or None) if schedule is not None else None,
        "paths": list(watch.paths) if watch is not None else None,
        "timezone": schedule.timezone if schedule is not None else None,
        "overlap": state.overlap,
        "catchup": state.row["catchup"],
        "jitter": schedule.jitter if schedule is not None else 0.0,
        "next_at": rfc3339(state.next),
        "last": firing_object(state.last) if state.last is not None else None,
        "since": rfc3339(state.since),
        "changed_at": rfc3339(state.changed_at or None),
        "by": state.by,
        "reason": state.reason,
        "problem": state.problem,
    }


def firing_object(firing: Firing) -> dict[str, Any]:
    """A firing for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "workflow": firing.workflow,
        "trigger": firing.trigger,
        "kind": firing.kind,
        "scheduled": firing.scheduled,
        "due": rfc3339(firing.due),
        "at": rfc3339(firing.at),
        "outcome": firing.outcome,
        "reason": firing.reason,
        "signal": firing.signal,
        "run": firing.run,
        "by": firing.by,
    }


# ---------------------------------------------------------------- one


@schedules.command("show", context_settings=FILTERED)
def show(
    ctx: typer.Context,
    name: ScheduleName,
    filter_: Annotated[
        list[str] | None, typer.Argument(metavar="FILTER", help="Of its firings, such as outcome:missed")
    ] = None,
    limit: Limit = 20,
    json: Json = False,
) -> int:
    """Show one schedule and its firings, those recorded last first."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.client.scheduling import meant
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)

    async def look(console: Console) -> tuple[ScheduleState, list[Firing], EngineHealth]:
        state = meant(await console.schedules(), name)
        own = f'wf:"{state.workflow}" trigger:"{state.trigger}" {text}'
        found, _ = await console.firings(own, Page(limit=limit))
        return state, found, await console.health()

    state, found, health = front.ask(look)
    if json:
        front.terminal.json({**schedule_object(state), "firings": [firing_object(each) for each in found]})
        return 0
    _print_one(front, state)
    if found:
        front.terminal.print("")
        _print_firings(front, found)
    _say_who_fires(front, health)
    return 0


def _print_one(front: Front, state: ScheduleState) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.wording import ago
    from fleetprompt.engine.core.duration import format_duration

    now, schedule, times = time.time(), state.schedule, front.terminal.times
    front.terminal.print(marked(state.status).append(" ").append_text(plain(state.name, "bold")))
    changed = f"by {state.by} {ago(now - state.changed_at)}" if state.changed_at else ""
    fields = (
        ("status", state.status if state.status != "off" else f"off: its workflow is {state.workflow_status}"),
        ("paused" if state.paused else "resumed", ": ".join(text for text in (changed, state.reason) if text)),
        ("when", f"{state.rhythm}  ({state.zone})" if state.zone else state.rhythm),
        ("overlap", state.overlap),
        ("catchup", state.row["catchup"]),
        ("jitter", format_duration(schedule.jitter) if schedule is not None and schedule.jitter else ""),
        ("next", _next(state, times, now)),
        ("problem", state.problem),
    )
    for name, value in fields:
        if value:
            front.terminal.print(Text(f"  {name:<10}", style="dim").append_text(plain(value)))


def _next(state: ScheduleState, times: Times, now: float) -> str:
    from fleetprompt.client.wording import ago

    if state.next is not None:
        return f"{times.moment(state.next)}  {ago(now - state.next)}"
    return "never" if state.kind == "schedule" else ""


def _print_firings(front: Front, found: list[Firing]) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import short

    columns = [
        Column("SCHEDULED"),
        Column("OUTCOME"),
        Column("RUN", style="cyan"),
        Column("REASON", flexible=True),
    ]
    rows = [
        [
            plain(_when(each)),
            marked(each.outcome).append(f" {each.outcome}"),
            short(each.run) if each.run else "",
            plain(each.reason),
        ]
        for each in found
    ]
    front.terminal.table(columns, rows)


def _when(firing: Firing) -> str:
    """The time that a firing was for, for people."""
    return "by hand" if firing.scheduled.startswith("now:") else firing.scheduled.replace("T", " ")


@schedules.command("fire")
def fire(ctx: typer.Context, name: ScheduleName, json: Json = False) -> int:
    """Start a run of a schedule now, also of one that is paused."""
    from fleetprompt.engine.core.codec import mapping

    front: Front = ctx.obj
    result = front.ask(lambda console: console.fire(name, by=front.me))
    _refused(result)
    run = str(mapping(result.data).get("run") or "")
    if json:
        front.terminal.json({"run": run or None, "queued": result.reason == "queued"})
        return 0
    front.terminal.say(f"run {run}" if run else "it was asked for")
    _say_queued(front, result)
    return 0


@schedules.command("pause")
def pause(
    ctx: typer.Context,
    name: ScheduleName,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it is recorded.")] = "",
) -> int:
    """Let a schedule or a file watch start nothing until it is resumed; what it lets go by is not made up for."""
    return _set(ctx.obj, name, "paused", reason)


@schedules.command("resume")
def resume(ctx: typer.Context, name: ScheduleName) -> int:
    """Let a schedule or a file watch that is paused go on, from now on."""
    return _set(ctx.obj, name, "active", "")


def _set(front: Front, name: str, status: Any, reason: str) -> int:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.protocol import why_queued
    from fleetprompt.client.scheduling import meant
    from fleetprompt.engine.core.codec import mapping

    async def send(console: Console) -> tuple[ScheduleState, Result]:
        state = meant(await console.schedules(), name)
        return state, await console.set_schedule(state.name, status, by=front.me, reason=reason)

    state, result = front.ask(send)
    _refused(result)
    changed = mapping(result.data).get("changed", True)
    verb = "will be" if why_queued(result) else "is" if changed else "is already"
    front.terminal.print(marked(status).append(" ").append_text(plain(f"{state.name} {verb} {status}")))
    _say_queued(front, result)
    return 0


def _refused(result: Result) -> None:
    from fleetprompt.engine.core.errors import Refused

    if result.status == "refused":
        raise Refused(result.reason)


def _say_queued(front: Front, result: Result) -> None:
    from rich.text import Text

    from fleetprompt.client.protocol import why_queued

    if queued := why_queued(result):
        front.terminal.say(Text(queued, style="yellow"))


# ---------------------------------------------------------------- a look ahead


@schedules.command("next")
def next_(
    ctx: typer.Context,
    cron: Annotated[str, typer.Argument(metavar="CRON", help="Five fields in quotes, or @daily and the like.")],
    timezone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="An IANA name.")] = "UTC",
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=1000, help="How many.")] = 10,
    json: Json = False,
) -> int:
    """Show when a cron expression comes next, without a workflow."""
    from fleetprompt.client.scheduling import upcoming

    front: Front = ctx.obj
    found = upcoming(cron, timezone, count, time.time())
    if json:
        front.terminal.json([_occurrence_object(each) for each in found])
        return 0
    for each in found:
        front.terminal.print(_occurrence_line(front, each, timezone))
    if not found:
        front.terminal.say("it never comes")
    return 0


def _occurrence_object(occurrence: Occurrence) -> dict[str, Any]:
    from fleetprompt.client.wording import rfc3339

    return {"scheduled": occurrence.scheduled, "at": rfc3339(occurrence.at), "note": occurrence.note}


def _occurrence_line(front: Front, occurrence: Occurrence, timezone: str) -> Text:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from rich.text import Text

    local = datetime.fromtimestamp(occurrence.at, ZoneInfo(timezone))
    line = Text(f"{local:%a %Y-%m-%d %H:%M %Z}")
    line.append(f"  {front.terminal.times.moment(occurrence.at)}", style="dim")
    return line.append(f"  {occurrence.note}", style="yellow") if occurrence.note else line
