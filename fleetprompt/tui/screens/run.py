"""One run: its steps as a tree or a timeline, and beside them values, facts and source of what is selected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.events import DescendantBlur, DescendantFocus
from textual.timer import Timer

from fleetprompt.client.wording import short
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import Action, Where, at, method
from fleetprompt.tui.painting import is_remote
from fleetprompt.tui.screens.run_doing import RunDoing
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_lines import TreeLines
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_bars import RunBar
from fleetprompt.tui.widgets.run_beside import TABS, Beside
from fleetprompt.tui.widgets.run_tree import TreeView

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.tui.keymap import Keymap

LOOK = 0.25
"""Seconds between two looks for more lines of a log."""
REST = 0.06
"""Seconds the cursor rests on a row before what is beside it is shown: moving on must not wait for that."""
WORDS, REMOTE_WORDS = 20.0, 10.0
"""How often what is just said is shown, at most, in a second; over a network less often."""
LATER = 30
"""Places in the footer by which the log's actions go before those of its run."""


def _later(action: Action) -> Action:
    """The same, sooner left out of the footer."""
    return replace(action, footer=action.footer and action.footer + LATER)


class RunScreen(RunDoing):
    """One run."""

    PLACES: ClassVar = ("run",)
    NAME: ClassVar = "run"
    DEFAULT_CSS = """
    RunScreen #panes { height: 1fr; }
    RunScreen #steps { width: 5fr; }
    RunScreen Beside { width: 4fr; border-left: solid $panel; }
    RunScreen.-narrow Beside, RunScreen.-alone Beside { display: none; border-left: none; }
    RunScreen.-narrow.-beside Beside, RunScreen.-alone.-beside Beside { display: block; width: 1fr; }
    RunScreen.-narrow.-beside #steps, RunScreen.-alone.-beside #steps { display: none; }
    """

    def __init__(self, run: str, path: str = "") -> None:
        """`run`: an id, its end, or `last`. `path`: the step on which the cursor begins."""
        super().__init__()
        self._run = run
        self._path = path
        self._tree: TreeLines | None = None
        self._rest: Timer | None = None
        self._hears = False
        """It is followed what models are just saying."""
        self._wants_log = False
        """Go to the log as soon as it is there."""

    # ------------------------------------------------------------ what there is

    async def on_mount(self) -> None:
        self.set_interval(LOOK, self._look_at_log)

    def _look_at_log(self) -> None:
        """The run may have said more."""
        if self.is_current and not self.app.fleet.away:
            self.beside.look_at_log()

    def body(self) -> ComposeResult:
        yield RunBar()
        with Horizontal(id="panes"):
            with Vertical(id="steps"):
                yield Heading()
            yield Beside()

    def crumb(self) -> str:
        """The run in the trail."""
        return short(self.run)

    @property
    def run(self) -> str:
        """Its id; until it is loaded, what was asked for."""
        return self.runview.id if self.runview is not None else self._run

    def link(self) -> str:
        """This run."""
        return f"run {self.run}"

    def seek(self, path: str) -> None:
        """Put the cursor on a step."""
        self._path = path or self._path
        view, steps = self.runview, self.steps
        if path and view is not None and steps is not None and view.tree.reveal_path(path):
            steps.follow()
            steps.focus()

    async def opened(self, console: Console) -> None:
        """Load the run while the frame is shown."""
        self.run_worker(partial(self._load, console), group="load", exclusive=True)

    async def _load(self, console: Console) -> None:
        bar = self.query_one(RunBar)
        try:
            view = await RunView.load(console, await console.find(self._run))
        except FleetError as error:
            self.error = error
            bar.said = ((inert(error.message), "error"), (f"  {inert(error.hint)}" if error.hint else "", "dim"))
            bar.refresh()
            return
        self.error = None
        self.runview = bar.view = view
        self._tree = TreeLines(view, self.app.now)
        tree = TreeView(self._tree)
        tree.empty = (("nothing has started", "dim"),)
        heading = self.query_one(Heading)
        heading.watch_lines(tree)
        await self.query_one("#steps").mount(tree)
        if not (self._path and view.tree.reveal_path(self._path)):
            view.tree.next_active() or view.tree.next_failure()
        tree.follow(by_hand=bool(self._path))
        tree.focus()
        self._show_all()
        try:
            await self.beside.open(view, self.app.times.clock)
            # What it asks is told from now on, and can be answered.
            self._show_all()
        except FleetError as error:
            self.app.say("error", error.message)
        if self._wants_log:
            self._go_to_log()

    # ------------------------------------------------------------ what changes

    async def changed(self, change: Change) -> None:
        """Facts have come: fold them, and draw what they are about."""
        view, tree = self.runview, self.steps
        if view is None or tree is None or not (change.lost or set(view.runs) & set(change.runs)):
            return
        if change.lost and view.run.ended and await self._is_gone(view):
            return
        await self._catch_up(None if change.lost else change.runs)

    async def _is_gone(self, view: RunView) -> bool:
        """Whether retention has deleted the run: what is shown of it stays, and nothing can be done to it any more."""
        try:
            await self.client.run(view.id)
        except NotFound:
            bar = self.query_one(RunBar)
            self._run, self.runview, bar.view = view.id, None, None
            name = inert(view.created.workflow) if view.created is not None else ""
            bar.said = (
                (name, "strong"),
                (f"  {short(view.id)}", "id"),
                ("  is not in the store any more: retention has deleted it; this is how it was", "warning"),
            )
            self.refresh_bars()
            bar.refresh()
            return True
        return False

    async def reload(self) -> None:
        """Take up what has come; where nothing could be loaded, try again."""
        if self.runview is None:
            await self.opened(self.client)
        else:
            await self._catch_up(None)
            self.beside.show()

    async def _catch_up(self, changed: Collection[str] | None) -> None:
        view, tree = self.runview, self.steps
        if view is None or tree is None:
            return
        before = view.tree.version
        if not await view.catch_up(changed):
            return
        step = view.current_step
        if not tree.moved_by_hand and (step is None or step.settled) and view.tree.next_active():
            # Until the operator chooses a step, the cursor stands where something goes on.
            tree.follow(by_hand=False)
        view.tree.visible()
        tree.repaint_touched(view.tree.version != before)
        self._show_all()

    def _show_all(self) -> None:
        self.query_one(RunBar).refresh()
        self.beside.show_asked(self.app.now())
        self.beside.show_speech()
        self._listen()
        # Not put off: changes may come faster than anybody's fingers.
        if self._rest is None:
            self._rest_then_show()
        self.refresh_bars()

    def _listen(self) -> None:
        """Follow what models are just saying, while somebody looks."""
        view = self.runview
        if view is None or not self.is_current or not view.may_speak or self._hears:
            return
        self._hears = True
        self.run_worker(self._overhear(view), name="overhear", group="overhear", exclusive=True)

    async def _overhear(self, view: RunView) -> None:
        try:
            async with aclosing(view.overhear(1 / (REMOTE_WORDS if is_remote() else WORDS))) as heard:
                async for _ in heard:
                    self.beside.show_speech()
        except FleetError as error:
            self.app.say("error", error.message)
        finally:
            view.speech.forget()
            self._hears = False

    def on_screen_suspend(self) -> None:
        """Nobody looks: what is said is not followed."""
        self.workers.cancel_group(self, "overhear")

    async def on_screen_resume(self) -> None:
        """Somebody looks again."""
        self._listen()

    def voting_changed(self) -> None:
        """What is asked says that it is being decided."""
        if self.runview is not None:
            self.beside.show_asked(self.app.now())

    def tick(self) -> None:
        """Times go on."""
        tree, lines = self.steps, self._tree
        if tree is None or lines is None or self.runview is None:
            return
        if not self.runview.run.ended:
            self.query_one(RunBar).refresh()
            self.beside.show_asked(self.app.now())
        seen = tree.visible_range
        tree.repaint(lines.moving(seen.start, seen.stop) if not self.runview.run.ended else ())

    # ------------------------------------------------------------ what is beside the steps

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """The cursor has moved: what is beside it follows when it rests."""
        if isinstance(event.lines, TreeView):
            self._rest_then_show()
            self.refresh_bars()

    def _rest_then_show(self) -> None:
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST, self._show_beside)

    def _show_beside(self) -> None:
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        if not self.query(Beside):
            # The screen is being left, and has nothing in it any more.
            return
        self.beside.show_asked(self.app.now())
        self.beside.show_speech()
        self.beside.show()

    def choose(self, tab: str) -> None:
        """Show another part beside the steps, and go there on a screen that has room for one."""
        self.beside.choose(tab)
        if self.has_class("-narrow") or self.has_class("-alone"):
            self._go_beside()

    def _go_beside(self) -> None:
        self.add_class("-beside")
        self.beside.part.focus()

    def on_beside_chosen(self, event: Beside.Chosen) -> None:
        """A part was clicked at."""
        self.choose(event.tab)

    async def view(self, number: int) -> None:
        """A digit chooses a part."""
        if 0 < number <= len(TABS):
            self.choose(TABS[number - 1][0])

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Enter on a step goes to what is beside it."""
        self._go_beside()

    def on_tree_view_wanted(self) -> None:
        """A child run's row was opened."""
        self.run_worker(partial(self._catch_up, ()), group="children", exclusive=True)

    def step_back(self) -> bool:
        """Esc closes what was opened last, and goes back to the steps before it leaves the run."""
        steps = self.steps
        if self.beside.finding:
            self.beside.close_find()
        elif steps is None or self.focused is steps:
            return False
        self.remove_class("-beside")
        if steps is not None:
            steps.focus()
        return True

    # ------------------------------------------------------------ finding

    def do_run_find(self) -> None:
        """Find a text in what is beside the steps."""
        self.add_class("-beside")
        self.beside.find()

    def do_run_find_next(self) -> None:
        """The next place of what was found."""
        self.beside.find_next()

    def on_beside_found(self) -> None:
        """What was typed was found: go there."""
        self._go_beside()

    # ------------------------------------------------------------ looking

    def do_run_timeline(self) -> None:
        """When each step was active, or why it is as it is."""
        tree, lines = self.steps, self._tree
        if tree is not None and lines is not None:
            lines.timeline = not lines.timeline
            tree.renew()
            self.query_one(Heading).refresh()

    def do_run_failure(self) -> None:
        """To the next step that failed."""
        self._jump(self.runview is not None and self.runview.tree.next_failure(), "nothing has failed")

    def do_run_active(self) -> None:
        """To what is active, or waits."""
        self._jump(self.runview is not None and self.runview.tree.next_active(), "nothing is active")

    def _jump(self, found: bool, nothing: str) -> None:
        tree = self.steps
        if tree is None:
            return
        if not found:
            self.app.say("info", nothing)
            return
        tree.follow()
        tree.focus()

    def do_run_log(self) -> None:
        """To the log of the step at the cursor; from there, or where it is empty, to that of the whole run and back."""
        beside = self.beside
        if self._in_log or beside.step_says_nothing:
            beside.whole_log = not beside.whole_log
        self._go_to_log()

    def show_log(self) -> None:
        """Go to the log of the whole run."""
        self.beside.whole_log = True
        self._go_to_log()

    def _go_to_log(self) -> None:
        self._wants_log = self.beside.shown_log is None
        self.choose("log")
        if not self._wants_log:
            self._go_beside()

    def do_run_values(self) -> None:
        """What went in and came out."""
        self.choose("values")

    def do_run_facts(self) -> None:
        """What was recorded."""
        self.choose("facts")

    def do_run_source(self) -> None:
        """The file."""
        self.choose("source")

    def do_run_zoom(self) -> None:
        """One part alone, or both."""
        self.toggle_class("-alone")
        self.set_class(self.focused is not self.steps, "-beside")

    # ------------------------------------------------------------ what is offered

    @property
    def _in_log(self) -> bool:
        """The keys are for the log first."""
        return isinstance(self.focused, LogLines)

    def places(self) -> Sequence[Where]:
        """The run, and its log while that has the keys."""
        return ("log", *self.PLACES) if self._in_log else self.PLACES

    @property
    def keymap(self) -> Keymap:
        """A key of the log's means nothing else while the log has the keys."""
        return self.app.keymap.under("log") if self._in_log else self.app.keymap

    def actions(self) -> list[Action]:
        """Everything that can be done now: a log is none of the lists, and can do less."""
        return at([*self.places(), "console"]) if self._in_log else super().actions()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """What can be done is another thing now."""
        self.refresh_bars()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """The same."""
        self.refresh_bars()

    def footer(self) -> Sequence[Action]:
        """What can be done now, as long as its key means it."""
        mine, all_ = self.keymap, self.app.keymap
        # The bar shows the first key of each.
        meant = [action for action in super().footer() if mine.keys(action)[:1] == all_.keys(action)[:1]]
        offered = [action for action in meant if self._is_offered(action)]
        if not self._in_log:
            return offered
        # Where there is little room, what the log can do comes before what else there is to look at.
        return [_later(action) if action.where == self.PLACES and not action.changes else action for action in offered]

    def _is_offered(self, action: Action) -> bool:
        if "console" in action.where:
            return True
        if self.runview is None:
            return False
        if {"list", "log"} & {*action.where}:
            return True
        return hasattr(self, method(action.id)) and self.can(action)
