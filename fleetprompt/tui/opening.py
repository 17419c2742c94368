"""Opening the store and the engine: at first, again after the store was lost, and an engine where none runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from fleetprompt.client.door import Door
from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console, TakenUp
    from fleetprompt.tui.app import FleetConsole

GIVEN_BACK_SECONDS = 2.0
"""How long the engine is left to others after somebody has ended theirs: one that is restarted comes back by then."""


class Opening:
    """The way in."""

    def __init__(
        self, app: FleetConsole, door: Door, link: str, first: Callable[[Console], Awaitable[str]] | None
    ) -> None:
        """`first` is done once the store is open, and says where to go; otherwise `link` does."""
        self._app = app
        self._door = door
        self._link = link
        self._first = first
        self.error: FleetError | None = None
        """Why the store could not be opened."""

    def open(self) -> None:
        """Open the store, and the engine where it is ours; also again, when the store that was open is lost."""
        self._app.fleet.engine = "opening"
        self._app.refresh_bars()
        self._app.run_worker(self._open, name="open", group="open", exclusive=True)

    async def _open(self) -> None:
        app, door = self._app, self._door
        again = app.client is not None
        try:
            if door.behind is not None:
                app.listening.end()
                await door.close()
            await door.open()
        except FleetError as error:
            app.fleet.engine = "failed"
            self.error = error
            app.refresh_bars()
            app.say("error", explained(error))
            for screen in app.console_screens():
                screen.failed(error)
            return
        self.error = None
        app.client = door.as_console
        app.standing.well()
        app.listening.note_engine(app.client)
        app.refresh_bars()
        for screen in app.console_screens():
            await screen.begin(app.client)
        app.listening.begin(app.client)
        if again:
            app.say("info", "the store was opened anew")
        self._tell_taken_up(app.client.taken_up)
        if door.is_to_begin:
            app.run_worker(partial(self._begin_engine, app.client), name="engine", group="engine", exclusive=True)
        await self._go_first(app.client)

    async def _go_first(self, console: Console) -> None:
        """Do what is to be done first, and go where one wanted to be."""
        first, self._first = self._first, None
        try:
            if first is not None:
                self._link = await first(console)
        except FleetError as error:
            self._app.say("error", explained(error))
        if self._link:
            link, self._link = self._link, ""
            await self._app.go_to(link, jump=True)

    # ------------------------------------------------------------ the engine

    async def _begin_engine(self, console: Console) -> None:
        """Have the engine come beside what is shown already."""
        app = self._app
        # It counts as starting from its first moment on.
        app.call_later(self._note_engine, console)
        driven = True
        try:
            await self._door.begin()
        except FleetError as error:
            driven = False
            app.say("error", explained(error))
        self._note_engine(console)
        # What was listened to so far may have missed an engine that has come and gone.
        app.listening.begin(console, driven=driven)
        self._tell_taken_up(console.taken_up)

    def _note_engine(self, console: Console) -> None:
        self._app.listening.note_engine(console)
        self._app.refresh_bars()

    def do_console_engine(self) -> None:
        """Have an engine where none runs."""
        app = self._app
        if app.client is None or app.fleet.engine == "opening" or self._door.behind is None:
            app.say("info", "the store is not open")
        elif app.fleet.live or app.fleet.engine == "silent":
            app.say("info", "an engine runs already" if app.fleet.live else "an engine is there, but does not answer")
        elif self._door.starting:
            app.say("info", "the engine is starting")
        elif not self._door.can_start_engine:
            app.say("warning", "this console is not to run an engine")
        else:
            app.run_worker(partial(self._start_engine, app.client), name="engine", group="engine", exclusive=True)

    def take_up(self) -> None:
        """Have the engine of this console again, unless others come who want it."""
        self._app.set_timer(GIVEN_BACK_SECONDS, self._take_up)

    def _take_up(self) -> None:
        app, door = self._app, self._door
        if app.client is not None and not door.starting and door.is_given_back:
            app.run_worker(partial(self._start_engine, app.client), name="engine", group="engine", exclusive=True)

    async def _start_engine(self, console: Console) -> None:
        app = self._app
        app.call_later(self._note_engine, console)
        try:
            started = await self._door.start_engine()
        except FleetError as error:
            app.say("error", explained(error))
            self._note_engine(console)
            return
        self._note_engine(console)
        app.say("info" if started else "warning", "an engine runs" if started else "no engine could be started")
        app.listening.begin(console, driven=started)
        self._tell_taken_up(console.taken_up)
        for screen in app.console_screens():
            await screen.reload()

    def _tell_taken_up(self, found: TakenUp) -> None:
        """What the engine of this console goes on with."""
        app = self._app
        if found.runs:
            app.say("info", f"taken up again: {count(len(found.runs), 'interrupted run')}")
        if found.in_doubt:
            app.say("warning", f"{count(found.in_doubt, 'step')} in doubt: somebody must say what happened (d)")
        if found.corrupt:
            app.say("error", f"{count(len(found.corrupt), 'run')} cannot be read and stand still: see health (g h)")

    # ------------------------------------------------------------ reading again

    async def do_console_reload(self) -> None:
        """Read everything again; a store that is lost is opened anew."""
        app = self._app
        if app.client is None or self._door.behind is None:
            self.open()
            return
        if app.fleet.trouble and not await app.standing.mend():
            if app.fleet.lost:
                self.open()
            return
        for screen in app.console_screens():
            await screen.reload()
        app.listening.count_now(app.client)
