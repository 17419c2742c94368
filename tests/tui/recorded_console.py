"""A console over recorded journals, the same on every machine: its time, zone, colours and names are given."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal

from textual._callback import invoke
from textual.pilot import Pilot
from textual.timer import Timer
from textual.widgets import Input

import fleetprompt.tui
from fleetprompt.client.opening import open_console
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times
from fleetprompt.engine.runtime.lock import EngineLock
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.settings import ConsoleSettings
from tests.tui.recorded import NOW, RecordedProject
from tests.tui.recorded_picture import picture

ME = "ana"
PROJECT = "shop"
Engine = Literal["embedded", "attached", "none"]
PATIENCE = 120.0
"""Seconds; a bound for a machine under load, not a measure."""
EARLIER = 30.0
"""Seconds before the picture at which the console is opened."""
PAUSE = 0.5
"""Seconds between two keys, as the console sees it."""
LASTING = ("listen", "overhear")
"""Workers that go on as long as the console is open."""


class Still:
    """A clock that stands still unless it is told another time."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.at


class StillConsole(FleetConsole):
    """The console, except that nothing moves by itself, and that its pictures have what can be seen and no more."""

    CSS_PATH = Path(fleetprompt.tui.__file__).with_name("console.tcss")

    def __init__(self, opening: Callable[[], Awaitable[Console]], **options: Any) -> None:
        self.clock = Still(NOW - EARLIER)
        super().__init__(
            opening, **({"who": ME, "project": PROJECT, "times": Times(UTC), "now": self.clock.now} | options)
        )
        self.animation_level = "none"

    def _tick(self) -> None:
        """Seconds pass when they are told to."""

    async def on_unmount(self) -> None:
        """The picture is taken."""
        if self.client is not None:
            await self.client.close()

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """The picture as an SVG that is small and can be compared line by line."""
        return picture(self)


def still(
    project: RecordedProject,
    *,
    engine: Engine = "embedded",
    zone: tzinfo = UTC,
    light: bool = False,
    **options: Any,
) -> StillConsole:
    """A console over a project whose store holds recorded journals. With the engine `attached`, somebody else holds
    its lock; with `none` nobody does. No engine takes up what was running."""
    locks: list[EngineLock] = []

    async def opening() -> Console:
        if engine == "attached" and project.place.lock is not None:
            locks.append(EngineLock(project.place.lock))
            locks[0].acquire("fleet serve")
        console = await open_console(project.place, "engine" if engine == "embedded" else "attach")
        console.clock = Still()
        return console

    return StillConsole(opening, times=Times(zone), settings=ConsoleSettings(light=light), **options)


async def settled(pilot: Pilot[Any]) -> None:
    """Until everything is read and painted, and nothing blinks or goes away by itself. What would happen in a moment
    happens at once: some of it comes a second or two after the last time, so as not to come too often."""
    app = pilot.app
    assert isinstance(app, StillConsole)
    deadline = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 2:
        assert time.monotonic() < deadline, f"still busy: {app.workers} {due(app)}"
        app.clear_notifications()
        await pilot.pause()
        working = [worker for worker in app.workers if not worker.is_finished and worker.name not in LASTING]
        opened = app.client is not None or app.fleet.engine == "failed"
        timers = due(app)
        quiet = quiet + 1 if opened and not working and not timers else 0
        if opened and not working:
            for timer in timers:
                timer.stop()
                assert timer._callback is not None
                await invoke(timer._callback)
    for screen in app.screen_stack:
        for box in screen.query(Input):
            box.cursor_blink = False
    await pilot.pause()


async def posed(pilot: Pilot[Any]) -> None:
    """It is the time of the picture, and everything is painted as it is then."""
    app = pilot.app
    assert isinstance(app, StillConsole)
    app.clock.at = NOW
    await settled(pilot)
    if app.client is not None:
        app.listening.count_now(app.client)
        await settled(pilot)
        for screen in app.console_screens():
            screen.tick()
    app.repaint()
    await settled(pilot)


def due(app: StillConsole) -> list[Timer]:
    """What will happen once, in a moment."""
    nodes = [app, *app.screen_stack, *(node for screen in app.screen_stack for node in screen.walk_children())]
    timers = [timer for node in nodes for timer in node._timers if timer._repeat == 0]
    return [timer for timer in timers if timer._task is not None and not timer._task.done()]


def pressing(*keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Press keys one by one, each when everything is painted; `text:…` enters a text at once, as pasting does: what a
    list shows between two letters depends on how fast one types."""

    async def press(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, StillConsole)
        await settled(pilot)
        for left, key in reversed(list(enumerate(reversed(keys)))):
            app.clock.at = NOW - left * PAUSE
            box = pilot.app.focused
            if key.startswith("text:"):
                assert isinstance(box, Input)
                box.insert_text_at_cursor(key.removeprefix("text:"))
            else:
                await pilot.press(key)
            await settled(pilot)
        await posed(pilot)

    return press
