"""The filter of a list: shown as a line, edited in place, completed with what the store really holds.

What cannot be understood is underlined, and the last good result stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Key
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query import QueryProblem, parse
from fleetprompt.engine.core.query_complete import Completion, complete
from fleetprompt.engine.core.query_fields import FieldSet
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.bars import Pill
from fleetprompt.tui.widgets.fields import SafeInput

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

Values = Callable[[str], Awaitable[Sequence[tuple[str, int]]]]
"""Live values of a field, with how many rows have each."""
REST = 0.02
"""Seconds after a key until the list is filtered: keys that come at one go are one filter. What was asked for a key
before is given up."""
OFFERED = 8


def explained(problem: QueryProblem) -> str:
    """What is wrong, and what may be meant."""
    return f"{problem.message} — {problem.hint}" if problem.hint else problem.message


class _Underlined(Highlighter):
    """Underlines what cannot be understood."""

    def __init__(self, bar: FilterBar) -> None:
        self._bar = bar

    def highlight(self, text: Text) -> None:
        bad = self._bar.app.palette.style("bad")
        for problem in parse(text.plain, self._bar.fields).problems:
            text.stylize(bad, problem.start, max(problem.end, problem.start + 1))


class FilterInput(SafeInput):
    """One line of text; its bar knows what the special keys mean."""

    class Pressed(Message):
        """A key that means something else here than in other texts."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    KEYS: ClassVar = ("tab", "up", "down", "escape", "enter")

    async def _on_key(self, event: Key) -> None:
        if event.key in self.KEYS:
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(event.key))
            return
        await super()._on_key(event)


