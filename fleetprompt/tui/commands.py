"""What is chosen from the menus and typed into the palette, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.links import ALIASES, SCREENS

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
            picker = menu(screen.actions(), screen.keymap, read_only=self._app.read_only)
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
            self._app.push_screen(palette(self._app, screen.actions(), screen.keymap), self._commanded)

    async def _commanded(self, command: str | None) -> None:
        command = (command or "").lstrip(":")
        verb, _, rest = command.partition(" ")
        screen = self._app.underneath()
        if verb == "do":
            await self._app.perform(rest)
        elif verb == "go":
            await self._app.go_to(rest)
        elif verb in ("save", "forget") and screen is not None:
            self._keep_view(screen, verb, rest.strip())
        elif verb in ("q", "quit"):
            await self._app.perform("console.quit")
        elif command and screen is not None:
            await self._typed(screen, command)

    async def _typed(self, screen: ConsoleScreen, command: str) -> None:
        """A place to go to, or nothing that is known."""
        word = command.partition(" ")[0]
        if word in (*SCREENS, *ALIASES):
            await self._app.go_to(command)
            return
        verbs = [action.verb for action in screen.actions() if action.verb]
        if alone := next((verb for verb in verbs if command.startswith(f"{verb} ")), ""):
            self._app.say("error", f"`{alone}` takes no argument: it is done to what is selected here")
            return
        from fleetprompt.engine.core.closest import did_you_mean

        known = [*verbs, *SCREENS, *ALIASES, "save", "forget"]
        hint = did_you_mean(command, known) or did_you_mean(word, known) or "? lists what can be done here"
        self._app.say("error", f"there is no command and no place `{word}` — {hint}")

    def _keep_view(self, screen: ConsoleScreen, verb: str, name: str) -> None:
        views = self._app.views
        aside = views.aside
        try:
            if verb == "save":
                screen.save_view(name)
            else:
                views.forget(name)
                self._app.say("info", f"forgotten: {name}")
        except FleetError as error:
            self._app.say("error", explained(error))
        if views.aside != aside:
            self._app.say("warning", f"the saved views that could not be read are in {views.aside} now")
