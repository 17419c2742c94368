"""Choosing from a list by typing a part of it: the menu of keys, the palette of commands, the choice of a screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

from msgspec import Struct
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Key
from textual.message import Message
from textual.widgets import Input, Static

from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.state.lines import Cell, Column, Part, Rows
from fleetprompt.tui.widgets.fields import SafeInput
from fleetprompt.tui.widgets.lines import Lines

NOTHING: tuple[Part, ...] = (("nothing fits", "dim"),)


class Item(Struct, frozen=True):
    """Something that can be chosen."""

    value: str
    """What the dialog is dismissed with."""
    cells: tuple[Cell, ...]
    words: str
    """What is searched, in lower case."""
    name: str = ""
    """What is also found by some of its letters in their order, in lower case."""
    heading: bool = False
    """A line between groups, which cannot be chosen."""


class PickerInput(SafeInput):
    """A text above a list: keys that move go to the list."""

    class Pressed(Message):
        """A key for the list."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    KEYS: ClassVar = ("up", "down", "pageup", "pagedown", "tab", "ctrl+n", "ctrl+p")

    async def _on_key(self, event: Key) -> None:
        if event.key in self.KEYS:
            event.stop()
            event.prevent_default()
            self.post_message(self.Pressed(event.key))
            return
        await super()._on_key(event)


def rank(words: str, typed: str, name: str = "") -> int | None:
    """How well a text fits what was typed, the smaller the better; None when it does not.

    All words must occur; a beginning is better than a middle; letters of the name in order but apart come last.
    """
    if not typed:
        return 0
    if words.startswith(typed):
        return 1
    if all(word in words for word in typed.split()):
        return 2 if f" {typed.split()[0]}" in f" {words}" else 3
    rest = iter(name)
    return 4 if name and all(letter in rest for letter in typed if letter != " ") else None


class Picker(Dialog[str]):
    """Choose one of many."""

    AHEAD = True

    DEFAULT_CSS = """
    Picker > .box { width: 92; height: 80%; }
    Picker Lines { background: $surface; margin-top: 1; }
    Picker .foot { height: 1; }
    """

    def __init__(
        self,
        title: str,
        items: Sequence[Item],
        columns: Sequence[Column],
        *,
        placeholder: str = "type to search",
        more: Callable[[str], Awaitable[Sequence[Item]]] | None = None,
        free: bool = False,
        refused: Callable[[str], str] | None = None,
        foot: Sequence[Part] = (),
    ) -> None:
        """`more` finds further items for what was typed. `free`: what was typed is an answer, too, unless `refused`
        says why it is none."""
        super().__init__()
        self._title = title
        self._items = items
        self._more = more
        self._free = free
        self._refused = refused
        self._placeholder = placeholder
        self._foot = foot
        self._rows = Rows(columns)
        self._shown: list[Item] = []
        self._searched = ""
        """What the list that is shown was found for."""
        self._entered = False
        """Enter was pressed before that was what was typed."""

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box")
        box.border_title = Text(self._title).markup
        with box:
            yield PickerInput(placeholder=self._placeholder, select_on_focus=False, compact=True)
            lines = Lines(self._rows)
            lines.can_focus = False
            lines.empty = NOTHING
            yield lines
            if self._foot:
                yield Static(self.text(self._foot), classes="foot")

    def on_mount(self) -> None:
        self.query_one(PickerInput).focus()
        self._show(list(self._items))

    def _show(self, items: list[Item]) -> None:
        self._shown = items
        self._rows.set((str(at), item.cells) for at, item in enumerate(items))
        lines = self.query_one(Lines)
        lines.renew()
        first = next((at for at, item in enumerate(items) if not item.heading), 0)
        lines.go(first, by_hand=False)
        lines.scroll_to(y=0, animate=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits."""
        event.stop()
        self._entered = False
        self.query_one(Lines).empty = NOTHING
        self.run_worker(partial(self._search, event.value), group="search", exclusive=True)

    async def _search(self, text: str) -> None:
        self._show(await self._fitting(text))
        self._searched = text
        if self._entered:
            self._choose(text)

    async def _fitting(self, text: str) -> list[Item]:
        typed = " ".join(text.lower().split())
        if not typed:
            return list(self._items)
        fitting: list[tuple[int, int]] = []
        for at, item in enumerate(self._items):
            fits = None if item.heading else rank(item.words, typed, item.name)
            if fits is not None:
                fitting.append((fits, at))
        found = [self._items[at] for _, at in sorted(fitting)]
        if self._more is not None:
            found += await self._more(text)
        return found

    def on_picker_input_pressed(self, event: PickerInput.Pressed) -> None:
        """Move in the list."""
        event.stop()
        lines = self.query_one(Lines)
        page = max(1, lines.size.height - 1)
        step = {"up": -1, "ctrl+p": -1, "down": 1, "ctrl+n": 1, "tab": 1, "pageup": -page, "pagedown": page}[event.key]
        at = lines.cursor + step
        while 0 <= at < len(self._shown) and self._shown[at].heading:
            at += 1 if step > 0 else -1
        if 0 <= at < len(self._shown):
            lines.go(at)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter chooses, of what fits all that was typed."""
        event.stop()
        self._entered = event.value != self._searched
        if not self._entered:
            self._choose(event.value)

    def on_lines_opened(self) -> None:
        """A second click chooses."""
        self._choose("")

    def _choose(self, typed: str) -> None:
        lines = self.query_one(Lines)
        item = self._shown[lines.cursor] if self._shown else None
        if item is not None and not item.heading:
            self.dismiss(item.value)
        elif self._free and typed.strip():
            why = self._refused(typed.strip()) if self._refused is not None else ""
            if not why:
                self.dismiss(typed.strip())
                return
            # What was typed stays where it can be mended.
            lines.empty = ((inert(why), "error"),)
            lines.refresh()


MENU_COLUMNS = (
    Column(title="", width=9, right=True),
    Column(title="", width=14, grow=1, most=19),
    Column(title="", width=20, grow=5),
)
"""A key, a word, a sentence."""
