"""A form in the middle of the screen: fields one below the other, each with what it takes or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from fleetprompt.client.forms import Field
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.fields import FieldsDialog
from fleetprompt.tui.state.form import Filled, Form
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.answers import Answers
from fleetprompt.tui.widgets.fields import SafeInput
from fleetprompt.tui.widgets.form import FieldBox

Question = Callable[[Filled], Confirm]
"""What is asked about the values before they are given."""


class FormDialog(FieldsDialog[Filled]):
    """Values that somebody fills in; wrong ones never leave it."""

    DEFAULT_CSS = """
    FormDialog > .box { width: 92; height: auto; overflow-y: auto; scrollbar-size-vertical: 1; }
    FormDialog .about, FormDialog .fields { height: auto; max-height: 10000; overflow: hidden; }
    FormDialog .about Static { height: auto; }
    FormDialog .keys { dock: bottom; background: $surface; padding-top: 1; height: 2; margin: 0; }
    FormDialog Input.-textual-compact { padding: 0 1; }
    FormDialog .fields Input { margin-top: 0; }
    FormDialog #comment { margin-top: 0; }
    FormDialog .comment { height: auto; margin-top: 1; }
    """

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
        question: Question | None = None,
        at_once: bool = True,
    ) -> None:
        """`does` says what giving it does. `values` stand in the fields, else their defaults. With a `comment`, also
        an empty one, a comment is asked for. `choices` tell what choosing a text means. The `question` comes after
        Enter in the last field, and unless `at_once` after ctrl+s, too."""
        super().__init__()
        self.form = Form(fields, values)
        self._title = title
        self._lines = lines
        self._does = does
        self._comment = comment
        self._choices = choices or {}
        self._question = question
        self._at_once = at_once

    @property
    def does(self) -> str:
        return self._does

    @property
    def ends(self) -> str:
        return f"{self._does}, after a question" if self._question is not None and self._at_once else self._does

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box -asks")
        box.border_title = Text(self._title).markup
        with box:
            if self._lines:
                with VerticalScroll(classes="about", can_focus=False):
                    yield Static(self.lines(self._lines))
            with VerticalScroll(classes="fields", can_focus=False):
                for field in self.form.fields:
                    yield FieldBox(self.form, field.name, self._choices)
                if self._comment is not None:
                    with Vertical(classes="comment"):
                        yield Static(self.text([("comment", "key"), ("  it is recorded", "dim")]))
                        yield SafeInput(self._comment, id="comment", select_on_focus=False, compact=True)
            yield Answers()

    def on_mount(self) -> None:
        first = self.form.wrong or (self.form.fields[0].name if self.form.fields else "")
        if first:
            self._focus(first)
        elif self._comment is not None:
            self.set_focus(self.query_one("#comment"))

    def _focus(self, name: str) -> None:
        self.set_focus(next(box for box in self.query(FieldBox) if box.field_name == name).field)

    def _filled(self) -> Filled | None:
        """What stands in the fields; None, and shown, where something is not in order."""
        try:
            values = self.form.values()
        except InvalidInput:
            for box in self.query(FieldBox):
                box.insist()
            self._focus(self.form.wrong)
            return None
        comment = self.query_one("#comment", Input).value.strip() if self._comment is not None else ""
        return Filled(values, comment)

    def action_give(self) -> None:
        """Give the values."""
        if not self._at_once:
            self.action_end()
        elif (filled := self._filled()) is not None:
            self.dismiss(filled)

    def action_end(self) -> None:
        """Ask about the values; who says no is among them again."""
        filled = self._filled()
        if filled is None:
            return
        if self._question is None:
            self.dismiss(filled)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.dismiss(filled)

        self.app.push_screen(self._question(filled), answered)
