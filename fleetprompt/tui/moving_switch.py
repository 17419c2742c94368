"""The fleet's switch: paused, drained, stopped and let go on from wherever one is in the console."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fleetprompt.client.protocol import why_queued
from fleetprompt.client.switching import MEANS, is_whole
from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.sending import under_way
from fleetprompt.tui.state.lines import Part

if TYPE_CHECKING:
    from fleetprompt.engine.ports.operations import Position
    from fleetprompt.tui.app import FleetConsole

_VERBS: dict[Position, str] = {"paused": "pause", "draining": "drain", "off": "stop", "on": "switch on"}

_THEN: dict[Position, str] = {"off": "what is in flight is stopped, and nothing starts"}
"""What will be so, where that is worded otherwise than what is."""


class SwitchMoves:
    """What is done to everything at once."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app

    async def do_fleet_pause(self) -> None:
        """Start nothing new."""
        await self._ask("paused")

    async def do_fleet_drain(self) -> None:
        """Begin no run."""
        await self._ask("draining")

    async def do_fleet_stop(self) -> None:
        """Stop what is in flight, too."""
        await self._ask("off")

    async def do_fleet_resume(self) -> None:
        """Let everything go on."""
        await self._ask("on")

    async def _ask(self, to: Position) -> None:
        from fleetprompt.tui.screens.dialog import ConfirmWithReason

        app = self._app
        console = app.client
        if console is None:
            return
        try:
            now, running = await console.switch(), await console.count("status:running")
        except FleetError as error:
            app.standing.tell(error)
            return
        whose = "the fleet" if is_whole(now) else f"tenant {now.tenant}"
        if now.position == to:
            app.say("info", f"{whose} is {to} already")
            return
        if to == "on":
            # Nothing is lost by it, and who has moved the switch is asked for a reason then.
            self._move_soon(to, "")
            return
        lines: list[tuple[Part, ...]] = [
            ((_THEN.get(to, MEANS[to]), "strong"), (f"; {count(running, 'run')} running now", "")),
        ]
        if to == "off":
            lines.append((("what must not be repeated is in doubt then", "warning"),))

        def answered(reason: str | None) -> None:
            if reason is not None:
                self._move_soon(to, reason)

        app.push_screen(ConfirmWithReason(f"{_VERBS[to]} {whose}?", lines, _VERBS[to]), answered)

    def _move_soon(self, to: Position, reason: str) -> None:
        if self._app.may_change(_VERBS[to]):
            self._app.run_worker(partial(self._move, to, reason), group="commands")

    async def _move(self, to: Position, reason: str) -> None:
        app = self._app
        console = app.client
        assert console is not None
        try:
            with under_way(app, "moving", "the switch"):
                result = await console.set_switch(to, by=app.who, reason=reason)
        except FleetError as error:
            app.say("error", f"the switch is not moved: {explained(error)}")
            return
        if result.status == "refused":
            app.say("error", f"the switch is not moved: {result.reason}")
        elif queued := why_queued(result):
            app.say("warning", queued)
        # That it has moved is told to every console, as by whoever moves it.
        await app.standing.look()
