"""Dialogs: a question that stands in the middle of the screen until it is answered or left with esc."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, TypeVar

from msgspec.structs import replace
from rich.text import Text
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Input

from fleetprompt.tui.errors import Tells
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.answers import LEAVE, Answers, Offer
from fleetprompt.tui.widgets.fields import SafeInput
from fleetprompt.tui.widgets.said import Said

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

T = TypeVar("T")
MOST = 90
"""Percent of the screen's height that a box takes at most."""
TIGHT = 12
"""Lines of a screen below which a box takes all of them, and nothing stands apart."""
FRAME = 2


class Dialog(Tells, ModalScreen[T]):
    """A box with a title; its answer is what the screen is dismissed with, None for none."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .box { width: 78; max-width: 96%; height: auto; max-height: 90%; border: round $primary; padding: 0 1;
        background: $surface; border-title-color: $primary; border-title-style: bold; }
    Dialog > .box.-danger { border: round $error; border-title-color: $error; }
    Dialog > .box.-asks { border: round $warning; border-title-color: $warning; }
    Dialog .keys { height: 1; margin-top: 1; }
    Dialog Input { height: 1; padding: 0 1; background: $panel; margin-top: 1; }
    Dialog.-tight > .box { max-height: 100%; }
    Dialog.-tight .keys, Dialog.-tight Input { margin-top: 0; }
    Dialog:ansi { background: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", show=False),
        Binding("up", "read(-1)", "read back", show=False),
        Binding("down", "read(1)", "read on", show=False),
        Binding("pageup", "read(-10)", "a page back", show=False),
        Binding("pagedown", "read(10)", "a page on", show=False),
        Binding("ctrl+q", "quit", "quit", show=False),
    ]
    AUTO_FOCUS = ""
    AHEAD: ClassVar[bool] = False
    """Keys count that were pressed before it stood on the screen. Only where nothing is decided."""
    app: FleetConsole
    _answered = False

    def __init__(self) -> None:
        super().__init__()
        self.asked_at = monotonic()
        """By the clock of messages: keys that were pressed before do not answer it."""

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Give the answer, once: what is typed while it closes would close what is beneath."""
        if self._answered or self.app.screen is not self:
            return AwaitComplete.nothing()
        self._answered = True
        return super().dismiss(result)

    def on_resize(self, event: Resize) -> None:
        """Where one types stays in sight, and so does what answers: what is said has the room that is left."""
        for said in self.query(Said):
            self.set_class(event.size.height < TIGHT, "-tight")
            said.styles.max_height = max(1, self._room(event.size.height) - self._below())
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    def _room(self, height: int) -> int:
        """Lines inside the box, where the screen has so many."""
        return (height if height < TIGHT else height * MOST // 100) - FRAME

    def _below(self) -> int:
        """Lines that what stands below the text takes."""
        gap = 0 if self.has_class("-tight") else 1
        fields = sum(1 + gap for field in self.query(Input) if field.display)
        return fields + sum(answers.rows + gap for answers in self.query(Answers))

    def on_said_cut(self, event: Said.Cut) -> None:
        """Say how much of the text is out of sight."""
        event.stop()
        self.query_one(Answers).cut(event.lines)

    def action_leave(self) -> None:
        """Esc: no answer."""
        self.dismiss(None)

    async def action_quit(self) -> None:
        """No answer, and the way out of the console."""
        self.dismiss(None)
        self.app.call_later(self.app.perform, "console.quit")

    def action_read(self, lines: int) -> None:
        """Scroll what is said, where it is more than fits."""
        for said in self.query(".said, .box"):
            said.scroll_relative(y=lines, animate=False)

    def text(self, parts: Sequence[Part]) -> Text:
        """Parts in the colours of the theme."""
        text = Text()
        for said, style in parts:
            text.append(said, self.app.palette.style(style))
        return text

    def lines(self, lines: Sequence[Sequence[Part]]) -> Text:
        """Several lines of parts."""
        return Text("\n").join(self.text(parts) for parts in lines)


class Confirm(Dialog[bool]):
    """Something that cannot be taken back: `y` does it; n, q, enter and esc leave it, any other key does nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "yes", "yes", show=False),
        Binding("n,N,q,enter", "leave", "no", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Sequence[Part]], does: str, *, danger: bool = True) -> None:
        """`does` says what `y` does, as a verb."""
        super().__init__()
        self._title = title
        self._lines = lines
        self._does = does
        self._danger = danger

    def compose(self) -> ComposeResult:
        box = Vertical(classes=f"box {'-danger' if self._danger else ''}")
        box.border_title = Text(self._title).markup
        with box:
            yield Said(self.lines(self._lines))
            yield Answers(*self.answers())

    def answers(self) -> Sequence[Offer]:
        """What stands below."""
        yes = Offer("y", self._does, "yes", style="failed" if self._danger else "completed")
        return [yes, replace(LEAVE, key="n")]

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)


class Ask(Dialog[str]):
    """A text, such as a reason. Enter gives it, also an empty one unless it is needed."""

    # Done where the key is, before the next one: what is typed after it is no part of the text any more.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "give", "give", show=False, priority=True)]

    def __init__(
        self,
        title: str,
        lines: Sequence[Sequence[Part]],
        does: str,
        *,
        placeholder: str = "",
        value: str = "",
        needed: bool = False,
        danger: bool = False,
    ) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._does = does
        self._placeholder = placeholder
        self._value = value
        self._needed = needed
        self._danger = danger

    def compose(self) -> ComposeResult:
        box = Vertical(classes=f"box {'-danger' if self._danger else '-asks'}")
        box.border_title = Text(self._title).markup
        with box:
            if self._lines:
                yield Said(self.lines(self._lines))
            yield SafeInput(self._value, placeholder=self._placeholder, select_on_focus=False, compact=True)
            yield Answers(Offer("↵", self._does, "give"), LEAVE)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def action_give(self) -> None:
        """Give the text, unless it is needed and there is none."""
        text = self.query_one(Input).value.strip()
        if self._needed and not text:
            self.query_one(Input).placeholder = f"{self._placeholder or 'a text'} — needed"
            return
        self.dismiss(text)


class ConfirmWithReason(Dialog[str]):
    """Something that cannot be taken back, and may be given a reason: `y` does it, `r` asks for the reason first, and
    n, q, enter and esc leave it. The answer is the reason, empty for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "yes", "yes", show=False),
        Binding("r,R", "reason", "reason", show=False),
        Binding("n,N,q", "leave", "no", show=False),
        Binding("enter", "enter", "give or leave", show=False, priority=True),
    ]

    def __init__(self, title: str, lines: Sequence[Sequence[Part]], does: str) -> None:
        """`does` says what `y` does, as a verb."""
        super().__init__()
        self._title = title
        self._lines = lines
        self._does = does

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box -danger")
        box.border_title = Text(self._title).markup
        with box:
            yield Said(self.lines(self._lines))
            field = SafeInput(placeholder="reason; enter does it", select_on_focus=False, compact=True)
            field.display = False
            yield field
            yes = Offer("y", self._does, "yes", style="failed")
            why = Offer("r", "with a reason", "reason", style="failed")
            yield Answers(yes, why, replace(LEAVE, key="n"))

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss("")

    def action_reason(self) -> None:
        """Ask why first."""
        field = self.query_one(SafeInput)
        field.display = True
        self.set_focus(field)
        self.query_one(Answers).offer(Offer("↵", self._does, "give", style="failed"), LEAVE)

    def action_enter(self) -> None:
        """Do it for the reason that is being written; before that enter leaves it, as it does every question."""
        if self.query_one(SafeInput).display:
            self.action_give()
        else:
            self.action_leave()

    def action_give(self) -> None:
        """Do it, for this reason."""
        self.dismiss(self.query_one(SafeInput).value.strip())
