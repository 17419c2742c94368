"""Retries: a finished run is done again by a new one, from what went wrong or from a step, after a question that says
what is repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fleetprompt.client.protocol import Console, why_queued
from fleetprompt.client.wording import count, short
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.command import Refusal
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.fork import repeated
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.acting import FINAL, LISTED, Sorted, command_each, left_out, named, nothing_to, read
from fleetprompt.tui.errors import explained
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.gathering import Told, gathered
from fleetprompt.tui.sending import Answer, tell
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

NEW = "each becomes a new run; the old ones stay as they are"
Show = Callable[[str], Awaitable[str]]
"""Shows the new run of a single one that was retried, and says how it is reached."""


async def retry(app: FleetConsole, heads: Sequence[RunHead], show: Show) -> None:
    """Do again what went wrong in these runs; a run in which nothing did is asked about from which step on."""
    console = app.client
    if console is None or not app.may_change("retry"):
        return
    found = Sorted()
    for head in heads:
        found.take(head, _unfit(head))
    if len(heads) == 1 and heads[0].status in FINAL:
        await _retry_one(app, console, heads[0], "", show)
    elif not found.fitting:
        app.say("warning", nothing_to("retry", found.left))
    else:
        lines: list[Sequence[Part]] = [*named(found.fitting, app.now()), *left_out(found.left, "retried")]
        lines += [(("what went wrong, and all that came after it, is done again", ""),), ((NEW, "dim"),)]
        _confirm(app, found.fitting, "", lines, show)


def _unfit(head: RunHead) -> str:
    if head.status not in FINAL:
        return f"it is {head.status}: only a finished run can be retried; cancel it first"
    return "everything in it completed; B does it again from a step" if head.status == "completed" else ""


async def _retry_one(app: FleetConsole, console: Console, head: RunHead, start: str, show: Show) -> None:
    """Ask about a single run, of which it can be said what is repeated."""
    try:
        run = await console.state(head.id)
    except FleetError as error:
        app.say("error", f"not retried: {explained(error)}")
        return
    again = repeated(run, start)
    if isinstance(again, Refusal):
        if head.status == "completed" and not start and run.steps:
            said = f"run {short(head.id)} completed: nothing in it went wrong. From a step on it can be done again:"
            ask_from(app, [head], next(iter(run.steps)), show, said)
        else:
            hint = f" — {again.hint}" if again.hint else ""
            app.say("warning", f"run {short(head.id)} cannot be retried: {again.reason}{hint}")
        return
    _confirm(app, [head], start, [*named([head], app.now()), *_again(run, again)], show)


def _again(run: Run, again: Sequence[str]) -> list[Sequence[Part]]:
    """What is repeated, and what is not."""
    paths: list[Part] = [(", ".join(inert(path) for path in again[:LISTED]), "link")]
    if len(again) > LISTED:
        paths.append((f" and {count(len(again) - LISTED, 'more step')}", ""))
    kept = len(run.steps) - len(again)
    lines: list[Sequence[Part]] = [(("done again: ", ""), *paths)]
    if kept:
        lines.append(((f"{count(kept, 'other step')}: as before, not done again", "dim"),))
    return [*lines, (("it becomes a new run; this one stays as it is", "dim"),)]


async def retry_from(app: FleetConsole, head: RunHead, path: str, show: Show) -> None:
    """Do a run again from a step that is known."""
    console = app.client
    if console is not None and app.may_change("retry"):
        await _retry_one(app, console, head, path, show)


def ask_from(app: FleetConsole, heads: Sequence[RunHead], path: str, show: Show, said: str = "") -> None:
    """Do runs again from a step that is asked for; `path` is offered."""
    if not heads:
        app.say("warning", "there is no run to retry")
    if not heads or not app.may_change("retry"):
        return

    async def given(text: str | None) -> None:
        console = app.client
        if text is None or console is None:
            return
        if len(heads) == 1:
            await _retry_one(app, console, heads[0], text, show)
            return
        look = partial(_having, console, heads, text)
        await gathered(app, "looking for the step", len(heads), look, partial(_ask_found, app, text, show))

    lines: list[Sequence[Part]] = [((said, ""),)] if said else []
    lines += named(heads, app.now())
    lines.append((("the step, and what depends on it, is done again; what came before stands", "dim"),))
    title = f"retry {count(len(heads), 'run')} from which step?"
    hint = "the path of a step, such as build or audit[3].deps"
    app.push_screen(Ask(title, lines, "go on", placeholder=hint, value=path, needed=True), given)


async def _having(console: Console, heads: Sequence[RunHead], path: str, told: Told) -> Sorted:
    """Which of the runs can be done again from a step."""
    found = Sorted()
    for at, head in enumerate(heads):
        if head.status in FINAL:
            run = await read(console, head)
            again = run if isinstance(run, str) else repeated(run, path)
            found.take(head, again.reason if isinstance(again, Refusal) else again if isinstance(again, str) else "")
        else:
            found.take(head, _unfit(head))
        told(at + 1)
    return found


def _ask_found(app: FleetConsole, path: str, show: Show, found: Sorted) -> None:
    if not found.fitting:
        app.say("warning", nothing_to("retry", found.left))
        return
    lines: list[Sequence[Part]] = [(("from ", ""), (inert(path), "link"))]
    lines += [*named(found.fitting, app.now()), *left_out(found.left, "retried"), ((NEW, "dim"),)]
    _confirm(app, found.fitting, path, lines, show)


def _confirm(
    app: FleetConsole, heads: Sequence[RunHead], path: str, lines: Sequence[Sequence[Part]], show: Show
) -> None:
    def answered(yes: bool | None) -> None:
        if yes and app.may_change("retry"):
            app.run_worker(partial(_send_all, app, heads, path, show), group="commands")

    app.push_screen(Confirm(f"retry {count(len(heads), 'run')}?", lines, "retry"), answered)


async def _send_all(app: FleetConsole, heads: Sequence[RunHead], path: str, show: Show) -> None:
    def said(head: RunHead, result: Result) -> Answer:
        queued = why_queued(result)
        old = f"run {short(head.id)} of {inert(head.workflow)}"
        new = "" if queued else f" is done again by run {short(result.run)}"
        return Answer(f"{old}{new}", run="" if queued else result.run)

    sent = await command_each(app, types.RETRY, heads, {"from": path} if path else {}, "retrying", said)
    if sent.total == 1 and sent.done and sent.done[0].run:
        reached = await show(sent.done[0].run)
        app.say("info", f"retried: {sent.done[0].said}; {reached}")
    else:
        tell(app, "retried", "run", sent)
