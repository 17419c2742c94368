"""A form in the middle of the screen: fields one below the other, each with what it takes or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from fleetprompt.client.forms import Field
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.state.form import Filled, Form
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.form import FieldBox


class FormDialog(Dialog[Filled]):
    """Values that somebody fills in. Enter in the last field gives them, ctrl+s in any; wrong ones never leave it."""

    DEFAULT_CSS = """
    FormDialog > .box { width: 92; height: auto; overflow-y: auto; scrollbar-size-vertical: 1; }
    FormDialog .said, FormDialog .fields { height: auto; max-height: 10000; overflow: hidden; }
    FormDialog .keys { dock: bottom; background: $surface; padding-top: 1; height: 2; margin: 0; }
    FormDialog Input.-textual-compact { padding: 0 1; }
    FormDialog .fields Input { margin-top: 0; }
    FormDialog #comment { margin-top: 0; }
    FormDialog .comment { height: auto; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "give", "give", show=False)]

    def __init__(
        self,
        title: str,
        lines: Sequence[Sequence[Part]],
        fields: Sequence[Field],
        does: str,
        *,
        values: Mapping[str, Any] | None = None,
        comment: str | None = None,
        choices: Mapping[str, str] | None = None,
        danger: bool = False,
    ) -> None:
        """`does` says what giving it does. `values` stand in the fields, else their defaults. With a `comment`, also
        an empty one, a comment is asked for. `choices` tell what choosing a text means."""
        super().__init__()
        self.form = Form(fields, values)
        self._title = title
        self._lines = lines
        self._does = does
        self._comment = comment
        self._choices = choices or {}
        self._danger = danger

    def compose(self) -> ComposeResult:
        box = Vertical(classes=f"box {'-danger' if self._danger else '-asks'}")
        box.border_title = Text(self._title).markup
        with box:
            if self._lines:
                with VerticalScroll(classes="said", can_focus=False):
                    yield Static(self.lines(self._lines))
            with VerticalScroll(classes="fields", can_focus=False):
                for field in self.form.fields:
                    yield FieldBox(self.form, field.name, self._choices)
                if self._comment is not None:
                    with Vertical(classes="comment"):
                        yield Static(self.text([("comment", "key"), ("  it is recorded", "dim")]))
                        yield Input(self._comment, id="comment", select_on_focus=False, compact=True)
            keys: list[Part] = [("^s", "accent"), (f" {self._does}    ", ""), ("tab", "accent"), (" next field", "")]
            keys += [("    esc", "accent"), (" leave it", "")]
            yield Static(self.text(keys), classes="keys")

    def on_mount(self) -> None:
        first = self.form.wrong or (self.form.fields[0].name if self.form.fields else "")
        if first:
            self._focus(first)
        elif self._comment is not None:
            self.query_one("#comment").focus()

    def _focus(self, name: str) -> None:
        self._box(name).take_focus()

    def _box(self, name: str) -> FieldBox:
        return next(box for box in self.query(FieldBox) if box.field_name == name)

    def on_field_box_ended(self, event: FieldBox.Ended) -> None:
        """Enter: the next field; in the last one it gives the values."""
        event.stop()
        self._ended(event.box.field_name)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the comment."""
        event.stop()
        self.action_give()

    def _ended(self, name: str) -> None:
        last = self.form.fields[-1].name == name and self._comment is None
        if last:
            self.action_give()
        else:
            self.focus_next()

    def action_give(self) -> None:
        """Give the values, if all are in order; else show what is not."""
        try:
            values = self.form.values()
        except InvalidInput:
            for box in self.query(FieldBox):
                box.insist()
            self._focus(self.form.wrong)
            return
        comment = self.query_one("#comment", Input).value.strip() if self._comment is not None else ""
        self.dismiss(Filled(values, comment))
