"""`fleet runs`: the list of runs, and the rows that other lists of runs share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_runs_term
from fleetprompt.cli.options import FILTERED, Full, Json, Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetprompt.cli.front import Front
    from fleetprompt.cli.terminal import Terminal
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import RunHead

    Halted = Callable[[RunHead], str]

app = typer.Typer(rich_markup_mode=None)


@app.command("runs", context_settings=FILTERED)
def runs(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as status:failed since:2h.", autocompletion=complete_runs_term),
    ] = None,
    limit: Limit = 30,
    everything: Annotated[bool, typer.Option("--all", help="Every matching run.")] = False,
    full: Full = False,
    json: Json = False,
) -> int:
    """List runs, the newest first."""
    from fleetprompt.cli.filters import MOST, joined, pages
    from fleetprompt.client.wording import count

    front: Front = ctx.obj
    text = joined(filter_)
    most = MOST if everything else limit

    async def look(console: Console) -> tuple[list[RunHead], int, Halted]:
        heads = await pages(console, text, most)
        total = await console.count(text) if len(heads) >= most else len(heads)
        return heads, total, await halting(console)

    heads, total, halted = front.ask(look)
    if json:
        front.terminal.json([head_object(head, halted(head)) for head in heads])
        return 0
    if not heads:
        front.terminal.say("no run matches" if text else "there are no runs yet: fleet run FILE")
        return 0
    print_heads(front.terminal, heads, halted, full=full)
    if total > len(heads):
        front.terminal.say(f"{count(total - len(heads), 'more run')}: --limit N or --all")
    return 0


async def halting(console: Console) -> Halted:
    """Says why nothing new starts in a run that is not over, as far as that is not up to the run."""
    from fleetprompt.client.halted import halted_by

    position, engine = (await console.switch()).position, console.where != "none"

    def halted(head: RunHead) -> str:
        if head.finished_at is not None:
            return ""
        return halted_by(position, began=head.started_at is not None, child=bool(head.parent), engine=engine)

    return halted


def print_heads(
    terminal: Terminal, heads: Sequence[RunHead], halted: Halted = lambda head: "", *, full: bool = False
) -> None:
    """Runs as a table."""
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import mode_label

    now, uncertain = time.time(), any(head.uncertain_nano for head in heads)
    labelled = any(mode_label(head.mode) for head in heads)
    columns = [
        Column("RUN"),
        Column("WORKFLOW", flexible=True),
        Column("STATUS", flexible=True),
        Column("BY", flexible=True, drop=5),
        Column("CREATED", right=True, drop=3),
        Column("DUR", right=True, drop=4),
        Column("COST", right=True, drop=6 if any(head.cost_nano for head in heads) else 9),
        *([Column("UNCERTAIN", right=True, drop=6)] if uncertain else []),
        *([Column("MODE")] if labelled else []),
        Column("NOW", flexible=True, drop=2),
    ]
    rows = [_row(head, now, full, halted(head), uncertain=uncertain, labelled=labelled) for head in heads]
    terminal.table(columns, rows)


def _row(head: RunHead, now: float, full: bool, halted: str, *, uncertain: bool, labelled: bool) -> list[Any]:
    from rich.text import Text

    from fleetprompt.cli.render import marked
    from fleetprompt.client.wording import STYLES, ago, duration, mode_label, money, short, spent

    status = head.status if head.waiting_on is None else f"{head.status} {head.waiting_on}"
    ended = head.finished_at if head.finished_at is not None else now
    return [
        marked(head.status).append(f" {head.id if full else short(head.id)}", style="cyan"),
        head.workflow,
        Text(status, style=STYLES.get(head.status, "")),
        head.owner or head.trigger,
        ago(now - head.created_at),
        duration(ended - head.started_at if head.started_at is not None else None),
        spent(head.cost_nano, head.mode),
        *([money(head.uncertain_nano) if head.uncertain_nano else "-"] if uncertain else []),
        *([Text(mode_label(head.mode) or "-", style="bold yellow")] if labelled else []),
        _now(head, full, halted),
    ]


def _now(head: RunHead, full: bool, halted: str) -> str:
    """What a run does, why it does nothing, or why it ended as it did."""
    if head.error_message:
        where = f"{head.error_step}: " if head.error_step else ""
        message = head.error_message.strip().splitlines()
        return f"{where}{message[0] if message and not full else head.error_message}"
    if head.finished_at is not None:
        return ""
    if head.status == "pending":
        return f"waits: {halted}" if halted else "waits for a place"
    return f"{head.step}  {halted}" if halted and head.waiting_on in (None, "slot") else head.step


def head_object(head: RunHead, halted: str = "") -> dict[str, Any]:
    """A run as lists print it in JSON: always the same keys. `halted`: why nothing new starts in it."""
    from fleetprompt.client.reasons import head_reason
    from fleetprompt.client.wording import NANO, rfc3339

    started, finished = head.started_at, head.finished_at
    error = {"code": head.error_code, "message": head.error_message, "step": head.error_step}
    return {
        "id": head.id,
        "workflow": head.workflow,
        "status": head.status,
        "waiting_on": head.waiting_on,
        "reason": head_reason(head, halted) or None,
        "step": head.step,
        "steps_done": head.steps_done,
        "attempt": head.attempt,
        "error": error if head.error_code else None,
        "created_at": rfc3339(head.created_at),
        "started_at": rfc3339(started),
        "finished_at": rfc3339(finished),
        "duration": round(finished - started, 6) if started is not None and finished is not None else None,
        "wake_at": rfc3339(head.wake_at),
        "cost_usd": head.cost_nano / NANO,
        "cost_nano": head.cost_nano,
        "uncertain_usd": head.uncertain_nano / NANO,
        "uncertain_nano": head.uncertain_nano,
        "tokens": head.tokens,
        "mode": head.mode or None,
        "owner": head.owner,
        "trigger": head.trigger,
        "labels": head.labels,
        "priority": head.priority,
        "project": head.project,
        "session": head.session,
        "parent": head.parent or None,
        "root": head.root or head.id,
        "retry_of": head.retry_of or None,
        "correlation": head.correlation,
        "plan": head.plan,
        "host": head.host,
        "facts": head.n,
    }
