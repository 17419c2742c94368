"""The console: it opens the store, shows one screen at a time, and tells the screens what has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.css.query import NoMatches
from textual.events import Event, Key
from textual.widget import AwaitMount
from textual.worker import WorkerError, WorkerFailed

from fleetprompt.client.door import Again, Door, Open
from fleetprompt.client.identity import DEFAULT_TENANT, local_identity
from fleetprompt.client.wording import Times, count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import BY_ID, method
from fleetprompt.tui.commands import Commands
from fleetprompt.tui.driver import TerminalDriver
from fleetprompt.tui.errors import FATAL, Tells
from fleetprompt.tui.keymap import Keymap
from fleetprompt.tui.keys import bindings
from fleetprompt.tui.leaving import Leaving
from fleetprompt.tui.listening import Listening
from fleetprompt.tui.moving_switch import SwitchMoves
from fleetprompt.tui.navigation import Navigation
from fleetprompt.tui.opening import Opening
from fleetprompt.tui.pressing import KeyDone, Pressing
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.settings import ConsoleSettings
from fleetprompt.tui.standing import Standing
from fleetprompt.tui.state.fleet import Fleet, Level
from fleetprompt.tui.state.views import Views
from fleetprompt.tui.state.work import Work
from fleetprompt.tui.widgets.palette import ANSI_DARK, DARK, LIGHT, Palette, few_colors

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console
    from fleetprompt.client.workflow_files import WorkflowFiles

TOLD_AT_ONCE = 3
"""Problems with settings that are told on opening; the rest stands among the messages."""
HINT_SECONDS = 60
"""For how long a hint is not given again."""
DIGITS = frozenset("0123456789")
"""Keys that call up views where they mean nothing else."""
MOST_COPIED = 74_994
"""Bytes of an OSC 52 sequence that terminals take."""


class FleetConsole(Tells, App[int]):
    """What `fleet` opens."""

    TITLE = "FleetPrompt"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = bindings("console")
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (8, "-small"), (12, "-low"), (30, "-high")]  # noqa: RUF012

    def __init__(
        self,
        opening: Open,
        *,
        who: str,
        tenant: str = DEFAULT_TENANT,
        project: str = "",
        groups: Collection[str] | None = None,
        times: Times | None = None,
        settings: ConsoleSettings | None = None,
        read_only: bool = False,
        read_only_why: str = "",
        votes_not_why: str = "",
        elsewhere: str = "",
        link: str = "",
        again: Again | None = None,
        first: Callable[[Console], Awaitable[str]] | None = None,
        views: Views | None = None,
        files: WorkflowFiles | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        settings = settings or ConsoleSettings()
        few = few_colors()
        super().__init__(driver_class=TerminalDriver, ansi_color=True if few else None)
        self.who = who
        self.project = project
        """The name of the project that is open."""
        self.groups = groups
        """Groups of operators that the settings put `who` into; None where that is not known."""
        self.votes_not_why = votes_not_why
        """Why `who` may decide about no approval at all; empty where they may."""
        self.voting: set[tuple[str, int]] = set()
        """Approvals (id and level) about which a decision is on its way."""
        self.work = Work(self.refresh_bars)
        """What is being sent."""
        self.times = times or Times()
        self.settings = settings
        self.keymap: Keymap = settings.keymap
        self.read_only = read_only
        self.read_only_why = read_only_why
        self.now = now
        self.fleet = Fleet(elsewhere)
        self.views = views or Views(None)
        self.files = files
        """The workflow files of the project; None where they are out of reach."""
        self.client: Console | None = None
        # A daemon elsewhere decides itself what may be done, and knows who asks.
        self.door = Door(opening, again, None if elsewhere else local_identity(who, "console", tenant))
        self.opening = Opening(self, self.door, link, first)
        self.standing = Standing(self)
        self.listening = Listening(self)
        self.navigation = Navigation(self)
        self.leaving = Leaving(self)
        self.parts = (self, self.opening, self.navigation, Commands(self), self.leaving, SwitchMoves(self))
        """What does the actions of the whole console."""
        self._pressing = Pressing(self)
        self._opening_screen: AwaitMount | None = None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = ANSI_DARK if few else LIGHT.name if settings.light else DARK.name
        self._palette: Palette | None = None
        self._frame: Palette | None = None

    # ------------------------------------------------------------ opening

    def get_default_screen(self) -> ConsoleScreen:
        """The home: every run."""
        return RunsScreen()

    def on_mount(self) -> None:
        """The frame is painted before anything is read."""
        self.set_keymap(self.keymap.changed())
        self.theme_changed_signal.subscribe(self, lambda _: self.repaint())
        self.app_resume_signal.subscribe(self, lambda _: self.leaving.back())
        for at, problem in enumerate((*self.settings.problems, *self.keymap.problems())):
            self.say("warning", f"{self.settings.file or 'keymap'}: {problem}", quiet=at >= TOLD_AT_ONCE)
        if self.views.problem:
            self.say("warning", self.views.problem)
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self.opening.open)

    def console_screens(self) -> list[ConsoleScreen]:
        """Our screens, the home first; none once the console is being taken down."""
        if not self.is_running:
            return []
        return [screen for screen in self.screen_stack if isinstance(screen, ConsoleScreen)]

    # ------------------------------------------------------------ the frame

    def underneath(self) -> ConsoleScreen | None:
        """The screen that can be seen around a dialog."""
        screens = self.console_screens()
        return screens[-1] if screens else None

    def _tick(self) -> None:
        screen = self.underneath()
        if screen is not None and self.client is not None:
            if not self.fleet.away:
                screen.tick()
            self.standing.tick()

    def tell_voting(self) -> None:
        """Decisions are on their way, or not any more: show that."""
        for screen in self.console_screens():
            screen.voting_changed()

    def tell_done(self, ids: Collection[str]) -> None:
        """What was asked for was done to these: marks that were set for it go."""
        for screen in self.console_screens():
            screen.note_done(ids)

    def refresh_bars(self) -> None:
        """Draw the frame of the screen again."""
        screen = self.underneath()
        if screen is not None:
            screen.refresh_bars()

    # ------------------------------------------------------------ saying

    def say(self, level: Level, text: str, *, quiet: bool = False) -> None:
        """Tell the operator something; it can be read again among the messages."""
        text = inert(text.replace("\n", " "))
        now = self.now()
        # What is still to be read there is not said a second time beside it.
        again = any(now - each.at < 4 and each.text == text for each in list(self.fleet.messages)[-3:])
        self.fleet.say(now, level, text)
        screen = self.underneath()
        if screen is not None and screen.SHOWS_MESSAGES and self.screen is screen:
            screen.tick()
        elif not quiet and not again:
            severity = {"info": "information", "warning": "warning", "error": "error"}[level]
            self.notify(text, severity=severity, markup=False, timeout=4 if level == "info" else 8)  # type: ignore[arg-type]

    def action_help_quit(self) -> None:
        """What `ctrl+c` does: whoever presses it looks for the way out."""
        key, now = self.keymap.shown(BY_ID["console.quit"]), self.now()
        said = f"{key} quits" if key else "`:quit` quits"
        if not any(each.text == said and now - each.at < HINT_SECONDS for each in self.fleet.messages):
            self.say("info", said)

    def copy(self, text: str, lines: int) -> None:
        """Put text into the clipboard of the operator's terminal (OSC 52)."""
        if len(text.encode()) > MOST_COPIED:
            self.say("warning", f"{count(len(text), 'character')} are more than terminals take: nothing was copied")
            return
        self.copy_to_clipboard(text)
        self.say("info", f"copied {count(lines, 'line') if lines > 1 else inert(text[:60])}")

    def _handle_exception(self, error: Exception) -> None:
        """Whatever nobody has caught, in a worker or in a node of Textual."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if isinstance(cause, FleetError):
            self.standing.tell(cause)
        elif isinstance(cause, NoMatches) and (isinstance(error, WorkerFailed) or self._exit or not self.is_running):
            # A screen was left, or all are, while something was read for it or it was about to open: what was to be
            # shown has nowhere to go.
            logging.getLogger(__name__).debug("left: %s", cause)
        elif self.is_headless:
            super()._handle_exception(error)
        else:
            self._tell_mistake(cause, goes_on=isinstance(error, WorkerFailed))

    def _tell_mistake(self, error: BaseException, *, goes_on: bool) -> None:
        said = f"internal error: {type(error).__name__}: {inert(str(error))[:200]}; .fleet/engine.log has the rest"
        logging.getLogger(__name__).error("in the console", exc_info=error)
        if goes_on:
            self.say("error", said)
        else:
            self.exit(return_code=FATAL, message=f"fleet: {said}")

    # ------------------------------------------------------------ doing

    async def perform(self, id_: str) -> None:
        """Do what an action says, on the screen or list that knows how."""
        await self._stands()
        action = BY_ID[id_]
        # An engine is run here, and by nobody who could be out of reach.
        here = id_ == "console.engine" and not self.read_only
        if action.changes and not here and not self.may_change(action.label):
            return
        name = method(id_)
        for place in (self.screen.focused, self.screen, *self.parts):
            does = getattr(place, name, None)
            if does is not None:
                result = does()
                if isinstance(result, Awaitable):
                    await result
                break
        else:
            self.say("info", f"{action.label}: there is nothing to do that with here")
        await self._stands()

    async def _stands(self) -> None:
        """Until the screen that was opened last can be used: the next key is for it."""
        while (opening := self._opening_screen) is not None:
            await opening
            if self._opening_screen is opening:
                self._opening_screen = None

    def push_screen(self, *screen: Any, **options: Any) -> Any:
        """Open a screen, as Textual does; whatever has been pressed is done once it stands."""
        opening = super().push_screen(*screen, **options)
        if isinstance(opening, AwaitMount):
            self._opening_screen = opening
        return opening

    @property
    def only_looks(self) -> bool:
        """Nothing can be changed: by its settings or its role, or because nobody can be reached who would do it."""
        return self.read_only or bool(self.fleet.away)

    def may_change(self, what: str) -> bool:
        """Whether something may be changed; if not, the operator is told why."""
        if self.read_only:
            self.say("warning", f"{what}: this console is read-only{self.read_only_why}")
        elif self.fleet.away:
            self.say("warning", f"{what}: not while the daemon cannot be reached: {self.fleet.away}")
        elif self.client is None or self.door.behind is None:
            self.say("warning", f"{what}: the store is not open")
        else:
            return True
        return False

    async def action_do(self, id_: str) -> None:
        """What every key is bound to."""
        await self.perform(id_)

    async def go_to(self, text: str, *, jump: bool = False) -> None:
        """Follow a deep link, as the palette takes it; `jump`: by the name of the place (see `links.follow`)."""
        self.navigation.go_to(text, jump=jump)

    def do_console_theme(self) -> None:
        if self.native_ansi_color:
            self.say("info", "this terminal has its own colours")
            return
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    async def ended(self) -> None:
        """Once the console is left: until all that it was at has been called off and has put away what it had open."""
        # Textual calls it off, and does not wait: what is called off once more, at the end of the loop, ends half done.
        for worker in self.workers:
            if not worker.is_cancelled:
                worker.cancel()
            with suppress(WorkerError):
                await worker.wait()

    # ------------------------------------------------------------ looks

    @property
    def palette(self) -> Palette:
        """The colours of the theme that is on."""
        if self._palette is None:
            self._palette = Palette(self, stale=bool(self.fleet.away))
        return self._palette

    @property
    def frame(self) -> Palette:
        """The same for the frame, which is never stale."""
        if self._frame is None:
            self._frame = Palette(self)
        return self._frame

    def repaint(self) -> None:
        """Paint everything anew: the colours are others, or what is shown has become stale."""
        self._palette = self._frame = None
        for screen in self.console_screens():
            screen.refresh(layout=True)
            for widget in screen.walk_children():
                widget.refresh()

    async def on_event(self, event: Event) -> None:
        """Keys are done one after the other."""
        if isinstance(event, Key) and not event.is_forwarded:
            await self._pressing.press(event)
        else:
            await super().on_event(event)

    async def give_key(self, key: Key) -> None:
        """Give a key to what has the focus."""
        await super().on_event(key)

    def on_key_done(self, event: KeyDone) -> None:
        """A key has come back, or was taken on its way."""
        self._pressing.done(event.number)

    async def on_key(self, event: Key) -> None:
        """A digit chooses a view."""
        if not self.screen_stack:
            return
        screen = self.screen
        digit = event.key in DIGITS and event.key not in screen.active_bindings
        if digit and isinstance(screen, ConsoleScreen):
            event.stop()
            await screen.view(int(event.key))
