"""Going from screen to screen: by link, by name, back, and to the place before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.links import Link, follow
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.sending import stop_sending

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


class Navigation:
    """Where the operator is, and was."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._here = "runs"
        self._before = ""

    def go_to(self, text: str) -> None:
        """Follow a deep link; the way is gone after whoever asks has finished."""
        # A screen that is left cannot wait for its own end.
        self._app.run_worker(self._follow(text), name="go", group="go")

    async def _follow(self, text: str) -> None:
        try:
            link = Link.parse(text)
            self._before, self._here = self._here, str(link)
            await follow(self._app, link)
        except FleetError as error:
            self._app.say("error", explained(error))

    def do_go_runs(self) -> None:
        self.go_to("runs")

    def do_go_approvals(self) -> None:
        self.go_to("approvals")

    def do_go_signals(self) -> None:
        self.go_to("signals")

    def do_go_workflows(self) -> None:
        self.go_to("workflows")

    def do_go_cost(self) -> None:
        self.go_to("cost")

    def do_go_health(self) -> None:
        self.go_to("health")

    def do_go_messages(self) -> None:
        self.go_to("messages")

    def do_go_help(self) -> None:
        self.go_to("help")

    def do_go_last(self) -> None:
        """To the place before this one."""
        if self._before:
            self.go_to(self._before)

    def do_go_back(self) -> None:
        """Back to where one came from; at home there is nothing to leave. While much is sent it stops that first."""
        if stop_sending(self._app):
            return
        screen = self._app.screen
        if isinstance(screen, ConsoleScreen) and screen.step_back():
            return
        if len(self._app.screen_stack) > 1:
            self._app.run_worker(self._leave_screen(), name="go", group="go")

    def do_console_stop(self) -> None:
        """Send nothing more of what is being sent."""
        if not stop_sending(self._app):
            self._app.say("info", "nothing is being sent that could be stopped")

    async def _leave_screen(self) -> None:
        await self._app.pop_screen()
