"""Commands about signals: published and replayed, and told what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import uuid_utils
from msgspec import Struct, field
from msgspec.structs import replace

from fleetprompt.client.protocol import QUEUED, Console, Foreseen, ReplayRange, why_queued
from fleetprompt.client.wording import ago, count, short
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import FleetError, Refused
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import Result, Signal, replayable
from fleetprompt.tui.acting import LISTED
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.gathering import Told, gathered
from fleetprompt.tui.screens.publish import PublishDialog
from fleetprompt.tui.sending import Answer, send_each, tell, under_way
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.publish import Written

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

FORESEEN = 2000
"""Signals of which it is told what would come of them."""
MOST_LETTERS = 10_000
"""Signals whose dead letters are looked for at once."""
PORTION = 200
"""Signals that are read at once."""


def publish(app: FleetConsole, types: Sequence[str]) -> None:
    """Have a signal written, and publish it."""

    def written(wanted: Written | None) -> None:
        if wanted is not None and app.may_change("publish"):
            app.run_worker(partial(_publish, app, wanted), group="commands", exit_on_error=False)

    app.push_screen(PublishDialog(types), written)


async def _publish(app: FleetConsole, written: Written) -> None:
    console = app.client
    assert console is not None
    sent = Signal(
        id=str(uuid_utils.uuid7()),
        type=written.type,
        source=f"console/{app.who}",
        at=app.now(),
        data=written.data,
        subject=written.subject,
        key=written.key,
        by=app.who,
    )
    try:
        with under_way(app, "publishing", written.type):
            stored, duplicate = await console.publish(sent)
        if duplicate:
            app.say("warning", f"{written.type}: a signal with this key was published before, {stored.type}")
            return
        routed, results = await console.outcome(stored.id)
    except FleetError as error:
        app.say("error", f"{written.type} is not published: {error.message}")
        return
    app.say("info" if routed else "warning", f"published: {written.type} — {came_of(routed, results)}")


def came_of(routed: bool, results: Sequence[Result]) -> str:
    """What came of a signal, in a few words."""
    runs = [result.run for result in results if result.status == "accepted" and result.run]
    refused = next((result.reason for result in results if result.status == "refused"), "")
    said = [f"run {short(runs[0])}" if len(runs) == 1 else count(len(runs), "run")] if runs else []
    said += [f"refused: {refused}"] if refused else []
    return "; ".join(said) or ("nobody listened" if routed else QUEUED)


class Replayed(Struct):
    """Signals of which copies can be published, the oldest first, and how many cannot."""

    fitting: list[Signal] = field(default_factory=list[Signal])
    """Without what they carry."""
    own: str = ""
    """The type of one that is the engine's own."""
    owned: int = 0
    gone: int = 0
    foreseen: Foreseen | None = None
    """What would come of it; None where there are too many to tell."""


async def replay(app: FleetConsole, ids: Sequence[str]) -> None:
    """Publish copies of signals, after the operator has said yes: what they did is done again."""
    console = app.client
    if console is None or not app.may_change("replay"):
        return
    await gathered(app, "reading what is marked", len(ids), partial(_found, console, ids), partial(_ask_replay, app))


async def _found(console: Console, ids: Sequence[str], told: Told) -> Replayed:
    found = Replayed()
    for at in range(0, len(ids), PORTION):
        portion = ids[at : at + PORTION]
        read = await console.signals_of(portion)
        found.gone += len(portion) - len(read)
        for signal in read:
            if not replayable(signal.type):
                found.own, found.owned = signal.type, found.owned + 1
            else:
                found.fitting.append(replace(signal, data=None))
        told(at + len(portion))
    found.fitting.sort(key=lambda signal: signal.sequence)
    if 0 < len(found.fitting) <= FORESEEN:
        wanted = tuple(signal.id for signal in found.fitting)
        found.foreseen = await console.foresee_replay(ReplayRange(filter="", ids=wanted, limit=FORESEEN))
    return found


