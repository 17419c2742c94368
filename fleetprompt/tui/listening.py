"""Hearing what changes: screens are told, what the top of every screen shows is counted again, and the operator is told
when an engine comes or goes."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.errors import explained

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.tui.app import FleetConsole

BEAT = 0.05
"""Seconds between two looks at what has changed."""
REMOTE_BEAT = 0.1
"""The same where every byte goes over a network."""
SHARE = 5
"""The console leaves the loop to the engine for so many times what its own work has taken."""
COUNT_SECONDS = 1.0
"""How often runs are counted, at most."""


def beat() -> float:
    """Seconds between two looks at what has changed."""
    return REMOTE_BEAT if os.environ.get("SSH_CONNECTION") or os.environ.get("FLEET_SSH_PEER") else BEAT


class Listening:
    """What the console hears from its store."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._engine = True
        """An engine ran when it was last looked."""
        self._counted = 0.0
        self._counting = False

    def begin(self, console: Console) -> None:
        """Listen from now on, in place of whatever was listened to before."""
        self._engine = self._app.fleet.live
        self._app.run_worker(self._listen(console), name="listen", group="listen", exclusive=True)

    def note_engine(self, console: Console) -> None:
        """Where the engine is now."""
        self._app.fleet.engine = console.where
        self._app.fleet.holder = console.holder

    async def _listen(self, console: Console) -> None:
        await self._count(console)
        loop = asyncio.get_running_loop()
        async with aclosing(console.changes(beat())) as changes:  # pyright: ignore[reportArgumentType] it is a generator
            async for change in changes:
                began = loop.time()
                try:
                    await self._take(console, change)
                except FleetError as error:
                    self._app.say("error", explained(error))
                # The engine has the loop for most of the time, however much there is to show.
                await asyncio.sleep((loop.time() - began) * SHARE)

    async def _take(self, console: Console, change: Change) -> None:
        app = self._app
        if change.engine != self._engine:
            self._engine = change.engine
            self.note_engine(console)
            app.refresh_bars()
            self._tell_engine(console)
        for screen in app.console_screens():
            if screen.is_current or screen is app.underneath():
                await screen.changed(change)
            else:
                screen.stale = True
        self._count_soon(console)

    def _tell_engine(self, console: Console) -> None:
        app = self._app
        if console.where == "attached":
            app.say("info", "the engine is back")
        elif console.where == "none":
            key = app.keymap.shown(BY_ID["console.engine"])
            can = f" ({key} starts one here)" if app.door.can_start_engine else ""
            app.say("warning", f"the engine is gone: nothing is carried out until one runs{can}")

    # ------------------------------------------------------------ counting

    def _count_soon(self, console: Console) -> None:
        if not self._counting:
            self._counting = True
            wait = max(0.0, self._counted + COUNT_SECONDS - self._app.now())
            self._app.set_timer(max(0.01, min(COUNT_SECONDS, wait)), lambda: self.count_now(console))

    def count_now(self, console: Console) -> None:
        """Count without waiting for a change."""
        self._app.run_worker(self._count(console), name="count", group="count", exclusive=True)

    async def _count(self, console: Console) -> None:
        from fleetprompt.tui.counting import count_fleet

        app = self._app
        self._counting = False
        self._counted = app.now()
        try:
            changed = await count_fleet(app.fleet, console, app.now(), app.times)
        except FleetError as error:
            app.say("error", explained(error))
            return
        if changed:
            app.refresh_bars()
