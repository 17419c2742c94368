"""While much is read before a question can be asked: how far it is, and esc to leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Key
from textual.widgets import Static

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.errors import explained
from fleetprompt.tui.screens.base import QUIET
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.widgets.answers import LEAVE, Answers

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

T = TypeVar("T")
Told = Callable[[int], None]
"""Called with how much has been read so far."""
FEW = 200
"""Things that are read before anybody would see that they are."""


class Gathering(Dialog[T], Generic[T]):
    """Reads, and gives what it has found."""

    def __init__(self, doing: str, total: int, read: Callable[[Told], Awaitable[T]]) -> None:
        super().__init__()
        self._doing = doing
        self._total = total
        self._read = read
        self._far = 0
        self._key_at = 0.0

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box")
        box.border_title = self._doing
        with box:
            yield Static(self._words(), id="far")
            yield Answers(LEAVE)

    def _words(self) -> str:
        return f"{self._far:,} of {self._total:,}"

    def on_mount(self) -> None:
        self.run_worker(self._gather, group="gathering", exit_on_error=False)

    def on_key(self, event: Key) -> None:
        """A key that is pressed now is not meant for the question that comes."""
        self._key_at = asyncio.get_running_loop().time()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await self._read(self._tell)
        except FleetError as error:
            self.app.say("error", explained(error))
            self.dismiss(None)
            return
        while loop.time() - self._key_at < QUIET:  # noqa: ASYNC110 keys come at any time
            await asyncio.sleep(QUIET / 6)
        self.dismiss(found)

    def _tell(self, far: int) -> None:
        self._far = far
        self.query_one("#far", Static).update(self._words())


async def gathered(
    app: FleetConsole,
    doing: str,
    total: int,
    read: Callable[[Told], Awaitable[T]],
    then: Callable[[T], None],
) -> None:
    """Read, and go on with what was found; where that takes a while, with a dialog meanwhile. Raises `FleetError`."""
    if total <= FEW:
        then(await read(lambda far: None))
        return

    def found(given: T | None) -> None:
        if given is not None:
            then(given)

    app.push_screen(Gathering(doing, total, read), partial(found))
