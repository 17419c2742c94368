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

    What a retry has taken over from another run was spent by that one, and is counted once. UNCERTAIN is what may have
    been spent besides: on calls of models that were cut off, of which nobody knows whether they are billed. What was
    only simulated or replayed has no price: `n/a`.
    """
    from fleetprompt.cli.filters import begin, joined

    front: Front = ctx.obj
    text, from_ = joined(filter_), begin(since, time.time(), front.terminal.times.tzinfo)

    async def look(console: Any) -> list[CostRow]:
        return await console.costs(by, text, since=from_, limit=limit + 1)

    rows = front.ask(look)
    shown, more = rows[:limit], len(rows) > limit
    if json:
        front.terminal.json([_object(by, row) for row in shown])
    elif not rows:
        front.terminal.say(f"nothing was spent since {front.terminal.times.moment(from_)}")
    else:
        _print_table(front, by, shown, whole=not more)
        if more:
            front.terminal.say("there are more: --limit N")
    return 0


def _print_table(front: Front, by: By, rows: Sequence[CostRow], *, whole: bool) -> None:
    from rich.text import Text

    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import mode_label, money, short

    uncertain, labelled = any(row.uncertain_nano for row in rows), any(row.unreal for row in rows)
    columns = [
        Column(by.upper(), flexible=True),
        *([Column("WORKFLOW", flexible=True, drop=1)] if by in ("step", "run") else []),
        Column("COST", right=True),
        *([Column("UNCERTAIN", right=True)] if uncertain else []),
        Column("TOKENS", right=True, drop=2),
        Column("CALLS", right=True, drop=4),
        Column("RUNS", right=True, drop=3),
        *([Column("")] if labelled else []),
    ]
    lines: list[list[Any]] = [
        [
            Text(short(row.key), style="cyan") if by == "run" else row.key or "unknown",
            *([row.workflow] if by in ("step", "run") else []),
            "n/a" if _no_price(row) else money(row.cost_nano),
            *([money(row.uncertain_nano) if row.uncertain_nano else "-"] if uncertain else []),
            f"{row.tokens:,}",
            f"{row.calls:,}",
            f"{row.runs:,}",
            *([Text(mode_label(_mode(row)), style="bold yellow")] if labelled else []),
        ]
        for row in rows
    ]
    if whole and len(rows) > 1:
        cost_nano, tokens = sum(row.cost_nano for row in rows), sum(row.tokens for row in rows)
        in_doubt = [money(sum(row.uncertain_nano for row in rows))] if uncertain else []
        priced = "n/a" if all(_no_price(row) for row in rows) else money(cost_nano)
        figures = [priced, *in_doubt, f"{tokens:,}", f"{sum(row.calls for row in rows):,}"]
        # A run may have spent on several steps, models and days.
        of_runs = f"{sum(row.runs for row in rows):,}" if by in ("workflow", "run") else ""
        named, label = ["total", *([""] if by in ("step", "run") else [])], [""] if labelled else []
        lines.append([Text(cell, style="bold") for cell in (*named, *figures, of_runs, *label)])
    front.terminal.table(columns, lines)


def _mode(row: CostRow) -> str:
    return "" if not row.unreal else "simulated" if row.unreal >= row.calls else "mixed"


def _no_price(row: CostRow) -> bool:
    """Whether no model was asked, so that an amount of 0 would be a lie."""
    return not row.cost_nano and _mode(row) == "simulated"


def _object(by: By, row: CostRow) -> dict[str, Any]:
    """What machines read: always the same keys; money is null where all was simulated or replayed."""
    from fleetprompt.client.wording import NANO

    no_price = _no_price(row)
    return {
        "by": by,
        "key": row.key or None,
        "workflow": row.key if by == "workflow" else row.workflow or None,
        "cost_usd": None if no_price else row.cost_nano / NANO,
        "cost_nano": None if no_price else row.cost_nano,
        "uncertain_usd": row.uncertain_nano / NANO,
        "uncertain_nano": row.uncertain_nano,
        "tokens": row.tokens,
        "calls": row.calls,
        "unreal": row.unreal,
        "runs": row.runs,
    }
