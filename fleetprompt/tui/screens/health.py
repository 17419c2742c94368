"""The engine and its store, looked at once a second while somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.health import HealthView
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console


class HealthScreen(ConsoleScreen):
    """How the engine is."""

    PLACES: ClassVar = ("health",)
    NAME: ClassVar = "health"

    def body(self) -> ComposeResult:
        self.health = HealthView(self.app.times)
        lines = Lines(self.health.rows)
        lines.empty = (("looking…", "dim"),)
        yield lines

    async def on_mount(self) -> None:
        self.query_one(Lines).focus()

    async def opened(self, console: Console) -> None:
        """Look for the first time."""
        await self._look()

    async def _look(self) -> None:
        try:
            self.health.take(await self.client.health())
            self.error = None
        except FleetError as error:
            self.failed(error)
        self.query_one(Lines).renew()

    def failed(self, error: FleetError) -> None:
        """Say why above what was known last."""
        super().failed(error)
        self.health.fail(error, self.app.now())
        self.query_one(Lines).renew()

    async def changed(self, change: Change) -> None:
        """What goes wrong, and an engine that goes or comes, is seen at once."""
        if change.troubles or (change.engine and not change.silent) != self.health.drives():
            await self._look()

    async def reload(self) -> None:
        """Look again."""
        await self._look()

    def tick(self) -> None:
        """Look again."""
        self.run_worker(self._look, group="look", exclusive=True)