def _ask_replay(app: FleetConsole, found: Replayed) -> None:
    fitting = found.fitting
    if not fitting:
        what = f"{found.own} is" if found.owned == 1 else "these are"
        own = f"{what} the engine's own: there is nothing to replay"
        app.say("warning", own if found.owned else "there is no signal here")
        return
    lines: list[Sequence[Part]] = [
        (
            (inert(signal.type[:60]), "strong"),
            (f"  {inert(signal.source[:40])}  {ago(app.now() - signal.at)}", "dim"),
        )
        for signal in fitting[:LISTED]
    ]
    if len(fitting) > LISTED:
        lines.append(((f"… and {count(len(fitting) - LISTED, 'more signal')}", "dim"),))
    if found.owned:
        lines.append(((f"{count(found.owned, 'signal')} of the engine's own cannot be replayed", "dim"),))
    if found.gone:
        lines.append(((f"{count(found.gone, 'signal')} no longer in the store", "dim"),))
    lines += _foreseen_lines(found.foreseen)
    lines.append((("a copy is published as a new signal, without its key: what listens does it again", "dim"),))
    lines.append((("subscriptions do not hear of what comes of it", "dim"),))

    def answered(yes: bool | None) -> None:
        if yes and app.may_change("replay"):
            app.run_worker(partial(_replay, app, fitting), group="commands")

    app.push_screen(Confirm(f"replay {count(len(fitting), 'signal')}?", lines, "replay", danger=False), answered)


def _foreseen_lines(found: Foreseen | None) -> list[Sequence[Part]]:
    """What would come of a replay, in a few lines."""
    if found is None:
        return []
    lines: list[Sequence[Part]] = [
        (("starts ", "dim"), (inert(workflow[:40]), "strong"), (f"  {count(n, 'run')}", "dim"))
        for workflow, n in list(found.starts.items())[:LISTED]
    ]
    lines += [
        (("cannot start ", "refused"), (inert(workflow[:40]), "strong"), (f"  {n:,}×: {inert(why[:100])}", "dim"))
        for workflow, why, n in found.problems[:LISTED]
    ]
    if found.wakes:
        lines.append(((f"reaches {count(found.wakes, 'step')} that wait now", "dim"),))
    if found.silent:
        lines.append(((f"{found.silent:,} start nothing", "dim"),))
    return lines


async def letters(app: FleetConsole, ids: Sequence[str], *, dismissed: bool) -> None:
    """Try again what signals could not start, or be delivered to, or let it be; after the operator has said yes."""
    console = app.client
    if console is None or not app.may_change("dismiss" if dismissed else "try again"):
        return
    try:
        found = [each for each in await console.letters_of(ids[:MOST_LETTERS]) if each.status == "dead"]
    except FleetError as error:
        app.say("error", error.message)
        return
    if not found:
        app.say("warning", "nothing of it is dead: what it was to start was started")
        return
    lines: list[Sequence[Part]] = [
        ((inert(each.place[:60]), "strong"), (f"  {inert(each.type[:40])}  {inert(each.reason[:100])}", "dim"))
        for each in found[:LISTED]
    ]
    if len(found) > LISTED:
        lines.append(((f"… and {count(len(found) - LISTED, 'more dead letter')}", "dim"),))
    told = "nothing more is to come of it" if dismissed else "nothing else that these signals have done is done again"
    lines.append(((told, "dim"),))
    verb = "dismiss" if dismissed else "try again"

    def answered(yes: bool | None) -> None:
        if yes and app.may_change(verb):
            app.run_worker(partial(_settle, app, found, dismissed), group="commands")

    app.push_screen(Confirm(f"{verb}: {count(len(found), 'dead letter')}?", lines, verb, danger=False), answered)


async def _settle(app: FleetConsole, found: Sequence[DeadLetter], dismissed: bool) -> None:
    console = app.client
    assert console is not None

    async def send(letter: DeadLetter) -> Answer:
        if dismissed:
            result = await console.dismiss_letters([letter.id], by=app.who)
        else:
            result = await console.replay_letter(letter.id, by=app.who)
        if result.status == "refused":
            raise Refused(result.reason)
        return Answer(inert(letter.place), queued=why_queued(result), run=result.run)

    sent = await send_each(
        app,
        found,
        send,
        lambda letter: inert(letter.place),
        doing="dismissing" if dismissed else "trying again",
        thing="dead letter",
        at_once=1,
        marks=lambda letter: (letter.signal,),
    )
    tell(app, "dismissed" if dismissed else "tried again", "dead letter", sent)


async def _replay(app: FleetConsole, signals: Sequence[Signal]) -> None:
    console = app.client
    assert console is not None
    # Of one answer each copy is published once, whatever has to be sent again.
    named = uuid_utils.uuid7()

    async def send(signal: Signal) -> Answer:
        published = await console.replay(signal.id, by=app.who, key=f"replay/{named}/{signal.id}")
        return Answer(f"{inert(signal.type)} — {came_of(published.routed, published.results)}")

    # One after another, in the order in which they came.
    sent = await send_each(
        app,
        signals,
        send,
        lambda signal: inert(signal.type),
        doing="replaying",
        thing="signal",
        at_once=1,
        marks=lambda signal: (signal.id,),
    )
    tell(app, "replayed", "signal", sent)
