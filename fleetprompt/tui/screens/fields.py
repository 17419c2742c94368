"""Questions with several fields: how one gets from one to the next, and what Enter does in the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.events import DescendantFocus
from textual.widgets import TextArea

from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.widgets.answers import LEAVE, Answers, Offer

T = TypeVar("T")


class FieldsDialog(Dialog[T]):
    """Fields below each other. Enter goes on to the next one, and in the last one it does what the key line says then;
    ctrl+s gives them from any. Both are done where the key is, before the next one: that one is for another field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "give", "give", show=False, priority=True),
        Binding("enter", "enter", "next field", show=False, priority=True),
    ]
    DOES: ClassVar = "give"
    """What giving them does, as a verb."""

    def offers(self) -> Sequence[Offer]:
        """What stands below, for the field that has the focus."""
        give = Offer("^s", self.does, "give")
        if isinstance(self.focused, TextArea):
            return [give, Offer("tab", "next field", "next"), LEAVE]
        on = Offer("↵", self.ends, "enter") if self.is_last else Offer("↵", "next field", "enter")
        return [give, on, LEAVE]

    @property
    def does(self) -> str:
        """What giving them does, as a verb."""
        return self.DOES

    @property
    def ends(self) -> str:
        """What Enter does in the last field."""
        return self.does

    @property
    def is_last(self) -> bool:
        """There is no field below the one that has the focus."""
        chain = self.focus_chain
        return not chain or chain[-1] is self.focused

    def on_mount(self) -> None:
        self.query_one(Answers).offer(*self.offers())

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Enter may do something else here."""
        self.query_one(Answers).offer(*self.offers())

    def action_next(self) -> None:
        """To the next field."""
        self.focus_next()

    def action_enter(self) -> None:
        """To the next field; from the last one there is none."""
        if isinstance(self.focused, TextArea):
            # There it is a character.
            raise SkipAction
        if self.is_last:
            self.action_end()
        else:
            self.action_next()

    def action_end(self) -> None:
        """Enter in the last field."""
        self.action_give()

    def action_give(self) -> None:
        """Give what stands in the fields, if all are in order; else show what is not."""
        raise NotImplementedError
