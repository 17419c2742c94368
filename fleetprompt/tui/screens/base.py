"""What all screens have in common: the frame, the trail, and being told what has changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.events import DescendantFocus
from textual.screen import Screen

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.tui.actions import Action, Where, at
from fleetprompt.tui.errors import Tells
from fleetprompt.tui.keys import bindings
from fleetprompt.tui.links import SCREENS
from fleetprompt.tui.widgets.bars import FootBar, TopBar
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.keymap import Keymap

QUIET = 0.3
"""Seconds for which nothing is decided after what is to be decided has appeared under the operator's fingers."""


class ConsoleScreen(Tells, Screen[None]):
    """A screen of the console. Subclasses name their places and say what stands between the bars."""

    PLACES: ClassVar[tuple[Where, ...]] = ()
    NAME: ClassVar[str] = ""
    LISTS: ClassVar[bool] = True
    """There is a list on it, and all that lists can do."""
    SHOWS_MESSAGES: ClassVar[bool] = False
    """What is said can be read on it, and need not be said beside it."""
    AUTO_FOCUS = ""
    """Each screen says what has the focus: the first that could have it may be a filter that nobody sees."""
    app: FleetConsole

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.BINDINGS = bindings(*cls.PLACES)
        super().__init_subclass__(**kwargs)

    def __init__(self) -> None:
        super().__init__()
        self.stale = False
        """Something has changed while another screen was shown."""
        self.error: FleetError | None = None
        """Why there is nothing to show, or only what is old."""
        self.jumped = False
        """It was gone to by its name, and gives way to the next one that is."""
        self._began = False

    # ------------------------------------------------------------ the frame

    def compose(self) -> ComposeResult:
        yield TopBar(self.trail)
        yield from self.body()
        yield FootBar(self.footer)

    def body(self) -> ComposeResult:
        """What stands between the bars."""
        raise NotImplementedError

    def trail(self) -> Sequence[str]:
        """Where we are, from the home on."""
        screens = self.app.console_screens()
        mine = screens[: screens.index(self) + 1] if self in screens else [self]
        return [screen.crumb() for screen in mine]

    def crumb(self) -> str:
        """This screen in the trail."""
        return self.NAME

    def link(self) -> str:
        """How to come here again, once it is closed; empty where that is not possible."""
        bars = self.query(FilterBar)
        text = bars.first().text if bars else ""
        return f"{self.NAME} {text}".strip() if self.NAME in SCREENS else ""

    def places(self) -> Sequence[Where]:
        """Where the keys of this moment belong."""
        return self.PLACES

    @property
    def keymap(self) -> Keymap:
        """What has which key at this moment."""
        return self.app.keymap

    def actions(self) -> list[Action]:
        """Everything that can be done now."""
        lists: list[Where] = ["list"] if self.LISTS else []
        found = at([*self.places(), *lists, "console"])
        return found if hasattr(self, "on_lines_opened") else [each for each in found if each.id != "list.open"]

    def footer(self) -> Sequence[Action]:
        """What the footer offers."""
        return [action for action in self.actions() if not (action.changes and self.app.only_looks)]

    def refresh_bars(self) -> None:
        """Draw the frame again."""
        for bar in (*self.query(TopBar), *self.query(FootBar)):
            bar.refresh()

    # ------------------------------------------------------------ life

    @property
    def client(self) -> Console:
        """The console that is open; the app asks screens for nothing before."""
        console = self.app.client
        assert console is not None
        return console

    async def on_mount(self) -> None:
        if self.app.client is not None:
            await self.begin(self.app.client)
        elif self.app.opening.error is not None:
            self.failed(self.app.opening.error)

    async def begin(self, console: Console) -> None:
        """The store is open, for the first time or again."""
        if self._began:
            await self.reload()
            return
        self._began = True
        await self.opened(console)

    async def opened(self, console: Console) -> None:
        """The store is open: read what is to be shown."""

    def failed(self, error: FleetError) -> None:
        """The store cannot be opened."""
        self.error = error

    async def changed(self, change: Change) -> None:
        """Something has changed."""

    async def reload(self) -> None:
        """Read everything again."""

    def tick(self) -> None:
        """A second has passed."""

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Where there is room for one part only, it is that of what is read (see `console.tcss`)."""
        inside = any(node.id == "details" for node in event.widget.ancestors_with_self)
        self.set_class(inside or isinstance(event.widget, TextPane), "-reading")

    async def on_screen_resume(self) -> None:
        self.refresh_bars()
        if self.stale and self.app.client is not None:
            self.stale = False
            await self.reload()

    def voting_changed(self) -> None:
        """Decisions about approvals are on their way, or not any more."""

    def note_done(self, ids: Collection[str]) -> None:
        """What was asked for was done to these."""

    def fleet_changed(self) -> None:
        """What runs ask, or whether anything starts in them, is another thing now."""

    def step_back(self) -> bool:
        """Close what is open on this screen; False when one may leave it."""
        return False

    def save_view(self, name: str) -> None:
        """Keep what is shown under a name."""
        self.app.say("warning", "there is nothing to save here")

    async def view(self, number: int) -> None:
        """Show a saved view."""

    async def action_do(self, id_: str) -> None:
        """What every key of this screen is bound to."""
        await self.app.perform(id_)
