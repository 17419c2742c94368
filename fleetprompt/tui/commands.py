"""What is chosen from the menus and typed into the palette, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.screens.base import ConsoleScreen


class Commands:
    """The menus of the console."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app

    def do_console_menu(self) -> None:
        """Everything that can be done here, searchable."""
        from fleetprompt.tui.screens.menus import menu

        screen = self._app.underneath()
        if screen is not None:
            picker = menu(screen.actions(), self._app.keymap, read_only=self._app.read_only)
            self._app.push_screen(picker, self._chosen)

    def do_go_menu(self) -> None:
        """Where to go, by one more letter."""
        from fleetprompt.tui.screens.menus import GoMenu

        self._app.push_screen(GoMenu(), self._chosen)

    async def _chosen(self, id_: str | None) -> None:
        if id_:
            await self._app.perform(id_)

    def do_console_palette(self) -> None:
        """Commands and places, by name."""
        from fleetprompt.tui.screens.menus import palette

        screen = self._app.underneath()
        if screen is not None:
            self._app.push_screen(palette(self._app, screen.actions()), self._commanded)

    async def _commanded(self, command: str | None) -> None:
        verb, _, rest = (command or "").partition(" ")
        screen = self._app.underneath()
        if verb == "do":
            await self._app.perform(rest)
        elif verb == "go":
            await self._app.go_to(rest)
        elif verb in ("save", "forget") and screen is not None:
            self._keep_view(screen, verb, rest.strip())
        elif verb in ("q", "quit"):
            await self._app.perform("console.quit")
        elif command:
            await self._app.go_to(command)

    def _keep_view(self, screen: ConsoleScreen, verb: str, name: str) -> None:
        try:
            if verb == "save":
                screen.save_view(name)
            else:
                self._app.views.forget(name)
                self._app.say("info", f"forgotten: {name}")
        except FleetError as error:
            self._app.say("error", explained(error))
