"""Leaving the console: it is asked about where runs would stand still without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


class Leaving:
    """The way out."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app

    async def do_console_quit(self) -> None:
        """Leave; where runs would stop with the engine of this console, it is asked about first."""
        running = await self._at_work()
        if not running or not self._app.door.ends_engine:
            self._app.exit(0)
            return
        from fleetprompt.tui.screens.dialog import Confirm

        lines: list[Sequence[Part]] = [
            ((f"{count(running, 'run')} at work now, by the engine of this console.", ""),),
            (("Steps have a moment to finish; then the runs stand still, with all that is recorded,", "dim"),),
            (("until an engine runs again: `fleet`, or `fleet recover`.", "dim"),),
        ]
        self._app.push_screen(Confirm("Leave?", lines, "leave", danger=False), self._leave)

    async def _at_work(self) -> int:
        """How many runs do something now: not a moment ago, as the top of the screen may say."""
        if self._app.client is None:
            return 0
        try:
            return await self._app.client.count("status:running")
        except FleetError:
            return self._app.fleet.counts.get("running", 0)

    def _leave(self, yes: bool | None) -> None:
        if yes:
            self._app.exit(0)
