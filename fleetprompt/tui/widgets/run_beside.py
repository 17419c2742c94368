"""What stands beside the steps of a run: what it asks, and values, facts or source of the step at the cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import DescendantBlur, DescendantFocus, Resize
from textual.message import Message
from textual.widgets import Input

from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.screens.dialog import Ask
from fleetprompt.tui.state.agent_rows import entry_values
from fleetprompt.tui.state.lines import Part, Rows
from fleetprompt.tui.state.log import LogView
from fleetprompt.tui.state.log_ending import Ending
from fleetprompt.tui.state.log_standing import standing
from fleetprompt.tui.state.log_text import crop
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_lines import FACTS, FactLines
from fleetprompt.tui.state.run_text import SourceLines, ValueLines
from fleetprompt.tui.state.run_values import Held, attempt_values, load, run_values, step_values
from fleetprompt.tui.state.source import SourceText
from fleetprompt.tui.widgets.ask_box import AskBox
from fleetprompt.tui.widgets.bars import Pill
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines
from fleetprompt.tui.widgets.run_bars import Tabs
from fleetprompt.tui.widgets.speech import SpeechBox
from fleetprompt.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

TABS = (("log", "Log"), ("values", "Values"), ("facts", "Facts"), ("source", "Source"))
ROOM = {"log": 44, "facts": 12}
"""Cells that are needed for what is said about a part, where that is not to be seen anywhere else."""


class AskNeedle(Ask):
    """What is to be found: blanks around it count."""

    def action_give(self) -> None:
        """Give the text as it is."""
        self.dismiss(self.query_one(Input).value)


class Beside(Vertical):
    """The parts, of which one is shown."""

    DEFAULT_CSS = """
    Beside > .part { display: none; }
    Beside.-log > .log { display: block; }
    Beside.-values > .values { display: block; }
    Beside.-facts > .facts { display: block; }
    Beside.-source > .source { display: block; }
    Beside #fact { height: 1fr; border-top: solid $panel; }
    Beside #told { display: none; }
    Beside.-told #told { display: block; }
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
        self._chosen = ""
        """Which part the operator has said is to be shown."""
        self._words = ""
        self._ending = Ending()

    def compose(self) -> ComposeResult:
        yield AskBox()
        yield SpeechBox()
        yield Tabs(TABS, self._key, lambda room: () if self.has_class("-told") else self._about(room))
        yield Pill(self._about, id="told")
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
        first = "log" if await view.console.log_chunks(view.id, limit=1) else "values"
        self.choose(self._chosen or first)
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

    @property
    def shown_log(self) -> LogLines | None:
        """The log, once the run is there."""
        found = self.query(LogLines)
        return found.first() if found else None

    @property
    def step_says_nothing(self) -> bool:
        """The log of a step is shown, and has no lines."""
        log = self.shown_log
        return self.tab == "log" and log is not None and log.view.path is not None and not log.view.lines

    def choose(self, tab: str) -> None:
        """Show another part."""
        self._chosen = tab
        if tab == "log" and self.shown_log is None:
            # The run is not there yet.
            return
        for each, _ in TABS:
            self.set_class(each == tab, f"-{each}")
        self.query_one(Tabs).show(tab)
        self._make_room()
        self.show()

    def on_resize(self, event: Resize) -> None:
        self._make_room()

    def _make_room(self) -> None:
        """A line of its own for what is said about the part, where there is not enough room beside the titles."""
        room = self.query_one(Tabs).room(self.size.width - 2)
        self.set_class(room < ROOM.get(self.tab, 0), "-told")
        self._tell()

    def _tell(self) -> None:
        """What is said about the part may be another thing now."""
        self.query_one(Tabs).refresh()
        self.query_one("#told", Pill).refresh()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Other keys choose a part now."""
        self._tell()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """The same."""
        self._tell()

    def _key(self, tab: str) -> str:
        """The key of a part. While the log has the keys, digits choose how much of it is shown."""
        if isinstance(self.screen.focused, LogLines):
            return self.app.keymap.under("log").shown(BY_ID[f"run.{tab}"]) or " "
        return str([each for each, _ in TABS].index(tab) + 1)

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        """A click on a title."""
        event.stop()
        self.post_message(self.Chosen(event.tab))

    def _about(self, room: int) -> Sequence[Part]:
        """What is said about the part that is shown."""
        view, log = self.runview, self.shown_log
        if view is None or log is None:
            return ()
        if self.tab == "log":
            return standing(log.view, inert(log.view.path or "whole run"), room)
        said = inert(view.current_step.path) if view.current_step is not None else ""
        if self.tab == "facts":
            facts = self.query_one("#facts", Lines).source
            words = f" · {inert(facts.words)}" if isinstance(facts, FactLines) and facts.words else ""
            said = count(facts.count, "fact") + words
        return crop(((said, "dim"),), 0, room)[0]

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
        self._tell()

    def _show_log(self, view: RunView) -> None:
        log, step = self.shown_log, view.current_step
        if log is None:
            return
        # A step that waits says nothing: what the run has done is of more interest.
        whole = self.whole_log or step is None or step.on is not None
        run, path = view.current_fold.id, None if whole or step is None else step.path
        log.empty = ((("this run has said nothing", "dim"),),)
        if path is not None:
            key = (self.app.keymap.shown(BY_ID["run.log"]), "accent")
            log.empty = ((("this step has said nothing", "dim"),), (key, (" shows the whole run's log", "dim")))
        if (log.view.run, log.view.path) != (run, path):
            log.show(LogView(view.console, run, path, within=True, times=self.app.times))
        else:
            log.look()

    def look_at_log(self) -> None:
        """There may be more lines, if the log is shown and the run was not over long ago."""
        view, log = self.runview, self.shown_log
        if self.tab != "log" or view is None or log is None:
            return
        if not self._ending.has_come(over=view.over(self.app.now()), lines=log.view.lines):
            self._show_log(view)

    def on_log_lines_changed(self) -> None:
        """What is said about the log may be another thing now."""
        self._tell()

    def on_log_lines_failed(self, event: LogLines.Failed) -> None:
        """The next look tries again, four times in a second: that nothing can be read is told once."""
        self.app.standing.tell(event.error)

    def on_log_lines_asked(self, event: LogLines.Asked) -> None:
        """Ask for what is to be found, or for a time."""
        log = event.log

        async def answered(text: str | None) -> None:
            if text is None:
                return
            if event.what == "find":
                log.search(text)
            elif text:
                await log.go_to_time(text)

        if event.what == "find":
            hint = "a text, or /a regular expression/; nothing ends the search"
            ask = AskNeedle("Find in the log", (), "find", placeholder=hint)
        else:
            ask = Ask("Go to a time", (), "go", placeholder="14:02:11, or 5m for five minutes ago")
        self.app.push_screen(ask, answered)

    def _show_values(self, view: RunView) -> None:
        pane = self.query_one("#values", TextView)
        node = view.tree.current
        values: list[Held] = []
        if node is not None and node.attempt is not None:
            values = attempt_values(node.attempt)
        elif node is not None and node.entry is not None:
            values = entry_values(node.entry)
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

    def show_speech(self) -> None:
        """Show what is just said."""
        self.query_one(SpeechBox).show(self.runview)

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
            self._tell()
        elif isinstance(part, TextView):
            part.find(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to what was found."""
        event.stop()
        self.close_find()
        self.post_message(self.Found())
