"""Below the list of runs: what the run at the cursor does, what it asks, what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from fleetprompt.client.wording import short
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.log import LogView
from fleetprompt.tui.state.log_ending import Ending
from fleetprompt.tui.state.money import badge
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_lines import TreeLines
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import Pill
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_tree import TreeView

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.tui.app import FleetConsole

MOST_FACTS = 20_000
"""A run with more facts is not folded for a glance; enter opens it."""


class RunPreview(Horizontal):
    """One run at a glance. Nothing in it takes the focus."""

    DEFAULT_CSS = """
    RunPreview { height: 42%; min-height: 10; border-top: solid $panel; }
    RunPreview .steps { width: 5fr; }
    RunPreview .beside { width: 4fr; border-left: solid $panel; }
    RunPreview Pill { background: $background; }
    """
    app: FleetConsole

    def __init__(self) -> None:
        super().__init__()
        self.runview: RunView | None = None
        self._said: tuple[Part, ...] = ()
        self._ending = Ending()
        self.wanted = ""
        """The run that is to be shown."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="steps"):
            yield Pill(self._about)
        with Vertical(classes="beside"):
            yield AskBox()

    def _about(self, width: int) -> list[Part]:
        view = self.runview
        if view is None or self._said:
            return list(self._said)
        marks = badge(view.run.mode)
        mode = [("  ", ""), *marks] if marks else []
        return [("steps of ", "dim"), (short(view.id), "id"), *mode, ("   ↵ opens it", "faint")]

    @property
    def shown(self) -> bool:
        """There is room for it, and the operator wants it."""
        return bool(self.display) and self.size.height > 0

    async def show(self, console: Console, run: str, facts: int) -> None:
        """Show another run, which has so many facts; an empty id shows none."""
        self.wanted = run
        if not run or facts > MOST_FACTS:
            said = f"{facts:,} facts: ↵ opens it" if run else ""
            self._clear(((said, "dim"),))
            return
        if self.runview is not None and self.runview.id == run:
            await self.catch_up()
            return
        try:
            view = await RunView.load(console, run)
        except FleetError as error:
            self._clear(((inert(error.message), "error"),))
            return
        if self.wanted != run or not all(part.is_mounted for part in (self, *self.query(Vertical))):
            # Another one is wanted by now, or its screen was left before the whole of it stood.
            return
        self._said = ()
        self.runview = view
        await self._fill(view, console)

    async def _fill(self, view: RunView, console: Console) -> None:
        lines = TreeLines(view, self.app.now)
        log = LogView(console, view.id, times=self.app.times)
        self._ending = Ending()
        trees, logs = self.query(TreeView), self.query(LogLines)
        view.tree.next_active() or view.tree.next_failure()
        if trees and logs:
            tree = trees.first()
            tree.source = lines
            logs.first().show(log)
        else:
            tree, said = TreeView(lines), LogLines(log)
            tree.can_focus = said.can_focus = False
            said.empty = ((("this run has said nothing", "dim"),),)
            await self.query_one(".steps").mount(tree)
            await self.query_one(".beside").mount(said)
        tree.display = True
        tree.follow(by_hand=False)
        self._show_asked()

    def _clear(self, said: tuple[Part, ...]) -> None:
        self.runview = None
        self._said = said
        for tree in self.query(TreeView):
            tree.display = False
        self.query_one(AskBox).show(None, self.app.now())
        self.query_one(Pill).refresh()

    def show_asked(self) -> None:
        """What can be decided may be other than it was."""
        if self.runview is not None:
            self._show_asked()

    def _show_asked(self) -> None:
        self.query_one(AskBox).show(self.runview, self.app.now())
        self.query_one(Pill).refresh()

    async def changed(self, change: Change) -> None:
        """Facts have come."""
        view = self.runview
        if view is None and self.wanted and change.lost and self.app.client is not None:
            # It could not be read.
            await self.show(self.app.client, self.wanted, 0)
        elif view is not None and (change.lost or set(view.runs) & set(change.runs)):
            await self.catch_up()

    async def catch_up(self) -> None:
        """Take up what has come of the run that is shown."""
        view = self.runview
        if view is None:
            return
        before = view.tree.version
        try:
            moved = await view.catch_up()
        except FleetError as error:
            if not self.app.door.lost:
                self._clear(((inert(error.message), "error"),))
            return
        for tree in self.query(TreeView):
            if not moved or view is not self.runview:
                continue
            step = view.current_step
            if (step is None or step.settled) and view.tree.next_active():
                tree.follow(by_hand=False)
            view.tree.visible()
            tree.repaint_touched(view.tree.version != before)
        self._show_asked()
        self.look()

    def look(self) -> None:
        """The run may have said more."""
        for log in self.query(LogLines):
            log.look()

    def tick(self) -> None:
        """Times go on."""
        view = self.runview
        if view is None:
            return
        for log in self.query(LogLines):
            if not self._ending.has_come(over=view.over(self.app.now()), lines=log.view.lines):
                log.look()
        if view.run.ended:
            return
        self.query_one(AskBox).show(view, self.app.now())
        for tree in self.query(TreeView):
            seen = tree.visible_range
            tree.repaint(tree.source.moving(seen.start, seen.stop))
