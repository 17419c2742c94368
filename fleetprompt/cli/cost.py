"""`fleet cost`: what was spent, on what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fleetprompt.cli.completion import complete_runs_term
from fleetprompt.cli.options import FILTERED, Json, Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetprompt.cli.front import Front
    from fleetprompt.engine.ports import CostRow

app = typer.Typer(rich_markup_mode=None)

By = Literal["workflow", "step", "model", "day", "run"]


@app.command("cost", context_settings=FILTERED)
def cost(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Of which runs, such as wf:deploy.", autocompletion=complete_runs_term),
    ] = None,
    by: Annotated[By, typer.Option("--by", help="What it is added up by.")] = "workflow",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Spent since then, such as 24h, today or 2026-11-20.")
    ] = "7d",
    limit: Limit = 30,
    json: Json = False,
) -> int:
    """Show what was spent: the most expensive first, days newest first.

    What a retry has taken over from another run was spent by that one, and is counted once.
    """
    from fleetprompt.cli.filters import joined

    front: Front = ctx.obj
    text, begin = joined(filter_), _begin(front, since)

    async def look(console: Any) -> list[CostRow]:
        return await console.costs(by, text, since=begin, limit=limit + 1)

    rows = front.ask(look)
    shown, more = rows[:limit], len(rows) > limit
    if json:
        front.terminal.json([_object(by, row) for row in shown])
    elif not rows:
        front.terminal.say(f"nothing was spent since {front.terminal.times.moment(begin)}")
    else:
        _print_table(front, by, shown, whole=not more)
        if more:
            front.terminal.say("there are more: --limit N")
    return 0


def _begin(front: Front, text: str) -> float:
    """The time that a text means. Raises `InvalidInput`."""
    from fleetprompt.engine.core.errors import InvalidInput
    from fleetprompt.engine.core.query_fields import RUN_FIELDS
    from fleetprompt.engine.core.query_values import read_moment, span

    field = RUN_FIELDS.find("since")
    assert field is not None
    try:
        begin, _ = span(read_moment(field, text), time.time(), front.place.zone)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    return begin


def _print_table(front: Front, by: By, rows: Sequence[CostRow], *, whole: bool) -> None:
    from rich.text import Text

    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import money, short

    columns = [
        Column(by.upper(), flexible=True),
        *([Column("WORKFLOW", flexible=True, drop=1)] if by in ("step", "run") else []),
        Column("COST", right=True),
        Column("TOKENS", right=True, drop=2),
        Column("CALLS", right=True, drop=4),
        Column("RUNS", right=True, drop=3),
    ]
    lines: list[list[Any]] = [
        [
            Text(short(row.key), style="cyan") if by == "run" else row.key or "unknown",
            *([row.workflow] if by in ("step", "run") else []),
            money(row.cost_nano),
            f"{row.tokens:,}",
            f"{row.calls:,}",
            f"{row.runs:,}",
        ]
        for row in rows
    ]
    if whole and len(rows) > 1:
        cost_nano, tokens = sum(row.cost_nano for row in rows), sum(row.tokens for row in rows)
        figures = [money(cost_nano), f"{tokens:,}", f"{sum(row.calls for row in rows):,}"]
        # A run may have spent on several steps, models and days.
        of_runs = f"{sum(row.runs for row in rows):,}" if by in ("workflow", "run") else ""
        named = ["total", *([""] if by in ("step", "run") else [])]
        lines.append([Text(cell, style="bold") for cell in (*named, *figures, of_runs)])
    front.terminal.table(columns, lines)


def _object(by: By, row: CostRow) -> dict[str, Any]:
    """What machines read: always the same keys."""
    from fleetprompt.client.wording import NANO

    return {
        "by": by,
        "key": row.key or None,
        "workflow": row.key if by == "workflow" else row.workflow or None,
        "cost_usd": row.cost_nano / NANO,
        "cost_nano": row.cost_nano,
        "tokens": row.tokens,
        "calls": row.calls,
        "runs": row.runs,
    }
