"""What is chosen from the menus and typed into the palette, and what becomes of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.links import ALIASES, SCREENS

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.screens.base import ConsoleScreen

QUIT = ("q", "quit")
NAMED = ("save", "forget")
"""Commands that need the name of a view."""


class Commands:
    """The menus of the console."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app

    def do_console_menu(self) -> None:
        """Everything that can be done here, searchable."""
        from fleetprompt.tui.screens.menus import menu

        screen = self._app.underneath()
        if screen is not None:
            picker = menu(screen.actions(), screen.keymap, read_only=self._app.only_looks)
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
            asked = palette(self._app, screen.actions(), screen.keymap, partial(self._refused, screen))
            self._app.push_screen(asked, self._commanded)

    async def _commanded(self, command: str | None) -> None:
        command = (command or "").lstrip(":")
        verb, _, rest = command.partition(" ")
        screen = self._app.underneath()
        if verb == "do":
            await self._app.perform(rest)
        elif verb == "go":
            await self._app.go_to(rest, jump=True)
        elif verb in NAMED and screen is not None:
            self._keep_view(screen, verb, rest.strip())
        elif verb in QUIT:
            await self._app.perform("console.quit")
        elif command:
            await self._app.go_to(command, jump=True)

    def _refused(self, screen: ConsoleScreen, typed: str) -> str:
        """Why what was typed is neither a command nor a place; empty for one that is."""
        command = typed.lstrip(":")
        word = command.partition(" ")[0]
        if word in (*SCREENS, *ALIASES, *NAMED, *QUIT):
            return ""
        verbs = [action.verb for action in screen.actions() if action.verb]
        if alone := next((verb for verb in verbs if command.startswith(f"{verb} ")), ""):
            return f"`{alone}` takes no argument: it is done to what is selected here"
        from fleetprompt.engine.core.closest import did_you_mean

        known = [*verbs, *SCREENS, *ALIASES, *NAMED]
        hint = did_you_mean(command, known) or did_you_mean(word, known) or "? lists what can be done here"
        return f"there is no command and no place `{word}` — {hint}"

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
