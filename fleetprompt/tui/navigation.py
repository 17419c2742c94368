"""Going from screen to screen: by link, by name, back, and to the place before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from textual.screen import Screen

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.links import Link, follow, return_to
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.sending import stop_sending

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


class Navigation:
    """Where the operator is, and was."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._before: Callable[[], ConsoleScreen | None] = lambda: None
        """Where the operator was before, as long as it is open."""
        self._link = ""
        """How to come there again."""
        self._turn = asyncio.Lock()

    def go_to(self, text: str, *, jump: bool = False) -> None:
        """Follow a deep link; the way is gone after whoever asks has finished. `jump`: see `links.follow`."""
        self._go(partial(self._follow, text, jump))

    def close_to(self, screen: ConsoleScreen) -> None:
        """Go back to a screen that is open."""
        self._go(partial(return_to, self._app, screen))

    def _go(self, way: Callable[[], Awaitable[None]]) -> None:
        # A screen that is left cannot wait for its own end.
        self._app.run_worker(partial(self._gone, way), name="go", group="go")

    async def _gone(self, way: Callable[[], Awaitable[None]]) -> None:
        """Go, one way after the other, and remember where that was from."""
        async with self._turn:
            came = self._app.underneath()
            link = came.link() if came is not None else ""
            try:
                await way()
            except FleetError as error:
                self._app.say("error", explained(error))
            if came is not None and came is not self._app.underneath():
                self._before, self._link = ref(came), link

    async def _follow(self, text: str, jump: bool) -> None:
        await follow(self._app, Link.parse(text), jump=jump)

    def do_go_runs(self) -> None:
        self.go_to("runs", jump=True)

    def do_go_approvals(self) -> None:
        self.go_to("approvals", jump=True)

    def do_go_signals(self) -> None:
        self.go_to("signals", jump=True)

    def do_go_workflows(self) -> None:
        self.go_to("workflows", jump=True)

    def do_go_agents(self) -> None:
        self.go_to("agents", jump=True)

    def do_go_schedules(self) -> None:
        self.go_to("schedules", jump=True)

    def do_go_cost(self) -> None:
        self.go_to("cost", jump=True)

    def do_go_health(self) -> None:
        self.go_to("health", jump=True)

    def do_go_messages(self) -> None:
        self.go_to("messages", jump=True)

    def do_go_help(self) -> None:
        self.go_to("help", jump=True)

    def do_go_last(self) -> None:
        """To the place before this one."""
        self._go(self._go_last)

    async def _go_last(self) -> None:
        before = self._before()
        if before is not None and before in self._app.screen_stack:
            await return_to(self._app, before)
        elif self._link:
            # A list of runs that was opened from something is one again.
            await self._follow(self._link, not self._link.startswith("runs "))
        else:
            self._app.say("info", "there is no place before this one")

    def do_go_back(self) -> None:
        """Back to where one came from; at home there is nothing to leave. While much is sent it stops that first."""
        if stop_sending(self._app):
            return
        screen = self._app.screen
        if isinstance(screen, ConsoleScreen) and screen.step_back():
            return
        if len(self._app.screen_stack) > 1:
            self._go(partial(self._leave, screen))

    def do_console_stop(self) -> None:
        """Send nothing more of what is being sent."""
        if not stop_sending(self._app):
            self._app.say("info", "nothing is being sent that could be stopped")

    async def _leave(self, screen: Screen[Any]) -> None:
        # What has been opened or left since esc was pressed is not what it meant.
        if self._app.screen is screen and len(self._app.screen_stack) > 1:
            await self._app.pop_screen()
