"""Writing a signal: its type, completed from those that are known, JSON, and what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static, TextArea

from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.publish import Draft, Written


class PublishDialog(Dialog[Written]):
    """A signal is written; ctrl+s publishes it, once it is in order."""

    DEFAULT_CSS = """
    PublishDialog .fields { height: auto; max-height: 100%; }
    PublishDialog .fields Static { height: auto; margin-top: 1; }
    PublishDialog .fields Input { margin-top: 0; }
    PublishDialog TextArea { height: 7; background: $panel; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "give", "publish", show=False, priority=True)]

    def __init__(self, types: Sequence[str]) -> None:
        """`types` are those that are known, the likeliest first."""
        super().__init__()
        self.draft = Draft(types)
        self._insists = False

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box -asks")
        box.border_title = "publish a signal"
        with box:
            with VerticalScroll(classes="fields", can_focus=False):
                yield Static(id="about-type")
                suggester = SuggestFromList(self.draft.types)
                yield Input(id="type", placeholder="deploy.finished", suggester=suggester, compact=True)
                yield Static(id="about-data")
                yield TextArea(id="data", compact=True, tab_behavior="focus", highlight_cursor_line=False)
                yield Static(self.text([("subject", "key"), ("  what it is about, optional", "dim")]))
                yield Input(id="subject", compact=True)
                yield Static(self.text([("key", "key"), ("  the same key counts only once, optional", "dim")]))
                yield Input(id="key", compact=True)
            keys: list[Part] = [("^s", "accent"), (" publish    ", ""), ("tab", "accent"), (" next field    ", "")]
            keys += [("→", "accent"), (" complete    ", ""), ("esc", "accent"), (" leave it", "")]
            yield Static(self.text(keys), classes="keys")

    def on_mount(self) -> None:
        self.query_one("#type").focus()
        self._tell()

    def _tell(self) -> None:
        draft = self.draft
        self.query_one("#about-type", Static).update(self._titled("type", draft.type_problem(), bool(draft.type)))
        self.query_one("#about-data", Static).update(self._titled("data", draft.data_problem(), bool(draft.data)))

    def _titled(self, name: str, problem: str, typed: bool) -> Text:
        if problem and (typed or self._insists):
            return self.text([(name, "key"), (f"  {inert(problem)}", "error")])
        if name == "data":
            return self.text([(name, "key"), ("  JSON, optional", "dim")])
        offers = [inert(offer) for offer in self.draft.offers()]
        return self.text([(name, "key"), (f"  {'  '.join(offers) or 'dot-separated words'}", "dim")])

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take up what was typed."""
        event.stop()
        setattr(self.draft, event.input.id or "", event.value)
        self._tell()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.draft.data = event.text_area.text
        self._tell()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: the next field; in the last one it publishes."""
        event.stop()
        if event.input.id == "key":
            self.action_give()
        else:
            self.focus_next()

    def action_give(self) -> None:
        """Publish it, if it is in order; else show what is not."""
        wrong = self.draft.wrong
        if not wrong:
            self.dismiss(self.draft.written())
            return
        self._insists = True
        self._tell()
        self.query_one(f"#{wrong}").focus()
