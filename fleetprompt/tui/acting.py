"""Commands about runs, one or many: asked about first, then sent, and what came of each is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from fleetprompt.client.protocol import Console, why_queued
from fleetprompt.client.wording import GLYPHS, count, duration, short, sign
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, Refused, StoreUnavailable
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.sending import Answer, Sent, of_many, send_each, tell
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.engine.core.state import Run
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.screens.gathering import Told

LISTED = 8
"""Runs, and reasons, that a question names one by one."""
FINAL = ("completed", "failed", "cancelled", "timeout")


class Command(Struct, frozen=True):
    """What can be sent to a run, and how it is asked about."""

    type: str
    verb: str
    doing: str
    done: str
    """The verb of what has happened: `cancelled`."""
    loses: bool = False
    """Work would be lost: it is asked about even for a single run, and a reason may be given."""


CANCEL = Command(types.CANCEL, "cancel", "cancelling", "cancelled", loses=True)
PAUSE = Command(types.PAUSE, "pause", "pausing", "paused")
RESUME = Command(types.RESUME, "resume", "resuming", "resumed")


class Sorted(Struct):
    """Runs that a command makes sense for, and why it does not for the others."""

    fitting: list[RunHead] = field(default_factory=list[RunHead])
    left: list[tuple[RunHead, str]] = field(default_factory=list[tuple[RunHead, str]])

    def take(self, head: RunHead, why_not: str) -> None:
        """Another run."""
        if why_not:
            self.left.append((head, why_not))
        else:
            self.fitting.append(head)


async def command_runs(app: FleetConsole, command: Command, heads: Sequence[RunHead]) -> None:
    """Send a command to runs: at once to a single one that loses nothing, else after the operator has said yes."""
    from fleetprompt.tui.screens.gathering import gathered

    console = app.client
    if console is None or not app.may_change(command.verb):
        return
    sort = partial(_sorted, console, command, heads)
    await gathered(app, "looking which runs it fits", len(heads), sort, partial(_ask, app, command))


async def _sorted(console: Console, command: Command, heads: Sequence[RunHead], told: Told) -> Sorted:
    found = Sorted()
    for at, head in enumerate(heads):
        why_not = unfit(command, head)
        if not why_not and command is RESUME and head.waiting_on != "paused":
            # Rows that an earlier version wrote do not say so as long as something that was begun before goes on.
            run = await read(console, head)
            why_not = run if isinstance(run, str) else "" if run.paused else "it is not paused"
            told(at + 1)
        found.take(head, why_not)
    return found


async def read(console: Console, head: RunHead) -> Run | str:
    """A run, or why it cannot be read: one that is damaged is no reason to leave the others. Raises
    `StoreUnavailable`."""
    try:
        return await console.state(head.id)
    except StoreUnavailable:
        raise
    except FleetError as error:
        return error.message


def unfit(command: Command, head: RunHead) -> str:
    """Why a command makes no sense for a run, as far as its row tells."""
    if head.status in FINAL:
        return f"it is {head.status} already"
    if command is PAUSE and head.waiting_on == "paused":
        return "it is paused already"
    if command is RESUME and head.status == "waiting" and head.waiting_on != "paused":
        return "it is not paused"
    return ""


def _ask(app: FleetConsole, command: Command, found: Sorted) -> None:
    from fleetprompt.tui.screens.dialog import Confirm, ConfirmWithReason

    fitting = found.fitting
    if not fitting:
        app.say("warning", nothing_to(command.verb, found.left))
        return
    if not command.loses and len(fitting) == 1:
        _send(app, command, fitting, "")
        return
    lines = [*named(fitting, app.now()), *left_out(found.left, command.done)]
    what = f"{command.verb} {count(len(fitting), 'run')}"
    if command.loses:

        def with_reason(reason: str | None) -> None:
            if reason is not None:
                _send(app, command, fitting, reason)

        lines.append((("compensations run, if the workflow has any; nothing else is undone", "dim"),))
        app.push_screen(ConfirmWithReason(f"{what}?", lines, what), with_reason)
        return

    def answered(yes: bool | None) -> None:
        if yes:
            _send(app, command, fitting, "")

    app.push_screen(Confirm(f"{what}?", lines, what, danger=False), answered)


def nothing_to(verb: str, left: Sequence[tuple[RunHead, str]]) -> str:
    """What is said where a command fits no run."""
    if not left:
        return f"there is no run to {verb}"
    head, why_not = left[0]
    if len(left) == 1:
        return f"there is nothing to {verb} in run {short(head.id)}: {why_not}"
    reasons = Counter(why for _, why in left).most_common(LISTED)
    return f"of {count(len(left), 'run')} none fits: " + "; ".join(of_many(why, number) for why, number in reasons)


def named(heads: Sequence[RunHead], now: float) -> list[Sequence[Part]]:
    """The first of the runs, and how many more there are."""
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
        lines.append(((f"… and {count(len(heads) - LISTED, 'more run')}", "dim"),))
    return lines


def left_out(left: Sequence[tuple[RunHead, str]], done: str) -> list[Sequence[Part]]:
    """Runs that a command does not fit, and why."""
    if not left:
        return []
    stay = "stays as it is" if len(left) == 1 else "stay as they are"
    reasons = Counter(why for _, why in left).most_common()
    said = f"{count(len(left), 'more run')} cannot be {done} and {stay}:"
    if len(reasons) == 1:
        they = reasons[0][0].replace("it is", "they are", 1) if len(left) > 1 else reasons[0][0]
        return [((f"{said} {inert(they)}", "dim"),)]
    lines: list[Sequence[Part]] = [((said, "dim"),)]
    lines += [((f"  {inert(of_many(why, number))}", "dim"),) for why, number in reasons[:LISTED]]
    if len(reasons) > LISTED:
        lines.append(((f"  {sum(number for _, number in reasons[LISTED:]):,}: other reasons", "dim"),))
    return lines


def _send(app: FleetConsole, command: Command, heads: Sequence[RunHead], reason: str) -> None:
    if app.may_change(command.verb):
        app.run_worker(partial(_send_all, app, command, heads, reason), group="commands")


async def command_each(
    app: FleetConsole,
    type_: str,
    heads: Sequence[RunHead],
    data: Mapping[str, Any],
    doing: str,
    said: Callable[[RunHead, Result], Answer],
) -> Sent:
    """Send one command to each of these runs; `said` tells what came of one that was not refused."""
    console = app.client
    assert console is not None

    async def send(head: RunHead) -> Answer:
        result = await console.command(type_, head.id, by=app.who, data=dict(data))
        if result.status == "refused":
            raise Refused(result.reason)
        return replace(said(head, result), queued=why_queued(result))

    def named_(head: RunHead) -> str:
        return f"run {short(head.id)}"

    return await send_each(app, heads, send, named_, doing=doing, thing="run", marks=lambda head: (head.id,))


async def _send_all(app: FleetConsole, command: Command, heads: Sequence[RunHead], reason: str) -> None:
    data = {"reason": reason} if reason else {}
    sent = await command_each(
        app, command.type, heads, data, command.doing, lambda head, _: Answer(f"run {short(head.id)}")
    )
    tell(app, command.done, "run", sent)
