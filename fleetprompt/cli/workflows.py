"""`fleet workflows`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_workflows_term
from fleetprompt.cli.options import FILTERED, Json, WorkflowName

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import Workflow, WorkflowStatistics

app = typer.Typer(rich_markup_mode=None)
workflows = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List the workflows that were run here, and the files that were not: fleet workflows [FILTER]... [--json]. "
    "Or pause, activate or archive one.",
    subcommand_metavar="[FILTER]... | COMMAND NAME",
)
app.add_typer(workflows, name="workflows")


DAYS = 7
"""Of how many days statistics are shown."""


@workflows.command("list", context_settings=FILTERED, hidden=True)
def list_(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as status:paused", autocompletion=complete_workflows_term),
    ] = None,
    json: Json = False,
) -> int:
    """List the workflows that have been run here, and the files that have not.

    RUNS, OK (the part that completed), durations and COST are of the last 7 days.
    """
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import WORKFLOW_FIELDS
    from fleetprompt.engine.core.query_match import matcher

    front: Front = ctx.obj
    text = joined(filter_)
    query = parse(text, WORKFLOW_FIELDS)
    query.require()
    fits = matcher(query, time.time())
    known: list[Workflow] = []
    figures: dict[str, WorkflowStatistics] = {}

    async def look(console: Console) -> tuple[list[Workflow], list[WorkflowStatistics]]:
        return await console.workflows(), await console.statistics(time.time() - DAYS * 86_400)

    try:
        known, statistics = front.ask(look)
        figures = {each.workflow: each for each in statistics}
    except Exception as error:
        if type(error).__name__ != "NotFound":
            raise
    rows = [_object(each, figures.get(each.name)) for each in sorted(known, key=lambda workflow: workflow.name)]
    rows += [_file_object(name, path) for name, path in _files(front, known)]
    rows = [row for row in rows if fits(row)]
    if json:
        front.terminal.json(rows)
    elif not rows and text:
        front.terminal.say("no workflow matches")
    elif not rows:
        if front.elsewhere is not None:
            front.terminal.say("no workflow is registered there: fleet run FILE")
        else:
            front.terminal.say(f"there are no workflows in {front.project.workflows}: fleet init")
    else:
        _print_table(front, rows, {workflow.name: workflow.updated_at for workflow in known})
    return 0


def _object(workflow: Workflow, figures: WorkflowStatistics | None) -> dict[str, Any]:
    from fleetprompt.client.wording import rfc3339

    return {
        "name": workflow.name,
        "status": workflow.status,
        "plan": workflow.plan,
        "file": workflow.file,
        "updated_at": rfc3339(workflow.updated_at),
        "max_runs": workflow.max_runs,
        "statistics": _figures(figures),
    }


def _figures(figures: WorkflowStatistics | None) -> dict[str, Any]:
    """What its runs of the last days come to; durations in seconds."""
    from fleetprompt.client.wording import NANO

    if figures is None:
        empty = {"success": None, "p50": None, "p95": None, "cost_usd": 0.0, "cost_nano": 0, "tokens": 0}
        return {"days": DAYS, "runs": 0, **empty}
    return {
        "days": DAYS,
        "runs": figures.runs,
        "success": figures.success,
        "p50": figures.p50,
        "p95": figures.p95,
        "cost_usd": figures.cost_nano / NANO,
        "cost_nano": figures.cost_nano,
        "tokens": figures.tokens,
    }


def _file_object(name: str, path: str) -> dict[str, Any]:
    """A file that the store does not know yet."""
    empty = {"plan": None, "updated_at": None, "max_runs": None, "statistics": _figures(None)}
    return {"name": name, "status": "draft", "file": path, **empty}


def _files(front: Front, known: list[Workflow]) -> list[tuple[str, str]]:
    if front.elsewhere is not None:
        return []
    names = {workflow.name for workflow in known}
    run = {(front.project.root / workflow.file).resolve() for workflow in known if workflow.file}
    folder = front.project.workflows
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    return [(path.stem, str(path)) for path in found if path.stem not in names and path.resolve() not in run]


def _print_table(front: Front, rows: list[dict[str, Any]], changed: dict[str, float]) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import STYLES, ago

    now = time.time()
    columns = [
        Column("WORKFLOW"),
        Column("STATUS"),
        Column("RUNS", right=True, drop=3),
        Column("OK", right=True, drop=4),
        Column("P50", right=True, drop=5),
        Column("P95", right=True, drop=6),
        Column("COST", right=True, drop=7),
        Column("CHANGED", right=True, drop=2),
        Column("FILE", flexible=True, drop=1),
    ]
    shown = [
        [
            marked(row["status"]).append(" ").append_text(plain(row["name"])),
            Text(row["status"], style=STYLES.get(row["status"], "")),
            *_cells(row["statistics"]),
            ago(now - changed[row["name"]]) if row["name"] in changed else "-",
            _relative(front, row["file"]),
        ]
        for row in rows
    ]
    front.terminal.table(columns, shown)


def _cells(figures: dict[str, Any]) -> list[str]:
    from fleetprompt.client.wording import duration, money

    success = figures["success"]
    return [
        f"{figures['runs']:,}" if figures["runs"] else "-",
        # Not rounded up: a hundred per cent means that nothing failed.
        f"{int(success * 100)}%" if success is not None else "-",
        duration(figures["p50"]),
        duration(figures["p95"]),
        money(figures["cost_nano"]) if figures["cost_nano"] else "-",
    ]


def _relative(front: Front, file: str) -> str:
    root = f"{front.project.root}/"
    return file.removeprefix(root)


@workflows.command("pause")
def pause(ctx: typer.Context, name: WorkflowName) -> int:
    """Start no more runs of a workflow.

    Those that go on are not touched.
    """
    return _set(ctx.obj, name, "paused")


@workflows.command("activate")
def activate(ctx: typer.Context, name: WorkflowName) -> int:
    """Let a workflow be started again, by hand and by its triggers."""
    return _set(ctx.obj, name, "active")


@workflows.command("archive")
def archive(ctx: typer.Context, name: WorkflowName) -> int:
    """Put a workflow away: it is not started any more."""
    return _set(ctx.obj, name, "archived")


def _set(front: Front, name: str, status: str) -> int:
    from rich.text import Text

    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.protocol import why_queued
    from fleetprompt.engine.core.errors import NotFound, Refused

    async def send(console: Console) -> Any:
        if name not in {workflow.name for workflow in await console.workflows()}:
            raise NotFound(f"there is no workflow `{name}` in the store", hint="`fleet workflows` lists them")
        return await console.set_workflow(name, status, by=front.me)

    result = front.ask(send)
    if result.status == "refused":
        raise Refused(result.reason)
    queued = why_queued(result)
    front.terminal.print(
        marked(status).append(" ").append_text(plain(f"{name} {'will be' if queued else 'is'} {status}"))
    )
    if queued:
        front.terminal.say(Text(queued, style="yellow"))
    return 0
