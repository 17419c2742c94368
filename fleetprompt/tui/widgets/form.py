"""A field of a form: its name, what it takes or what is wrong with it, and where one types or chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click, Key
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from fleetprompt.client.wording import sign
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.form import Form
from fleetprompt.tui.widgets.fields import SafeInput, SafeTextArea

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

NO_CHOICE = "none"
"""What the choice of no value is called."""


class FieldBox(Vertical):
    """One field."""

    DEFAULT_CSS = """
    FieldBox { height: auto; margin-top: 1; }
    FieldBox Static { height: auto; }
    FieldBox Input, FieldBox Input.-textual-compact { height: 1; padding: 0 1; background: $panel; }
    FieldBox TextArea { height: auto; min-height: 2; max-height: 8; background: $panel; padding: 0 1; }
    """
    app: FleetConsole

    def __init__(self, form: Form, name: str, choices: Mapping[str, str]) -> None:
        super().__init__()
        self.field_name = name
        self._form = form
        self._choices = choices
        self._insists = False

    def compose(self) -> ComposeResult:
        form, name = self._form, self.field_name
        yield Static(self._title())
        if form.choices(name):
            yield Choice(form, name)
        elif form.large(name):
            yield SafeTextArea(form.text(name), compact=True, tab_behavior="focus", highlight_cursor_line=False)
        else:
            yield SafeInput(form.text(name), select_on_focus=False, compact=True)

    @property
    def field(self) -> Widget:
        """Where one types or chooses."""
        return self.query("Input, TextArea, Choice").first()

    def insist(self) -> None:
        """From now on say what is wrong, also where nothing was typed."""
        self._insists = True
        self._refresh()

    def _title(self) -> Text:
        form, name = self._form, self.field_name
        field = form.field(name)
        style = self.app.palette.style
        problem = form.problem(name)
        told = bool(problem) and (self._insists or bool(form.text(name).strip()))
        text = Text(inert(name), style("key"))
        text.append("  " + inert(problem if told else form.hint(name)), style("error" if told else "dim"))
        if field.description:
            text.append("  " + inert(field.description), style(""))
        meaning = self._choices.get(form.text(name), "") if form.choices(name) else ""
        if meaning:
            text.append(f"\n{meaning}", style("accent"))
        return text

    def _refresh(self) -> None:
        self.query_one(Static).update(self._title())

    def _typed(self, text: str) -> None:
        self._form.type(self.field_name, text)
        self._refresh()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._typed(event.value)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._typed(event.text_area.text)

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self._refresh()


class Choice(Widget, can_focus=True):
    """One of a few values: arrows or space go round, the first letter jumps."""

    DEFAULT_CSS = "Choice { height: 1; background: $panel; } Choice:focus { background: $primary 20%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space,down", "step(1)", "next", show=False),
        Binding("left,up", "step(-1)", "previous", show=False),
    ]
    app: FleetConsole

    class Changed(Message):
        """Another one is chosen."""

    def __init__(self, form: Form, name: str) -> None:
        super().__init__()
        self._form = form
        self._name = name
        self._spots: list[tuple[int, int, str]] = []

    def render_line(self, y: int) -> Strip:
        """The choices beside each other, from the one on that keeps the chosen one in sight."""
        width = self.size.width
        ground = self.rich_style
        chosen = self._form.text(self._name)
        choices = list(self._form.choices(self._name))
        while len(choices) > 1 and chosen in choices and self._length(choices, chosen) > width:
            choices.pop(0)
        style = self.app.palette.style
        segments: list[Segment] = [Segment(" ", ground)]
        self._spots = []
        x = 1
        for choice in choices:
            shown = inert(choice) or NO_CHOICE
            mark = sign("●") if choice == chosen else sign("○")
            text = f"{mark} {shown}"
            segments.append(Segment(text, ground + style("accent" if choice == chosen else "dim")))
            segments.append(Segment("   ", ground))
            self._spots.append((x, x + len(text), choice))
            x += len(text) + 3
        return Strip(segments).adjust_cell_length(width, ground)

    @staticmethod
    def _length(choices: list[str], chosen: str) -> int:
        upto = choices[: choices.index(chosen) + 1]
        return 1 + sum(len(inert(choice) or NO_CHOICE) + 5 for choice in upto)

    def action_step(self, by: int) -> None:
        """The next one, or the one before."""
        self._form.step(self._name, by)
        self._changed()

    def on_key(self, event: Key) -> None:
        """A letter chooses the next one that begins with it."""
        letter = (event.character or "").lower()
        if not letter.isalnum():
            return
        choices = self._form.choices(self._name)
        chosen = self._form.text(self._name)
        at = choices.index(chosen) if chosen in choices else -1
        turned = [*choices[at + 1 :], *choices[: at + 1]]
        found = next((choice for choice in turned if (choice or NO_CHOICE).lower().startswith(letter)), None)
        if found is not None:
            event.stop()
            self._form.type(self._name, found)
            self._changed()

    def on_click(self, event: Click) -> None:
        """A click chooses."""
        for start, end, choice in self._spots:
            if start <= int(event.x) < end:
                self._form.type(self._name, choice)
                self._changed()
                return

    def _changed(self) -> None:
        self.refresh()
        self.post_message(self.Changed())
