"""Commands about schedules: several are asked about, and what came of each is told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from fleetprompt.client.protocol import why_queued
from fleetprompt.client.wording import count, glyph, short
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.acting import LISTED
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.sending import under_way
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.schedules import ScheduleEntry

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.core.signal import Result
    from fleetprompt.tui.app import FleetConsole

Verb = Literal["fire", "pause", "resume"]
_DOING = {"fire": "firing", "pause": "pausing", "resume": "resuming"}
_DONE = {"fire": "fired", "pause": "paused", "resume": "resumed"}
_SAID = {
    "fire": "each starts a run now, unless it may not overlap one that goes on",
    "pause": "they start nothing until they are resumed; what they let go by is not made up for",
    "resume": "they come again from now on",
}


def act(app: FleetConsole, verb: Verb, entries: Sequence[ScheduleEntry]) -> None:
    """Do something to schedules: to one at once, to several after the operator has said yes."""
    fitting = [entry for entry in entries if _fits(verb, entry)]
    if not fitting:
        app.say("warning", _unfit(verb, entries))
        return
    if len(fitting) == 1:
        _act_soon(app, verb, fitting)
        return
    lines: list[Sequence[Part]] = [
        ((f"{glyph(entry.state.status)} ", entry.state.status), (inert(entry.name), "strong"))
        for entry in fitting[:LISTED]
    ]
    if len(fitting) > LISTED:
        lines.append(((f"… and {len(fitting) - LISTED:,} more", "dim"),))
    lines.append(((_SAID[verb], "dim"),))

    def answered(yes: bool | None) -> None:
        if yes:
            _act_soon(app, verb, fitting)

    app.push_screen(Confirm(f"{verb} {count(len(fitting), 'schedule')}?", lines, verb), answered)


def _fits(verb: Verb, entry: ScheduleEntry) -> bool:
    return entry.state.kind == "schedule" if verb == "fire" else entry.state.paused == (verb == "resume")


def _unfit(verb: Verb, entries: Sequence[ScheduleEntry]) -> str:
    if not entries:
        return f"there is no schedule to {verb}"
    if len(entries) > 1:
        return f"of {count(len(entries), 'schedule')} there is none to {verb}"
    if verb == "fire":
        return f"{entries[0].name} watches files: it starts a run when one changes"
    if verb == "pause":
        return f"{entries[0].name} is paused already"
    off = entries[0].state.status == "off"
    return f"{entries[0].name} is not paused" + (f": its workflow is {entries[0].state.workflow_status}" if off else "")


def _act_soon(app: FleetConsole, verb: Verb, entries: Sequence[ScheduleEntry]) -> None:
    if app.may_change(verb):
        app.run_worker(partial(_act, app, verb, entries), group="commands")


async def _act(app: FleetConsole, verb: Verb, entries: Sequence[ScheduleEntry]) -> None:
    console = app.client
    assert console is not None
    done: list[str] = []
    queued = run = ""
    for entry in entries:
        try:
            with under_way(app, _DOING[verb], entry.name):
                result = await _send(console, verb, entry.name, app.who)
        except FleetError as error:
            app.say("error", f"{entry.name} is not {_DONE[verb]}: {error.message}")
            continue
        if result.status == "refused":
            app.say("error", f"{entry.name} is not {_DONE[verb]}: {result.reason}")
            continue
        queued = why_queued(result) or queued
        run = str(mapping(result.data).get("run") or "")
        done.append(entry.key)
    app.tell_done(done)
    if done:
        named = done[0] if len(done) == 1 else count(len(done), "schedule")
        more = f", run {short(run)}" if run and len(done) == 1 else ""
        app.say("warning" if queued else "info", f"{_DONE[verb]}: {named}{more}{' — ' + queued if queued else ''}")


async def _send(console: Console, verb: Verb, name: str, who: str) -> Result:
    if verb == "fire":
        return await console.fire(name, by=who)
    return await console.set_schedule(name, "paused" if verb == "pause" else "active", by=who)
