"""How the store stands: that it cannot be read is said once, shown by the frame, and looked at until it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.client.protocol import Disconnected
from fleetprompt.client.switching import MEANS
from fleetprompt.engine.core.errors import FleetError, StoreLost, StoreUnavailable
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.errors import explained

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import StoreHealth
    from fleetprompt.tui.app import FleetConsole

LONGEST_REST = 10
"""Seconds between two tries to read a store that stays as it is."""


class Standing:
    """What is known of the store beyond what can be read from it."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._rest = self._waited = 1
        """Seconds until the next try."""

    def tell(self, error: FleetError) -> None:
        """Say what went wrong while something was read that nobody had asked for just then."""
        if isinstance(error, StoreUnavailable):
            self.note(error)
        else:
            self._app.say("error", explained(error))

    def note(self, error: StoreUnavailable) -> None:
        """The store cannot be read: say so unless that was said already."""
        app, fleet = self._app, self._app.fleet
        if app.door.behind is None:
            # It is on its way, or it was said that it cannot be opened.
            return
        if isinstance(error, Disconnected):
            # Whoever listens tells that, and reads again when it is over, which it may be by now.
            return
        lost = isinstance(error, StoreLost)
        # How a store that is lost goes on being lost is nothing new.
        told = fleet.lost or (fleet.trouble, lost) == (error.message, False)
        fleet.trouble, fleet.lost = error.message, fleet.lost or lost
        if told:
            return
        self._rest = self._waited = 1
        app.refresh_bars()
        key = app.keymap.shown(BY_ID["console.reload"])
        again = f" ({key} opens it anew)" if lost else f" ({key} reads again)"
        app.say("error", f"{error.code}: {explained(error)}{again}")

    def well(self) -> None:
        """The store can be read."""
        self._app.fleet.trouble, self._app.fleet.lost = "", False

    async def look(self) -> StoreHealth | None:
        """Look at the store, wherever the engine is; None where it cannot be read, which is noted."""
        app = self._app
        if app.client is None:
            return None
        try:
            store = (await app.client.health()).store
            if not store.error:
                await self._look_at_switch(app.client)
        except FleetError as error:
            self.tell(error)
            return None
        if not store.error:
            return store
        kind = StoreLost if store.lost else StoreUnavailable
        self.note(kind(store.error, where=store.where, hint=store.hint))
        return None

    async def _look_at_switch(self, console: Console) -> None:
        app, found = self._app, await console.switch()
        if found.position == app.fleet.switch:
            return
        app.fleet.switch = found.position
        app.refresh_bars()
        for screen in app.console_screens():
            # Why runs do nothing stands in their rows, as what they ask does.
            screen.fleet_changed()
        why = f": {found.reason}" if found.reason else ""
        level = "info" if found.position == "on" else "warning"
        app.say(level, f"the fleet is {found.position}, {MEANS[found.position]} ({found.by}{why})")

    def tick(self) -> None:
        """A second has passed."""
        if self._app.fleet.trouble and self._app.fleet.engine not in ("opening", "failed"):
            self._waited -= 1
            if self._waited <= 0:
                self._waited = self._rest = min(LONGEST_REST, self._rest * 2)
                self._app.run_worker(self.mend, group="mend", exclusive=True)

    async def mend(self) -> bool:
        """Read again what is shown; whether that is possible."""
        app = self._app
        screen = app.underneath()
        if await self.look() is None or app.client is None:
            return False
        try:
            await app.listening.count(app.client)
            if screen is not None:
                await screen.reload()
        except FleetError as error:
            self.tell(error)
            return False
        if screen is not None and isinstance(screen.error, StoreUnavailable):
            self.note(screen.error)
            return False
        if app.fleet.trouble:
            self.well()
            app.refresh_bars()
            app.say("info", "the store can be read again")
            for each in app.console_screens():
                each.stale = each is not screen
        return True
