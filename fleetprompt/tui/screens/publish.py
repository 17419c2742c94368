"""Writing a signal: its type, completed from those that are known, JSON, and what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static, TextArea

from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.screens.fields import FieldsDialog
from fleetprompt.tui.state.publish import Draft, Written
from fleetprompt.tui.widgets.answers import Answers, Offer


class PublishDialog(FieldsDialog[Written]):
    """A signal is written, and published once it is in order."""

    DEFAULT_CSS = """
    PublishDialog .fields { height: auto; max-height: 100%; }
    PublishDialog .fields Static { height: auto; margin-top: 1; }
    PublishDialog .fields Input { margin-top: 0; }
    PublishDialog TextArea { height: 7; background: $panel; padding: 0 1; }
    """
    DOES: ClassVar = "publish"

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
            yield Answers()

    def offers(self) -> Sequence[Offer]:
        """What stands below; only types are completed."""
        *others, leave = super().offers()
        complete = [Offer("→", "complete", "")] if self.focused is not None and self.focused.id == "type" else []
        return [*others, *complete, leave]

    def on_mount(self) -> None:
        self.set_focus(self.query_one("#type"))
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

    def action_give(self) -> None:
        """Publish it, if it is in order; else show what is not."""
        wrong = self.draft.wrong
        if not wrong:
            self.dismiss(self.draft.written())
            return
        self._insists = True
        self._tell()
        self.set_focus(self.query_one(f"#{wrong}"))
