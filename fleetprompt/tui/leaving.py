"""Leaving the console, for good or for a while: it is asked about where runs would stand still without it, or something
is not sent yet."""

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
        """Leave; where runs would stop with the engine of this console, or something is being sent, it is asked about
        first."""
        sending = [batch.words for batch in self._app.work.batches]
        running = await self._at_work() if self._app.door.ends_engine else 0
        if not running and not sending:
            self._app.exit(0)
            return
        from fleetprompt.tui.screens.dialog import Confirm

        lines: list[Sequence[Part]] = [((f"This console is {words}.", "warning"),) for words in sending]
        if sending:
            lines.append((("What has been sent is carried out; the rest is not sent any more.", "dim"),))
        if running:
            lines += self._left_at_work(running)
        self._app.push_screen(Confirm("quit?", lines, "quit", danger=bool(sending)), self._leave)

    @staticmethod
    def _left_at_work(running: int) -> list[Sequence[Part]]:
        return [
            _at_work(running),
            (("Steps have a moment to finish; what is recorded is kept.", "dim"),),
            (("The runs go on once an engine runs again: `fleet`, or `fleet recover`.", "dim"),),
        ]

    async def do_console_suspend(self) -> None:
        """Back to the shell for a while; where an engine in this process would stop with it, that is asked first."""
        behind = self._app.door.behind
        running = await self._at_work() if behind is not None and behind.where == "embedded" else 0
        if not running:
            self._app.action_suspend_process()
            return
        from fleetprompt.tui.screens.dialog import Confirm

        lines: list[Sequence[Part]] = [
            _at_work(running),
            (("It stops with the console: nothing is carried out until `fg`.", "warning"),),
        ]
        self._app.push_screen(Confirm("suspend?", lines, "suspend", danger=False), self._suspend)

    def back(self) -> None:
        """After `fg` the terminal is empty, and Textual would paint only what has changed since; and much may have
        changed that nobody has told."""
        self._app.screen.refresh(layout=True)
        self._app.listening.read_again()

    def _suspend(self, yes: bool | None) -> None:
        if yes:
            self._app.action_suspend_process()

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


def _at_work(running: int) -> Sequence[Part]:
    are = "is" if running == 1 else "are"
    return ((f"{count(running, 'run')} {are} carried out by the engine of this console now.", ""),)
