"""Dialogs: a question that stands in the middle of the screen until it is answered or left with esc."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from fleetprompt.tui.errors import Tells
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.fields import SafeInput

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

T = TypeVar("T")


class Dialog(Tells, ModalScreen[T]):
    """A box with a title; its answer is what the screen is dismissed with, None for none."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .box { width: 78; max-width: 96%; height: auto; max-height: 90%; border: round $primary; padding: 0 1;
        background: $surface; border-title-color: $primary; border-title-style: bold; }
    Dialog > .box.-danger { border: round $error; border-title-color: $error; }
    Dialog > .box.-asks { border: round $warning; border-title-color: $warning; }
    Dialog .said { height: auto; max-height: 20; }
    Dialog .said Static { height: auto; }
    Dialog .keys { height: 1; margin-top: 1; }
    Dialog Input { height: 1; padding: 0 1; background: $panel; margin-top: 1; }
    Dialog:ansi { background: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave", show=False),
        Binding("up", "read(-1)", "read back", show=False),
        Binding("down", "read(1)", "read on", show=False),
        Binding("pageup", "read(-10)", "a page back", show=False),
        Binding("pagedown", "read(10)", "a page on", show=False),
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

    def on_resize(self) -> None:
        """Where one types stays in sight."""
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    def action_leave(self) -> None:
        """Esc: no answer."""
        self.dismiss(None)

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
    """Something that cannot be taken back: `y` does it, everything else does not."""

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
            with VerticalScroll(classes="said", can_focus=False):
                yield Static(self.lines(self._lines))
            yes = "failed" if self._danger else "completed"
            keys: list[Part] = [("y", yes), (f" {self._does}    ", ""), ("n", "accent"), (" leave it", "")]
            yield Static(self.text(keys), classes="keys")

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)


class Ask(Dialog[str]):
    """A text, such as a reason. Enter gives it, also an empty one unless it is needed."""

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
                with VerticalScroll(classes="said", can_focus=False):
                    yield Static(self.lines(self._lines))
            yield SafeInput(self._value, placeholder=self._placeholder, select_on_focus=False, compact=True)
            keys: list[Part] = [("↵", "accent"), (f" {self._does}    ", ""), ("esc", "accent"), (" leave it", "")]
            yield Static(self.text(keys), classes="keys")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        text = event.value.strip()
        if self._needed and not text:
            self.query_one(Input).placeholder = f"{self._placeholder or 'a text'} — needed"
            return
        self.dismiss(text)


class ConfirmWithReason(Dialog[str]):
    """Something that cannot be taken back, and may be given a reason: `y` does it, `r` asks for the reason first, and
    everything else does not do it. The answer is the reason, empty for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "yes", "yes", show=False),
        Binding("r,R", "reason", "reason", show=False),
        Binding("n,N,q,enter", "leave", "no", show=False),
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
            with VerticalScroll(classes="said", can_focus=False):
                yield Static(self.lines(self._lines))
            field = SafeInput(placeholder="reason; enter does it", select_on_focus=False, compact=True)
            field.display = False
            yield field
            keys: list[Part] = [("y", "failed"), (f" {self._does}    ", ""), ("r", "failed")]
            keys += [(" with a reason    ", ""), ("n", "accent"), (" leave it", "")]
            yield Static(self.text(keys), classes="keys")

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss("")

    def action_reason(self) -> None:
        """Ask why first."""
        field = self.query_one(SafeInput)
        field.display = True
        field.focus()
        keys: list[Part] = [("↵", "failed"), (f" {self._does}    ", ""), ("esc", "accent"), (" leave it", "")]
        self.query_one(".keys", Static).update(self.text(keys))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do it, for this reason."""
        event.stop()
        self.dismiss(event.value.strip())
