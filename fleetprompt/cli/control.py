"""Commands about runs: cancel, pause, resume, retry, raise, resolve. Each takes a run, or a filter and asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_doubtful_step, complete_step
from fleetprompt.cli.options import FILTERED, Comment, FinishedRuns, Json, RunId, Runs, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.core.signal import Result
    from fleetprompt.engine.ports import RunHead

app = typer.Typer(rich_markup_mode=None)

Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it is recorded.")]
SAMPLE = 5
FINAL = ("completed", "failed", "cancelled", "timeout")


@app.command("cancel", context_settings=FILTERED)
def cancel(ctx: typer.Context, runs: Runs, reason: Reason = "", yes: Yes = False, json: Json = False) -> int:
    """End runs early. Work that must not be repeated may finish; compensations run if the file says so."""
    from fleetprompt.engine.core.signal import CANCEL

    return _each(ctx.obj, runs, CANCEL, "cancel", {"reason": reason}, yes, json, live=True)


@app.command("pause", context_settings=FILTERED)
def pause(ctx: typer.Context, runs: Runs, reason: Reason = "", yes: Yes = False, json: Json = False) -> int:
    """Start nothing new in runs until they are resumed; what is in flight finishes."""
    from fleetprompt.engine.core.signal import PAUSE

    return _each(ctx.obj, runs, PAUSE, "pause", {"reason": reason}, yes, json, live=True)


@app.command("resume", context_settings=FILTERED)
def resume(ctx: typer.Context, runs: Runs, yes: Yes = False, json: Json = False) -> int:
    """Let paused runs go on."""
    from fleetprompt.engine.core.signal import RESUME

    return _each(ctx.obj, runs, RESUME, "resume", {}, yes, json, live=True)


@app.command("retry", context_settings=FILTERED)
def retry(
    ctx: typer.Context,
    runs: FinishedRuns,
    start: Annotated[
        str, typer.Option("--from", metavar="STEP", help="From this step, by its path.", autocompletion=complete_step)
    ] = "",
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Do finished runs again: a new run that keeps what went well, or everything before a step."""
    from fleetprompt.engine.core.signal import RETRY

    return _each(ctx.obj, runs, RETRY, "retry", {"from": start}, yes, json, live=False)


