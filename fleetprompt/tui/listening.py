"""Hearing what changes: screens are told, what the top of every screen shows is counted again, and the operator is told
when an engine comes or goes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.painting import is_remote

if TYPE_CHECKING:
    from fleetprompt.client.door import Door
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.tui.app import FleetConsole

BEAT = 0.05
"""Seconds between two looks at what has changed."""
REMOTE_BEAT = 0.1
"""The same where every byte goes over a network, and where a daemon answers many who look at the same time."""
SHARE = 5
"""The console leaves the loop to the engine for so many times what its own work has taken."""
COUNT_SECONDS = 1.0
"""How often runs are counted, at most."""


def beat(door: Door) -> float:
    """Seconds between two looks at what has changed."""
    return REMOTE_BEAT if is_remote() or door.is_served else BEAT


class Listening:
    """What the console hears from its store."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._engine = (True, False)
        """Whether an engine ran when it was last looked, and whether it was silent."""
        self._missed = False
        """It was told that there is none."""
        self._counted = 0.0
        self._counting = False

    def begin(self, console: Console, *, driven: bool | None = None) -> None:
        """Listen from now on, in place of whatever was listened to before.

        `driven`: there was an engine a moment ago, or there was none; by default it is looked. Whatever is otherwise by
        now is told, also that one which was silent answers.
        """
        driven = console.where != "none" if driven is None else driven
        self._engine = (driven, driven and self._engine[1])
        self._app.run_worker(partial(self._listen, console), name="listen", group="listen", exclusive=True)

    def end(self) -> None:
        """Listen no more."""
        self._app.workers.cancel_group(self._app, "listen")

    def note_engine(self, console: Console) -> None:
        """Where the engine is now."""
        fleet = self._app.fleet
        silent = self._engine == (True, True) and console.where == "attached"
        fleet.engine = "starting" if self._app.door.starting else "silent" if silent else console.where
        fleet.holder = console.holder
        self._note_away(self._app.door.lost)

    def _note_away(self, why: str) -> None:
        app, before = self._app, self._app.fleet.away
        app.fleet.away = inert(why)
        if bool(why) != bool(before):
            app.repaint()
            # What can be decided is other than it was.
            app.tell_voting()
        if app.fleet.away and app.fleet.away != before:
            self._missed = True
            # How it goes on to be out of reach is nothing new; that it does not let one in any more is.
            quiet = bool(before) and not app.door.refused
            key = app.keymap.shown(BY_ID["console.engine"])
            can = f" ({key} runs an engine here)" if app.door.can_start_engine else ""
            said = f"{why}: what is shown is as it was, and nothing can be changed until it is back{can}"
            app.say("warning", said, quiet=quiet)

    async def _listen(self, console: Console) -> None:
        await self._count(console)
        loop = asyncio.get_running_loop()
        async with aclosing(console.changes(beat(self._app.door))) as changes:
            async for change in changes:
                began = loop.time()
                try:
                    await self._take(console, change)
                except FleetError as error:
                    self._app.standing.tell(error)
                except NoMatches:
                    if self._app.is_running:
                        raise
                    return  # What was to be drawn has been taken down meanwhile.
                # The engine has the loop for most of the time, however much there is to show.
                await asyncio.sleep((loop.time() - began) * SHARE)

    async def _take(self, console: Console, change: Change) -> None:
        app = self._app
        if change.engine:
            app.door.note_engine()
        if (change.engine, change.silent) != self._engine or inert(app.door.lost) != app.fleet.away:
            self._engine = (change.engine, change.silent)
            self.note_engine(console)
            app.refresh_bars()
            for screen in app.console_screens():
                screen.fleet_changed()
            await self._tell_engine()
        if app.fleet.away:
            # What is shown stays as it was: nothing can be read.
            return
        if change.troubles:
            await app.standing.look()
        for screen in app.console_screens():
            if screen.is_current or screen is app.underneath():
                await screen.changed(change)
            else:
                screen.stale = True
        self._count_soon(console)

    async def _tell_engine(self) -> None:
        app = self._app
        driven, silent = self._engine
        if app.fleet.away:
            return
        if silent:
            self._missed = True
            who = app.fleet.holder
            app.say("warning", f"the engine does not answer ({who}): what is asked for is recorded until it does")
        elif driven and self._missed:
            self._missed = False
            app.say("info", "the engine is back")
            self.read_again()
        elif not driven and app.door.is_given_back and app.door.can_start_engine:
            app.say("info", "whoever held the engine has left: this console starts its own again")
            app.opening.take_up()
        elif not driven:
            self._missed = True
            key = app.keymap.shown(BY_ID["console.engine"])
            can = f" ({key} starts one here)" if app.door.can_start_engine else ""
            words = await app.door.last_words()
            ended = f" ({words})" if words else ""
            app.say("warning", f"the engine is gone{ended}: nothing is carried out until one runs{can}")

    def read_again(self) -> None:
        """Read everything that is shown at once: changes may have been missed."""
        self._app.run_worker(self._read_again, name="again", group="again", exclusive=True)

    async def _read_again(self) -> None:
        app, current = self._app, self._app.underneath()
        if app.client is None or app.door.behind is None:
            return
        for screen in app.console_screens():
            screen.stale = screen is not current
        try:
            if current is not None:
                await current.reload()
            await self.count(app.client)
        except FleetError as error:
            app.standing.tell(error)

    # ------------------------------------------------------------ counting

    def _count_soon(self, console: Console) -> None:
        if not self._counting:
            self._counting = True
            wait = max(0.0, self._counted + COUNT_SECONDS - self._app.now())
            self._app.set_timer(max(0.01, min(COUNT_SECONDS, wait)), lambda: self.count_now(console))

    def count_now(self, console: Console) -> None:
        """Count without waiting for a change."""
        self._app.run_worker(partial(self._count, console), name="count", group="count", exclusive=True)

    async def _count(self, console: Console) -> None:
        try:
            await self.count(console)
        except FleetError as error:
            self._app.standing.tell(error)

    async def count(self, console: Console) -> None:
        """Count what the top of every screen shows. Raises `FleetError`."""
        from fleetprompt.tui.counting import count_fleet

        app = self._app
        self._counting = False
        self._counted = app.now()
        asking = app.fleet.asking
        if await count_fleet(
            app.fleet, console, app.now(), app.times, app.who, app.groups, votes=not app.votes_not_why
        ):
            app.refresh_bars()
        if app.fleet.asking != asking:
            for screen in app.console_screens():
                screen.fleet_changed()
