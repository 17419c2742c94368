"""What stands beside the steps of a run: what it asks, and values, facts or source of the step at the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.screens.dialog import Ask
from fleetprompt.tui.state.lines import Part, Rows
from fleetprompt.tui.state.log import LogView
from fleetprompt.tui.state.log_standing import standing
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_lines import FACTS, FactLines
from fleetprompt.tui.state.run_text import SourceLines, ValueLines
from fleetprompt.tui.state.run_values import Held, attempt_values, load, run_values, step_values
from fleetprompt.tui.state.source import SourceText
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_bars import Tabs
from fleetprompt.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

TABS = (("log", "Log"), ("values", "Values"), ("facts", "Facts"), ("source", "Source"))


class Beside(Vertical):
    """The parts, of which one is shown."""

    DEFAULT_CSS = """
    Beside > .part { display: none; }
    Beside.-log > .log { display: block; }
    Beside.-values > .values { display: block; }
    Beside.-facts > .facts { display: block; }
    Beside.-source > .source { display: block; }
    Beside #fact { height: 1fr; border-top: solid $panel; }
    Beside #find { height: 1; padding: 0 1; background: $panel; display: none; }
    Beside #find.-open { display: block; }
    """
    app: FleetConsole

    class Chosen(Message):
        """A part was chosen by mouse."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    class Found(Message):
        """Enter was pressed where one types what is to be found."""

    def __init__(self) -> None:
        super().__init__(classes="-values")
        self.runview: RunView | None = None
        self.whole_log = False
        """The log is that of the whole run, not of the step at the cursor."""
        self._chosen = False
        """The operator has said which part is to be shown."""
        self._words = ""

    def compose(self) -> ComposeResult:
        yield AskBox()
        yield Tabs(TABS, self._about)
        yield TextView(id="values", classes="part values")
        yield Lines(Rows(FACTS), id="facts", classes="part facts")
        yield TextView(id="fact", classes="part facts")
        yield TextView(id="source", classes="part source")
        yield Input(id="find", compact=True, select_on_focus=False)

    async def open(self, view: RunView, clock: Callable[[float], str]) -> None:
        """Show a run. Raises `FleetError` when its source cannot be read."""
        self.runview = view
        self.query_one("#facts", Lines).source = FactLines(view.fold.facts, clock)
        log = LogView(view.console, view.id, times=self.app.times)
        await self.mount(LogLines(log, id="log", classes="part log"), before="#values")
        # What a run says is what one wants to see first, if it says anything.
        first = "log" if await view.console.log_chunks(view.id) else "values"
        if not self._chosen:
            self.choose(first)
        source = await SourceText.load(view.console, view.head.plan)
        self.query_one("#source", TextView).source = SourceLines(source)
        self.show()

    # ------------------------------------------------------------ which part

    @property
    def tab(self) -> str:
        """The part that is shown."""
        return next(tab for tab, _ in TABS if self.has_class(f"-{tab}"))

    @property
    def part(self) -> Lines | LogLines:
        """The list of the part that is shown."""
        return self.query_one(f"#{self.tab}", LogLines if self.tab == "log" else Lines)

    def choose(self, tab: str) -> None:
        """Show another part."""
        self._chosen = True
        if tab == "log" and not self.query(LogLines):
            # The run is not there yet.
            return
        for each, _ in TABS:
            self.set_class(each == tab, f"-{each}")
        self.query_one(Tabs).show(tab)
        self.show()

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        """A click on a title."""
        event.stop()
        self.post_message(self.Chosen(event.tab))

    def _about(self) -> Sequence[Part]:
        view = self.runview
        if view is None:
            return ()
        if self.tab == "log":
            return self._about_log(view)
        if self.tab == "facts":
            facts = self.query_one("#facts", Lines).source
            words = f" · {inert(facts.words)}" if isinstance(facts, FactLines) and facts.words else ""
            return ((count(facts.count, "fact") + words, "dim"),)
        step = view.current_step
        return ((inert(step.path) if step is not None else "", "dim"),)

    def _about_log(self, view: RunView) -> Sequence[Part]:
        logs = self.query(LogLines)
        if not logs:
            return ()
        path = logs.first().view.path
        of = inert(path) if path else "whole run"
        return (*standing(logs.first().view), (f"  {of}", "dim"))

    # ------------------------------------------------------------ what is in it

    def show(self) -> None:
        """Show what there is of the row at the cursor, as it is now."""
        if self.runview is None:
            return
        match self.tab:
            case "log":
                self._show_log(self.runview)
            case "values":
                self._show_values(self.runview)
            case "facts":
                self.query_one("#facts", Lines).renew()
                self._show_fact(self.runview)
            case _:
                self._show_source(self.runview)
        self.query_one(Tabs).refresh()

    def _show_log(self, view: RunView) -> None:
        logs = self.query(LogLines)
        if not logs:
            return
        log = logs.first()
        step = view.current_step
        # A step that waits says nothing: what the run has done is of more interest.
        whole = self.whole_log or step is None or step.on is not None
        run, path = view.current_fold.id, None if whole or step is None else step.path
        hint: tuple[Part, ...] = (("this run has said nothing", "dim"),)
        if path is not None:
            key = self.app.keymap.shown(BY_ID["run.log"])
            hint = (("this step has said nothing; ", "dim"), (key, "accent"), (" shows the whole run's log", "dim"))
        log.empty = hint
        if (log.view.run, log.view.path) != (run, path):
            log.show(LogView(view.console, run, path, within=True, times=self.app.times))
        else:
            log.look()

    def look_at_log(self) -> None:
        """There may be more lines, if the log is shown."""
        if self.tab == "log" and self.runview is not None:
            self._show_log(self.runview)

    def on_log_lines_changed(self) -> None:
        """What is said about the log may be another thing now."""
        self.query_one(Tabs).refresh()

    def on_log_lines_failed(self, event: LogLines.Failed) -> None:
        """The next look tries again."""
        self.app.say("error", event.error.message)

    def on_log_lines_asked(self, event: LogLines.Asked) -> None:
        """Ask for what is to be found, or for a time."""
        log = event.log

        async def answered(text: str | None) -> None:
            if not text:
                return
            if event.what == "find":
                log.search(text)
            else:
                await log.go_to_time(text)

        if event.what == "find":
            ask = Ask("Find in the log", (), "find", placeholder="a text, or /a regular expression/")
        else:
            ask = Ask("Go to a time", (), "go", placeholder="14:02:11, or 5m for five minutes ago")
        self.app.push_screen(ask, answered)

    def _show_values(self, view: RunView) -> None:
        pane = self.query_one("#values", TextView)
        node = view.tree.current
        values: list[Held] = []
        if node is not None and node.attempt is not None:
            values = attempt_values(node.attempt)
        elif node is not None and node.step is not None:
            values = step_values(node.step)
        values += [replace(held, name=f"run {held.name}") for held in run_values(view.current_fold.run)]
        of = node.key if node is not None else ""
        shown = pane.source
        if isinstance(shown, ValueLines) and shown.same(of, values):
            return
        same_row = isinstance(shown, ValueLines) and shown.of == of
        pane.show(ValueLines(values, of=of), at=pane.cursor if same_row else 0)

    def _show_fact(self, view: RunView) -> None:
        facts, pane = self.query_one("#facts", Lines), self.query_one("#fact", TextView)
        of = str(facts.key)
        if isinstance(facts.key, int) and not (isinstance(pane.source, ValueLines) and pane.source.of == of):
            pane.show(ValueLines([Held(f"fact {facts.key + 1}", view.fold.facts.object(facts.key))], of=of))

    def _show_source(self, view: RunView) -> None:
        pane = self.query_one("#source", TextView)
        lines, node = pane.source, view.tree.current
        if not isinstance(lines, SourceLines):
            return
        path = node.track.step.path if node is not None and node.track is not None and node.fold is view.fold else ""
        marked = lines.source.lines_of(path)
        if lines.marked != marked:
            lines.marked = marked
            pane.show(lines, at=marked[0] if marked is not None else 0)
        pane.renew()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """The fact at the cursor is shown whole."""
        if event.lines.id == "facts" and self.runview is not None:
            self._show_fact(self.runview)

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        """Enter on a fact goes into it; on a value that is kept apart, loads it."""
        event.stop()
        if event.lines.id == "facts":
            self.query_one("#fact").focus()
        elif isinstance(event.lines, TextView) and isinstance(event.lines.source, ValueLines):
            await self._load_value(event.lines, event.lines.source)

    async def _load_value(self, pane: TextView, lines: ValueLines) -> None:
        which = lines.at(pane.cursor)
        if self.runview is None or which is None or lines.is_loaded(which):
            return
        try:
            value = await load(self.runview.console, lines.values[which])
        except FleetError as error:
            self.app.say("error", error.message)
            return
        lines.set(which, value)
        pane.renew()

    # ------------------------------------------------------------ what is asked

    @property
    def ask_box(self) -> AskBox:
        """What the run asks."""
        return self.query_one(AskBox)

    def show_asked(self, now: float) -> None:
        """Show what the run asks for."""
        self.ask_box.show(self.runview, now)

    # ------------------------------------------------------------ finding

    @property
    def finding(self) -> bool:
        """One types what is to be found."""
        return self.query_one("#find").has_class("-open")

    def find(self) -> None:
        """Type what is to be found: in the facts, it filters them."""
        part = self.part
        if isinstance(part, LogLines):
            part.do_log_find()
            return
        field = self.query_one("#find", Input)
        field.placeholder = "part of a type or a step" if self.tab == "facts" else "find"
        field.value = self._words
        field.add_class("-open")
        field.focus()

    def close_find(self) -> None:
        """What was found stays."""
        self.query_one("#find").remove_class("-open")

    def find_next(self) -> None:
        """The next place of what was found."""
        part = self.part
        if isinstance(part, LogLines):
            part.do_log_next()
        elif self._words and isinstance(part, TextView) and not part.find(self._words, again=True):
            self.app.say("info", f"`{self._words}` is not in there")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find it while it is typed."""
        event.stop()
        if not self.finding:
            return
        self._words = event.value
        part = self.part
        if isinstance(part, LogLines):
            return
        if isinstance(part.source, FactLines):
            part.source.words = event.value
            part.renew()
            self.query_one(Tabs).refresh()
        elif isinstance(part, TextView):
            part.find(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to what was found."""
        event.stop()
        self.close_find()
        self.post_message(self.Found())