class FilterBar(Vertical):
    """The filter of a list."""

    DEFAULT_CSS = """
    FilterBar { height: 1; }
    FilterBar FilterInput { height: 1; padding: 0 1; background: $surface; display: none; }
    FilterBar.-editing FilterInput { display: block; }
    FilterBar.-editing Pill { display: none; }
    FilterBar OptionList { overlay: screen; constrain: inside inside; width: 60; max-width: 100%; height: auto;
        max-height: 10; border: round $primary; background: $surface; display: none; padding: 0; }
    FilterBar.-offering OptionList { display: block; }
    """
    app: FleetConsole

    class Changed(Message):
        """The filter is another one, and can be understood."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """The filter is not edited any more."""

    def __init__(self, fields: FieldSet, parts: Callable[[int], Sequence[Part]], values: Values) -> None:
        super().__init__()
        self.fields = fields
        self._parts = parts
        self._values = values
        self._known: dict[str, Sequence[tuple[str, int]]] = {}
        self._asked: set[str] = set()
        """Fields whose values are being read."""
        self._offers: list[Completion] = []
        self._history: list[str] = []
        self._back = 0
        self.found: Callable[[], str] = str
        """What is said of the result where the list lies under what is offered."""
        self.text = ""
        """The filter whose result is shown."""
        self._before = ""

    def compose(self) -> ComposeResult:
        yield Pill(self._parts)
        yield FilterInput(
            placeholder="status:failed wf:name cost>0.5 since:2h -word — tab completes",
            highlighter=_Underlined(self),
            select_on_focus=False,
            compact=True,
        )
        options = OptionList()
        options.can_focus = False
        yield options

    @property
    def editing(self) -> bool:
        """The filter is being typed."""
        return self.has_class("-editing")

    def edit(self) -> None:
        """Begin to type, with the filter that is shown."""
        self._before = self.text
        self._back = 0
        self._known.clear()
        self.add_class("-editing")
        self.query_one(OptionList).border_subtitle = self.found()
        box = self.query_one(FilterInput)
        box.value = self.text + (" " if self.text else "")
        box.cursor_position = len(box.value)
        box.focus()

    def set(self, text: str) -> bool:
        """Show this filter from now on, if it can be understood; else say why not, and begin to edit it."""
        problems = parse(text, self.fields).problems
        if problems:
            self.edit()
            box = self.query_one(FilterInput)
            box.value = text
            box.cursor_position = len(text)
            self._refuse(problems)
            return False
        self._apply(text)
        return True

    def start_with(self, text: str) -> None:
        """Show a filter whose result is about to be shown."""
        self.text = text
        self.redraw()

    def redraw(self) -> None:
        """What is said about the list is different now."""
        self.query_one(Pill).redraw()
        if self.editing:
            self.query_one(OptionList).border_subtitle = self.found()

    def _apply(self, text: str) -> None:
        text = text.strip()
        if text != self.text:
            self.text = text
            self.post_message(self.Changed(text))
        self.redraw()

    def close(self, *, keep: bool) -> None:
        """Stop typing; without `keep` the filter is what it was before."""
        self.remove_class("-editing", "-offering")
        typed = self.query_one(FilterInput).value.strip()
        if keep and typed and not parse(typed, self.fields).problems:
            self._history = [typed, *(text for text in self._history if text != typed)][:50]
        if not keep:
            self._apply(self._before)
        elif not parse(typed, self.fields).problems:
            self._apply(typed)
        self.post_message(self.Closed())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while one types, a moment after the last key."""
        event.stop()
        if self.editing:
            self._offer(event.value)
            self.run_worker(partial(self._typed, event.value), group="typed", exclusive=True)

    async def _typed(self, text: str) -> None:
        import asyncio

        await asyncio.sleep(REST)
        if self._names_a_field():
            # `stat` is on its way to `status:`, and no text that is searched for; enter says otherwise.
            return
        if not parse(text, self.fields).problems:
            self._apply(text)

    # ------------------------------------------------------------ completion

    def _offer(self, text: str) -> None:
        """Offer what is known; values that are not known yet are asked for, and the filter does not wait for them."""
        box = self.query_one(FilterInput)
        asked: list[str] = []

        def known(name: str) -> Iterable[tuple[str, int]]:
            if name not in self._known:
                asked.append(name)
            return self._known.get(name, ())

        offers = complete(text, min(box.cursor_position, len(text)), self.fields, known)
        for name in asked:
            if name not in self._asked:
                self._asked.add(name)
                self.run_worker(partial(self._learn, name), group="values")
        self._offers = offers[:OFFERED] if text.strip() else []
        options = self.query_one(OptionList)
        options.clear_options()
        dim = self.app.palette.style("dim")
        for offer in self._offers:
            line = Text(inert(offer.text)).append(f"  {inert(offer.doc)}", dim)
            options.add_option(Option(line))
        wrong = self._wrong(text, box.cursor_position)
        if wrong is not None:
            style = self.app.palette.style("error")
            options.add_option(Option(Text(inert(explained(wrong)), style), disabled=True))
        self.set_class(bool(self._offers) or wrong is not None, "-offering")
        options.styles.offset = (min(box.cursor_position, 60) + 1, 1)
        if self._offers:
            options.highlighted = 0

    def _wrong(self, text: str, cursor: int) -> QueryProblem | None:
        """What cannot be understood, beyond what is being completed."""
        for problem in parse(text, self.fields).problems:
            if not (self._offers and problem.start <= cursor <= problem.end):
                return problem
        return None

    async def _learn(self, name: str) -> None:
        try:
            found = await self._values(name)
        except FleetError:
            found = ()
        self._asked.discard(name)
        self._known[name] = found
        if self.editing:
            self._offer(self.query_one(FilterInput).value)

    def _names_a_field(self) -> bool:
        return any(offer.text.endswith((":", ".", ">")) for offer in self._offers)

    def _take_offer(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        if not self._offers or at >= len(self._offers):
            return
        offer = self._offers[at]
        box = self.query_one(FilterInput)
        text = box.value
        whole = text[: offer.start] + offer.text
        done = not offer.text.endswith((":", ".", ">"))
        box.value = whole + (" " if done and not text[offer.end :] else "") + text[offer.end :]
        box.cursor_position = len(whole) + (1 if done and not text[offer.end :] else 0)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click on an offer takes it."""
        event.stop()
        self.query_one(OptionList).highlighted = event.option_index
        self._take_offer()
        self.query_one(FilterInput).focus()

    def on_filter_input_pressed(self, event: FilterInput.Pressed) -> None:
        """Keys that mean something else here than in other texts."""
        event.stop()
        options = self.query_one(OptionList)
        offering = bool(self._offers) and self.has_class("-offering")
        match event.key:
            case "tab":
                self._take_offer()
            case "down" if offering:
                options.action_cursor_down()
            case "up" if offering and options.highlighted:
                options.action_cursor_up()
            case "up":
                self._recall(1)
            case "down":
                self._recall(-1)
            case "escape" if offering:
                self.remove_class("-offering")
            case "escape":
                self.close(keep=False)
            case "enter":
                self._enter()
            case _:
                pass

    def _enter(self) -> None:
        """Filter, or say why that cannot be done."""
        problems = parse(self.query_one(FilterInput).value.strip(), self.fields).problems
        if problems:
            self._refuse(problems)
        else:
            self.close(keep=True)

    def _refuse(self, problems: Sequence[QueryProblem]) -> None:
        self.app.say("warning", f"{explained(problems[0])}; esc leaves it")

    def _recall(self, step: int) -> None:
        back = self._back + step
        if 0 < back <= len(self._history):
            self._back = back
            box = self.query_one(FilterInput)
            box.value = self._history[back - 1]
            box.cursor_position = len(box.value)
            self.remove_class("-offering")
