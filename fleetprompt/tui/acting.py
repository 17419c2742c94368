"""Commands about runs, one or many: asked about first, then sent, and what came of each is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.client.protocol import why_queued
from fleetprompt.client.wording import GLYPHS, count, duration, short, sign
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

LISTED = 8
"""Runs that a question names one by one."""
FINAL = ("completed", "failed", "cancelled", "timeout")


class Command(Struct, frozen=True):
    """What can be sent to a run, and how it is asked about."""

    type: str
    verb: str
    done: str
    """The verb of what has happened: `cancelled`."""
    asks: bool = False
    """Work would be lost: it is asked about even for a single run."""
    reason: bool = False
    """A reason may be given."""

    def fits(self, head: RunHead) -> bool:
        """Whether it makes sense for a run as it is."""
        over = head.status in FINAL
        match self.type:
            case types.RETRY:
                return over
            case types.PAUSE:
                return not over and head.waiting_on != "paused"
            case types.RESUME:
                return not over
            case _:
                return not over


CANCEL = Command(types.CANCEL, "cancel", "cancelled", asks=True, reason=True)
PAUSE = Command(types.PAUSE, "pause", "paused")
RESUME = Command(types.RESUME, "resume", "resumed")
RETRY = Command(types.RETRY, "retry", "retried", asks=True)


async def command_runs(
    app: FleetConsole, command: Command, heads: Sequence[RunHead], data: dict[str, Any] | None = None
) -> None:
    """Send a command to runs: at once to a single one that loses nothing, else after the operator has said yes."""
    from fleetprompt.tui.screens.dialog import Confirm, ConfirmWithReason

    fitting = [head for head in heads if command.fits(head)]
    if not fitting:
        app.say("warning", _unfit(command, heads))
        return
    if not command.asks and len(fitting) == 1:
        await _send(app, command, fitting, data or {})
        return
    lines = [*_named(fitting, app.now()), *_left_out(len(heads) - len(fitting), command)]
    title = f"{command.verb} {count(len(fitting), 'run')}?"
    if command.reason:

        async def with_reason(reason: str | None) -> None:
            if reason is not None:
                await _send(app, command, fitting, {**(data or {}), "reason": reason})

        said = "cancelled work is not undone by itself; compensations run"
        lines.append(((said, "dim"),))
        does = f"{command.verb} {count(len(fitting), 'run')}"
        app.push_screen(ConfirmWithReason(title, lines, does), with_reason)
        return

    async def answered(yes: bool | None) -> None:
        if yes:
            await _send(app, command, fitting, data or {})

    app.push_screen(Confirm(title, lines, command.verb, danger=command.asks), answered)


def _unfit(command: Command, heads: Sequence[RunHead]) -> str:
    if not heads:
        return f"there is no run to {command.verb}"
    if len(heads) == 1:
        return f"run {short(heads[0].id)} is {heads[0].status}: there is nothing to {command.verb}"
    return f"of {count(len(heads), 'run')} none can be {command.done}"


def _named(heads: Sequence[RunHead], now: float) -> list[Sequence[Part]]:
    lines: list[Sequence[Part]] = []
    for head in heads[:LISTED]:
        since = duration(now - head.started_at) if head.started_at is not None else ""
        lines.append(
            (
                (f"{sign(GLYPHS[head.status])} ", head.status),
                (f"{short(head.id)}  ", "id"),
                (f"{inert(head.workflow)}  ", "strong"),
                (inert(head.step), "dim"),
                (f"  {since}" if head.finished_at is None else "", "dim"),
            )
        )
    if len(heads) > LISTED:
        lines.append(((f"… and {len(heads) - LISTED:,} more", "dim"),))
    return lines


def _left_out(number: int, command: Command) -> list[Sequence[Part]]:
    if not number:
        return []
    stay = "stays as it is" if number == 1 else "stay as they are"
    return [((f"{count(number, 'more run')} cannot be {command.done} and {stay}", "dim"),)]


async def _send(app: FleetConsole, command: Command, heads: Sequence[RunHead], data: dict[str, Any]) -> None:
    console = app.client
    if console is None or not app.may_change(command.verb):
        return
    app.run_worker(_send_all(app, command, heads, data), group="commands")


async def _send_all(app: FleetConsole, command: Command, heads: Sequence[RunHead], data: dict[str, Any]) -> None:
    console = app.client
    assert console is not None
    done = 0
    queued = ""
    refused: list[str] = []
    for head in heads:
        try:
            result = await console.command(command.type, head.id, by=app.who, data=data)
        except FleetError as error:
            refused.append(f"{short(head.id)}: {error.message}")
            continue
        if result.status == "refused":
            refused.append(f"{short(head.id)}: {result.reason}")
            continue
        queued = why_queued(result) or queued
        done += 1
    if done:
        named = f"run {short(heads[0].id)}" if len(heads) == 1 else count(done, "run")
        app.say("warning" if queued else "info", f"{command.done}: {named}{' — ' + queued if queued else ''}")
    for text in refused[:3]:
        app.say("error", f"not {command.done}: {text}")
    if len(refused) > 3:
        app.say("error", f"not {command.done}: {len(refused) - 3} more; see the messages (g m)")
        for text in refused[3:]:
            app.say("error", f"not {command.done}: {text}", quiet=True)
