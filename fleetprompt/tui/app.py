"""The console: it opens the store, shows one screen at a time, and tells the screens what has changed."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from textual.app import App
from textual.css.query import NoMatches
from textual.events import Key
from textual.widget import AwaitMount
from textual.worker import WorkerFailed

from fleetprompt.client.door import Again, Door, Open
from fleetprompt.client.wording import Times, count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import BY_ID, Keymap, method
from fleetprompt.tui.driver import TerminalDriver
from fleetprompt.tui.errors import FATAL, Tells, explained
from fleetprompt.tui.keys import bindings
from fleetprompt.tui.links import Link, follow
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.settings import ConsoleSettings
from fleetprompt.tui.state.fleet import Fleet, Level
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.views import Views
from fleetprompt.tui.widgets.palette import ANSI_DARK, DARK, LIGHT, Palette

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console, TakenUp
    from fleetprompt.client.workflow_files import WorkflowFiles

BEAT = 0.05
"""Seconds between two looks at what has changed."""
REMOTE_BEAT = 0.1
"""The same where every byte goes over a network."""
SHARE = 5
"""The console leaves the loop to the engine for so many times what its own work has taken."""
COUNT_SECONDS = 1.0
"""How often runs are counted, at most."""
MOST_COPIED = 74_994
"""Bytes of an OSC 52 sequence that terminals take."""


class FleetConsole(Tells, App[int]):
    """What `fleet` opens."""

    TITLE = "FleetPrompt"
    CSS_PATH = "console.tcss"
    BINDINGS: ClassVar = bindings("console")
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012

    def __init__(
        self,
        opening: Open,
        *,
        who: str,
        groups: Collection[str] = (),
        times: Times | None = None,
        settings: ConsoleSettings | None = None,
        read_only: bool = False,
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
        self.groups = groups
        """Groups of operators that the settings put `who` into; empty where that is not known."""
        self.voting: set[tuple[str, int]] = set()
        """Approvals (id and level) about which a decision is on its way."""
        self.times = times or Times()
        self.settings = settings
        self.keymap: Keymap = settings.keymap
        self.read_only = read_only
        self.now = now
        self.fleet = Fleet()
        self.views = views or Views(None)
        self.files = files
        """The workflow files of the project; None where they are out of reach."""
        self.client: Console | None = None
        self.door = Door(opening, again)
        self._first = first
        self._link = link
        self._engine = True
        self._here = "runs"
        self._before = ""
        self._counted = 0.0
        self._late: WeakSet[Key] = WeakSet()
        """Keys that were given to a menu after all."""
        self._opening_screen: AwaitMount | None = None
        self._counting = False
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = ANSI_DARK if few else LIGHT.name if settings.light else DARK.name
        self._palette: Palette | None = None

    # ------------------------------------------------------------ opening

    def get_default_screen(self) -> ConsoleScreen:
        """The home: every run."""
        return RunsScreen()

    def on_mount(self) -> None:
        """The frame is painted before anything is read."""
        self.set_keymap({id_: ",".join(keys) for id_, keys in self.keymap.chosen.items()})
        self.theme_changed_signal.subscribe(self, lambda _: self._repaint())
        # After `fg` the terminal is empty, and Textual would paint only what has changed since.
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        for problem in (*self.settings.problems, *self.keymap.problems()):
            self.say("warning", f"{self.settings.file or 'keymap'}: {problem}")
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self.open)

    def open(self) -> None:
        """Open the store, and the engine where it is ours."""
        self.fleet.engine = "opening"
        self.run_worker(self._open(), name="open", group="open", exclusive=True)

    async def _open(self) -> None:
        try:
            await self.door.open()
        except FleetError as error:
            self.fleet.engine = "failed"
            self.refresh_bars()
            self.say("error", explained(error))
            for screen in self.console_screens():
                screen.failed(error)
            return
        self.client = self.door.as_console
        self._note_engine()
        self._engine = self.fleet.live
        self.refresh_bars()
        for screen in self.console_screens():
            await screen.opened(self.client)
        self.run_worker(self._listen(self.client), name="listen", group="listen", exclusive=True)
        self._tell_taken_up(self.client.taken_up)
        await self._go_first(self.client)

    async def _go_first(self, console: Console) -> None:
        """Do what is to be done first, and go where one wanted to be."""
        first, self._first = self._first, None
        try:
            if first is not None:
                self._link = await first(console)
        except FleetError as error:
            self.say("error", explained(error))
        if self._link:
            link, self._link = self._link, ""
            await self.go_to(link)

    def do_console_engine(self) -> None:
        """Have an engine where none runs."""
        if self.client is None or self.fleet.live:
            self.say("info", "an engine runs already" if self.fleet.live else "the store is not open")
        elif not self.door.can_start_engine:
            self.say("warning", "this console is not to run an engine")
        else:
            self.run_worker(self._start_engine(), name="engine", group="engine", exclusive=True)

    async def _start_engine(self) -> None:
        client = self.client
        assert client is not None
        try:
            started = await self.door.start_engine()
        except FleetError as error:
            self.say("error", explained(error))
            return
        self._engine = started
        self._note_engine()
        self.say("info" if started else "warning", "an engine runs" if started else "no engine could be started")
        self.run_worker(self._listen(client), name="listen", group="listen", exclusive=True)
        self._tell_taken_up(client.taken_up)
        for screen in self.console_screens():
            await screen.reload()
        self.refresh_bars()

    def _tell_taken_up(self, found: TakenUp) -> None:
        """What the engine of this console goes on with."""
        if found.runs:
            self.say("info", f"taken up again: {count(len(found.runs), 'interrupted run')}")
        if found.in_doubt:
            self.say("warning", f"{count(found.in_doubt, 'step')} in doubt: somebody must say what happened (d)")
        if found.corrupt:
            self.say("error", f"{count(len(found.corrupt), 'run')} cannot be read and stand still: see health (g h)")

    def console_screens(self) -> list[ConsoleScreen]:
        """Our screens, the home first."""
        return [screen for screen in self.screen_stack if isinstance(screen, ConsoleScreen)]

    def _note_engine(self) -> None:
        console = self.client
        if console is not None:
            self.fleet.engine = console.where
            self.fleet.holder = console.holder

    # ------------------------------------------------------------ what changes

    @property
    def beat(self) -> float:
        """Seconds between two looks at what has changed."""
        return REMOTE_BEAT if os.environ.get("SSH_CONNECTION") or os.environ.get("FLEET_SSH_PEER") else BEAT

    async def _listen(self, console: Console) -> None:
        await self._count(console)
        loop = asyncio.get_running_loop()
        async with aclosing(console.changes(self.beat)) as changes:  # pyright: ignore[reportArgumentType] it is a generator
            async for change in changes:
                began = loop.time()
                try:
                    await self._take(console, change)
                except FleetError as error:
                    self.say("error", explained(error))
                # The engine has the loop for most of the time, however much there is to show.
                await asyncio.sleep((loop.time() - began) * SHARE)

    async def _take(self, console: Console, change: Change) -> None:
        if change.engine != self._engine:
            self._engine = change.engine
            self._note_engine()
            self.refresh_bars()
            if console.where == "attached":
                self.say("info", "the engine is back")
            elif console.where == "none":
                key = self.keymap.shown(BY_ID["console.engine"])
                can = f" ({key} starts one here)" if self.door.can_start_engine else ""
                self.say("warning", f"the engine is gone: nothing is carried out until one runs{can}")
        for screen in self.console_screens():
            if screen.is_current or screen is self._underneath():
                await screen.changed(change)
            else:
                screen.stale = True
        self._count_soon(console)

    def _underneath(self) -> ConsoleScreen | None:
        """The screen that can be seen around a dialog."""
        screens = self.console_screens()
        return screens[-1] if screens else None

    def _count_soon(self, console: Console) -> None:
        if not self._counting:
            self._counting = True
            wait = max(0.0, self._counted + COUNT_SECONDS - self.now())
            self.set_timer(max(0.01, min(COUNT_SECONDS, wait)), lambda: self._count_now(console))

    def _count_now(self, console: Console) -> None:
        self.run_worker(self._count(console), name="count", group="count", exclusive=True)

    async def _count(self, console: Console) -> None:
        from fleetprompt.tui.counting import count_fleet

        self._counting = False
        self._counted = self.now()
        try:
            changed = await count_fleet(self.fleet, console, self.now(), self.times)
        except FleetError as error:
            self.say("error", explained(error))
            return
        if changed:
            self.refresh_bars()

    def _tick(self) -> None:
        screen = self._underneath()
        if screen is not None and self.client is not None:
            screen.tick()

    def refresh_bars(self) -> None:
        """Draw the frame of the screen again."""
        screen = self._underneath()
        if screen is not None:
            screen.refresh_bars()

    # ------------------------------------------------------------ saying

    def say(self, level: Level, text: str, *, quiet: bool = False) -> None:
        """Tell the operator something; it can be read again among the messages."""
        text = inert(text.replace("\n", " "))
        self.fleet.say(self.now(), level, text)
        if not quiet:
            severity = {"info": "information", "warning": "warning", "error": "error"}[level]
            self.notify(text, severity=severity, markup=False, timeout=4 if level == "info" else 8)  # type: ignore[arg-type]

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
            self.say("error", explained(cause))
        elif isinstance(error, WorkerFailed) and isinstance(cause, NoMatches):
            # A screen was left while something was read for it: what was to be shown has nowhere to go.
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
        action = BY_ID[id_]
        if action.changes and not self.may_change(action.label):
            return
        name = method(id_)
        for place in (self.screen.focused, self.screen, self):
            does = getattr(place, name, None)
            if does is not None:
                result = does()
                if isinstance(result, Awaitable):
                    await result
                break
        else:
            self.say("info", f"{action.label}: there is nothing to do that with here")
        # The next key is for the screen that this one has opened.
        if self._opening_screen is not None:
            opening, self._opening_screen = self._opening_screen, None
            await opening

    def push_screen(self, *screen: Any, **options: Any) -> Any:
        """Open a screen, as Textual does; whatever has been pressed is done once it stands."""
        opening = super().push_screen(*screen, **options)
        if isinstance(opening, AwaitMount):
            self._opening_screen = opening
        return opening

    def may_change(self, what: str) -> bool:
        """Whether something may be changed; if not, the operator is told why."""
        if self.read_only:
            self.say("warning", f"{what}: this console is read-only")
        elif self.client is None:
            self.say("warning", f"{what}: the store is not open")
        else:
            return True
        return False

    async def action_do(self, id_: str) -> None:
        """What every key is bound to."""
        await self.perform(id_)

    async def go_to(self, text: str) -> None:
        """Follow a deep link, as the palette takes it; the way is gone after whoever asks has finished."""
        # A screen that is left cannot wait for its own end.
        self.run_worker(self._follow(text), name="go", group="go")

    async def _follow(self, text: str) -> None:
        try:
            link = Link.parse(text)
            self._before, self._here = self._here, str(link)
            await follow(self, link)
        except FleetError as error:
            self.say("error", explained(error))

    def do_console_menu(self) -> None:
        """Everything that can be done here, searchable."""
        from fleetprompt.tui.screens.menus import menu

        screen = self._underneath()
        if screen is not None:
            picker = menu(screen.actions(), self.keymap, read_only=self.read_only)
            self.push_screen(picker, self._chosen)

    async def _chosen(self, id_: str | None) -> None:
        if id_:
            await self.perform(id_)

    def do_console_palette(self) -> None:
        """Commands and places, by name."""
        from fleetprompt.tui.screens.menus import palette

        screen = self._underneath()
        if screen is not None:
            self.push_screen(palette(self, screen.actions()), self._commanded)

    async def _commanded(self, command: str | None) -> None:
        verb, _, rest = (command or "").partition(" ")
        screen = self._underneath()
        if verb == "do":
            await self.perform(rest)
        elif verb == "go":
            await self.go_to(rest)
        elif verb in ("save", "forget") and screen is not None:
            self._keep_view(screen, verb, rest.strip())
        elif verb in ("q", "quit"):
            await self.do_console_quit()
        elif command:
            await self.go_to(command)

    def _keep_view(self, screen: ConsoleScreen, verb: str, name: str) -> None:
        try:
            if verb == "save":
                screen.save_view(name)
            else:
                self.views.forget(name)
                self.say("info", f"forgotten: {name}")
        except FleetError as error:
            self.say("error", explained(error))

    def do_go_menu(self) -> None:
        """Where to go, by one more letter."""
        from fleetprompt.tui.screens.menus import GoMenu

        self.push_screen(GoMenu(), self._chosen)

    async def do_go_runs(self) -> None:
        await self.go_to("runs")

    async def do_go_approvals(self) -> None:
        await self.go_to("approvals")

    async def do_go_signals(self) -> None:
        await self.go_to("signals")

    async def do_go_workflows(self) -> None:
        await self.go_to("workflows")

    async def do_go_cost(self) -> None:
        await self.go_to("cost")

    async def do_go_health(self) -> None:
        await self.go_to("health")

    async def do_go_messages(self) -> None:
        await self.go_to("messages")

    async def do_go_help(self) -> None:
        await self.go_to("help")

    async def do_go_last(self) -> None:
        """To the place before this one."""
        if self._before:
            await self.go_to(self._before)

    async def do_go_back(self) -> None:
        """Back to where one came from; at home there is nothing to leave."""
        screen = self.screen
        if isinstance(screen, ConsoleScreen) and screen.step_back():
            return
        if len(self.screen_stack) > 1:
            self.run_worker(self._leave_screen(), name="go", group="go")

    async def _leave_screen(self) -> None:
        await self.pop_screen()

    def do_console_theme(self) -> None:
        if self.native_ansi_color:
            self.say("info", "this terminal has its own colours")
            return
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    async def do_console_reload(self) -> None:
        if self.client is None:
            self.open()
            return
        for screen in self.console_screens():
            await screen.reload()
        self._count_now(self.client)

    def do_console_suspend(self) -> None:
        self.action_suspend_process()

    async def do_console_quit(self) -> None:
        """Leave; where runs would stop with the engine of this console, it is asked about first."""
        running = await self._at_work()
        if not running or not self.door.ends_engine:
            self.exit(0)
            return
        from fleetprompt.tui.screens.dialog import Confirm

        lines: list[Sequence[Part]] = [
            ((f"{count(running, 'run')} at work now, by the engine of this console.", ""),),
            (
                (
                    "Steps have a moment to finish; then the runs stand still, with all that is recorded,",
                    "dim",
                ),
            ),
            (("until an engine runs again: `fleet`, or `fleet recover`.", "dim"),),
        ]
        self.push_screen(Confirm("Leave?", lines, "leave", danger=False), self._leave)

    async def _at_work(self) -> int:
        """How many runs do something now: not a moment ago, as the top of the screen may say."""
        if self.client is None:
            return 0
        try:
            return await self.client.count("status:running")
        except FleetError:
            return self.fleet.counts.get("running", 0)

    def _leave(self, yes: bool | None) -> None:
        if yes:
            self.exit(0)

    # ------------------------------------------------------------ looks

    @property
    def palette(self) -> Palette:
        """The colours of the theme that is on."""
        if self._palette is None:
            self._palette = Palette(self)
        return self._palette

    def _repaint(self) -> None:
        self._palette = None
        for screen in self.console_screens():
            screen.refresh(layout=True)
            for widget in screen.walk_children():
                widget.refresh()

    def _give(self, event: Key) -> None:
        """Give a key to what has the focus by now."""
        if self.screen_stack:
            (self.focused or self.screen).post_message(event)

    async def on_key(self, event: Key) -> None:
        """A digit chooses a view. What was typed before a menu stood there was meant for it: `g r` at one go."""
        if not self.screen_stack:
            return
        screen = self.screen
        if isinstance(screen, Dialog) and screen.AHEAD and event not in self._late:
            self._late.add(event)
            self.call_later(self._give, event)
            return
        if isinstance(screen, ConsoleScreen) and event.character and event.character in "0123456789":
            event.stop()
            await screen.view(int(event.character))


def few_colors() -> bool:
    """Nothing can be blended: the terminal has its sixteen colours, or none are wanted (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return True
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = os.environ.get("TERM", "")
    return "256" not in term and "direct" not in term and "kitty" not in term
