"""One key after the other: each is done before the next one is looked at, however fast they come.

Textual gives a key to what has the focus, and what no field takes comes back through everything around it, to be looked
up among the bindings. Keys that arrive together, as after a pause of the network, would overtake each other there:
of `/pay` the slash would open the filter after `p` had paused a run and `a` approved one.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from textual.events import Key
from textual.message import Message
from textual.worker import WorkerError

from fleetprompt.tui.screens.dialog import Dialog

if TYPE_CHECKING:
    from textual.worker import Worker

    from fleetprompt.tui.app import FleetConsole

GOING = "go"
"""The group of workers that lead to another screen: what is pressed then is meant for that one."""
PATIENCE = 1.0
"""Seconds after which a key that takes longer does not keep the next one waiting: `esc` may be what ends it."""


class KeyDone(Message):
    """Goes the way of a key, behind it: whoever it reaches has done the key."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Pressing:
    """The keys of one console."""

    def __init__(self, app: FleetConsole) -> None:
        self._app = app
        self._due: deque[Key] = deque()
        self._number = 0
        self._doing = False

    async def press(self, key: Key) -> None:
        """Do a key, after those before it."""
        if not self._doing:
            await self._begin(key)
            return
        self._due.append(key)
        if len(self._due) == 1:
            self._app.set_timer(PATIENCE, partial(self._end, self._number))

    async def _begin(self, key: Key) -> None:
        app = self._app
        if not app.screen_stack or _unseen(app.screen, key):
            return
        self._doing = True
        self._number += 1
        screen = app.screen
        way = app.focused or screen
        await app.give_key(key)
        # What is left by it takes no more messages, or loses them.
        if app.screen is not screen or not way.post_message(KeyDone(self._number)):
            self.done(self._number)

    def done(self, number: int) -> None:
        """The key has gone all its way."""
        # What it has asked for there (another focus, the answer of a menu) stands in the queue of the console.
        self._app.call_later(self._look, number)

    def _look(self, number: int) -> None:
        app = self._app
        going = [worker for worker in app.workers if worker.group == GOING and not worker.is_finished]
        if going:
            app.run_worker(partial(self._arrive, going, number), group="keys")
        else:
            app.call_later(self._end, number)

    async def _arrive(self, going: list[Worker[None]], number: int) -> None:
        for worker in going:
            with suppress(WorkerError):
                await worker.wait()
        self._app.call_later(self._end, number)

    async def _end(self, number: int) -> None:
        if number != self._number or not self._doing:
            return
        self._doing = False
        while self._due and not self._doing:
            await self._begin(self._due.popleft())
        if self._due:
            self._app.set_timer(PATIENCE, partial(self._end, self._number))


def _unseen(screen: object, key: Key) -> bool:
    """Pressed before the question was there: it cannot be the answer to it."""
    return isinstance(screen, Dialog) and not screen.AHEAD and key.time < screen.asked_at