@app.command("raise", context_settings=FILTERED)
def raise_(
    ctx: typer.Context,
    runs: Runs,
    usd: Annotated[float, typer.Option("--usd", metavar="AMOUNT", min=0, help="US dollars more.")] = 0.0,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=0, help="Tokens more.")] = 0,
    requests: Annotated[int, typer.Option("--requests", metavar="N", min=0, help="Requests to models more.")] = 0,
    tool_calls: Annotated[int, typer.Option("--tool-calls", metavar="N", min=0, help="Calls of tools more.")] = 0,
    step: Annotated[
        str, typer.Option("--step", metavar="STEP", help="What this step may spend.", autocompletion=complete_step)
    ] = "",
    reason: Reason = "",
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Let runs spend more than their guardrails say. Who did so, and why, stands in the journal."""
    from fleetprompt.engine.core.signal import RAISE

    amounts = {"cost_nano": round(usd * 1e9), "tokens": tokens, "requests": requests, "tool_calls": tool_calls}
    data = {"step": step, "reason": reason, "amounts": {limit: more for limit, more in amounts.items() if more}}
    return _each(ctx.obj, runs, RAISE, "raise", data, yes, json, live=True)


def _each(
    front: Front, words: list[str], type_: str, verb: str, data: dict[str, Any], yes: bool, json: bool, *, live: bool
) -> int:
    return front.ask(lambda console: _command(front, console, words, type_, verb, data, yes, json, live))


async def _command(
    front: Front,
    console: Console,
    words: list[str],
    type_: str,
    verb: str,
    data: dict[str, Any],
    yes: bool,
    json: bool,
    live: bool,
) -> int:
    from fleetprompt.cli.filters import picked

    heads, filtered = await picked(console, words)
    if filtered:
        # Where a filter picks, runs that the command cannot apply to are not meant.
        heads = [head for head in heads if (head.status not in FINAL) == live]
    if not heads:
        front.terminal.say(f"no run to {verb} matches")
        if json:
            front.terminal.json([])
        return 0
    if filtered and len(heads) > 1 and not _agreed(front, heads, verb, yes):
        front.terminal.say("nothing done")
        return 1
    results: list[tuple[RunHead, Result]] = []
    for head in heads:
        results.append((head, await _send(console, type_, head, front.me, data)))
        if not json:
            _print(front, verb, *results[-1])
    if json:
        front.terminal.json([_object(head, result) for head, result in results])
    _say_queued(front, *(result for _, result in results))
    return int(any(result.status == "refused" for _, result in results))


async def _send(console: Console, type_: str, head: RunHead, by: str, data: dict[str, Any]) -> Result:
    from fleetprompt.engine.core.errors import Refused
    from fleetprompt.engine.core.signal import RETRY, Result

    over = head.status in FINAL
    if over != (type_ == RETRY):
        # An engine would refuse it too, but perhaps much later.
        reason = f"the run is already {head.status}" if over else "only a finished run can be retried"
        return Result(signal="", status="refused", run=head.id, reason=reason)
    try:
        return await console.command(type_, head.id, by=by, data=data)
    except Refused as error:
        return Result(signal="", status="refused", run=head.id, reason=error.message)


def _agreed(front: Front, heads: list[RunHead], verb: str, yes: bool) -> bool:
    """Whether somebody has agreed to act on several runs. Raises `InvalidInput` where nobody can be asked."""
    from fleetprompt.cli.runs import print_heads
    from fleetprompt.client.wording import count
    from fleetprompt.engine.core.errors import InvalidInput

    if yes:
        return True
    if not front.terminal.interactive:
        raise InvalidInput(f"the filter matches {count(len(heads), 'run')}", hint=f"--yes to {verb} all of them")
    print_heads(front.terminal, heads[:SAMPLE])
    if len(heads) > SAMPLE:
        front.terminal.say(f"and {count(len(heads) - SAMPLE, 'more run')}")
    return front.terminal.confirm(f"{verb} {count(len(heads), 'run')}?")


def _print(front: Front, verb: str, head: RunHead, result: Result) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.wording import short

    status = "waiting" if result.reason == "queued" else result.status
    line = marked(status).append(f" {short(head.id)}", style="cyan").append_text(plain(f" {head.workflow}: "))
    if result.status == "refused":
        line.append_text(plain(result.reason, "red"))
    elif result.run and result.run != head.id:
        line.append(f"{verb} is run ").append(short(result.run), style="cyan")
    else:
        line.append(f"{verb} recorded" if result.reason == "queued" else f"{verb} accepted")
    front.terminal.print(line)


def _say_queued(front: Front, *results: Result) -> None:
    from rich.text import Text

    from fleetprompt.client.protocol import why_queued

    for why in dict.fromkeys(filter(None, map(why_queued, results))):
        front.terminal.say(Text(why, style="yellow"))


def _object(head: RunHead, result: Result) -> dict[str, Any]:
    queued = result.reason == "queued"
    return {
        "run": head.id,
        "workflow": head.workflow,
        "status": "queued" if queued else result.status,
        "reason": "" if queued else result.reason,
        "new_run": result.run if result.run and result.run != head.id else None,
    }


@app.command("resolve")
def resolve(
    ctx: typer.Context,
    run: RunId,
    step: Annotated[
        str,
        typer.Argument(
            metavar="STEP", help="Path of the step, as `fleet show` prints it.", autocompletion=complete_doubtful_step
        ),
    ],
    happened: Annotated[
        str | None, typer.Option("--happened", metavar="JSON", help="It happened; this is its result (JSON, @FILE, -).")
    ] = None,
    run_it: Annotated[bool, typer.Option("--run", help="It did not happen: run it.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Go on as if its condition were false.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Fail the run and compensate.")] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", metavar="N", min=1, help="Answer for this attempt only; else for the present one."),
    ] = None,
    comment: Comment = "",
) -> int:
    """Answer for a step of which nobody knows whether it happened. Without an answer: show what is known of it, and the
    answers."""
    from fleetprompt.cli.values import read_json
    from fleetprompt.engine.core.errors import InvalidInput

    chosen = [name for name, given in (("run", run_it), ("skip", skip), ("abort", abort)) if given]
    if happened is not None:
        chosen.append("happened")
    front: Front = ctx.obj
    if not chosen:
        return front.ask(lambda console: _show_answers(front, console, run, step))
    if len(chosen) != 1:
        raise InvalidInput("say exactly one of --happened JSON, --run, --skip, --abort")
    output = read_json(happened, "the result") if happened is not None else None
    data = {"path": step, "answer": chosen[0], "attempt": attempt, "output": output, "comment": comment}
    return front.ask(lambda console: _resolve(front, console, run, data))


async def _show_answers(front: Front, console: Console, text: str, path: str) -> int:
    from fleetprompt.cli.show import doubt_lines
    from fleetprompt.client.wording import short
    from fleetprompt.engine.core.errors import InvalidInput

    head = await console.run(await console.find(text))
    step = (await console.state(head.id)).steps.get(path)
    if step is None or step.status != "in_doubt":
        hint = f"`fleet show {short(head.id)}` shows its steps"
        raise InvalidInput(f"run {short(head.id)} has no step `{path}` that is in doubt", hint=hint)
    front.terminal.print(*doubt_lines(head.id, step))
    return 2


async def _resolve(front: Front, console: Console, text: str, data: dict[str, Any]) -> int:
    from fleetprompt.engine.core.signal import RESOLVE

    head = await console.run(await console.find(text))
    step = (await console.state(head.id)).steps.get(data["path"])
    if data["attempt"] is None and step is not None:
        # The one that is seen now: by the time the answer is carried out it may have been tried again.
        data["attempt"] = step.attempt
    result = await _send(console, RESOLVE, head, front.me, data)
    _print(front, f"{data['answer']} for {data['path']}", head, result)
    _say_queued(front, result)
    return int(result.status == "refused")
