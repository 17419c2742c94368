"""Commands about signals: published and replayed, and told what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import uuid_utils

from fleetprompt.client.protocol import QUEUED
from fleetprompt.client.wording import ago, count, glyph, short
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import RESERVED, Result, Signal
from fleetprompt.tui.acting import LISTED
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.publish import PublishDialog
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.publish import Written
from fleetprompt.tui.state.signals import SignalRow

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

TOLD = 3
"""Refusals that are shown at once; all of them are among the messages."""


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


def replay(app: FleetConsole, rows: Sequence[SignalRow]) -> None:
    """Publish copies of signals, after the operator has said yes: what they did is done again."""
    fitting = [row for row in rows if not row.signal.type.startswith(RESERVED)]
    if not fitting:
        what = f"{rows[0].signal.type} is" if len(rows) == 1 else "these are"
        app.say(
            "warning", f"{what} the engine's own: there is nothing to replay" if rows else "there is no signal here"
        )
        return
    lines: list[Sequence[Part]] = [
        (
            (f"{glyph(row.status)} ", row.status),
            (inert(row.signal.type[:60]), "strong"),
            (f"  {inert(row.signal.source[:40])}  {ago(app.now() - row.signal.at)}", "dim"),
        )
        for row in fitting[:LISTED]
    ]
    if len(fitting) > LISTED:
        lines.append(((f"… and {len(fitting) - LISTED:,} more", "dim"),))
    if len(rows) > len(fitting):
        own = count(len(rows) - len(fitting), "signal")
        lines.append(((f"{own} of the engine's own cannot be replayed", "dim"),))
    lines.append((("a copy is published as a new signal, without its key: what listens does it again", "dim"),))

    def answered(yes: bool | None) -> None:
        if yes and app.may_change("replay"):
            app.run_worker(partial(_replay, app, fitting), group="commands", exit_on_error=False)

    app.push_screen(Confirm(f"replay {count(len(fitting), 'signal')}?", lines, "replay", danger=False), answered)


async def _replay(app: FleetConsole, rows: Sequence[SignalRow]) -> None:
    console = app.client
    assert console is not None
    done = 0
    last = ""
    refused: list[str] = []
    # The oldest first, as they came.
    for row in sorted(rows, key=lambda row: row.signal.sequence):
        try:
            published = await console.replay(row.signal.id, by=app.who)
        except FleetError as error:
            refused.append(f"{row.signal.type}: {error.message}")
            continue
        done += 1
        last = came_of(published.routed, published.results)
    if done:
        said = f"{rows[0].signal.type} — {last}" if len(rows) == 1 else count(done, "signal")
        app.say("info", f"replayed: {said}")
    for at, text in enumerate(refused):
        app.say("error", f"not replayed: {text}", quiet=at >= TOLD)
