"""How the console is used: what the signs mean, how a filter is written, which keys there are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from fleetprompt.client.wording import GLYPHS, sign
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.tui.actions import ACTIONS, Action
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.definitions import Definitions

SIGNS = (
    ("pending", "is about to start"),
    ("running", "does something now"),
    ("waiting", "holds nothing and waits: for a person, a time, a signal, a run, a place"),
    ("completed", "is over, and went well"),
    ("failed", "is over, and did not; the same sign in the same colour is a timeout"),
    ("cancelled", "was ended early by somebody"),
    ("skipped", "was not needed"),
    ("in_doubt", "may have happened or not: the engine was killed in the middle, and somebody must say"),
)
FILTERS = (
    ("status:failed,waiting", "one of several"),
    ("-wf:crawl", "not that"),
    ("cost>0.5 dur>10m", "numbers, money, lengths of time"),
    ("since:2h started:today", "times"),
    ("label.env:prod", "a label"),
    ('"rate limit"', "anywhere in id, workflow or error"),
    ("/HTTP 5\\d\\d/", "a regular expression"),
)
PALETTE = (
    (":runs status:failed", "a screen, and what to show there"),
    (":run 8f3a", "one run, by a part of its id"),
    (":view NAME", "a view that was saved"),
    (":save NAME", "keep filter and order as a view; 1 to 9 call it up, 0 shows everything"),
    (":forget NAME", "let go of a view"),
)


class HelpScreen(ConsoleScreen):
    """One page."""

    PLACES: ClassVar = ()
    NAME: ClassVar = "help"
    LISTS: ClassVar = False
    DEFAULT_CSS = "HelpScreen VerticalScroll { padding: 1 2; } HelpScreen Static { height: auto; }"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(Group(*self._page()))

    async def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _text(self, *parts: Part) -> Text:
        text = Text()
        for said, style in parts:
            text.append(said, self.app.palette.style(style))
        return text

    def _title(self, title: str, about: str = "") -> Text:
        return self._text((title, "strong"), (f"  {about}" if about else "", "dim"))

    def _terms(self, rows: Iterable[tuple[str, str]]) -> Definitions:
        shown = [(Text(), self._text((term, "accent")), self._text((meaning, "dim"))) for term, meaning in rows]
        return Definitions(shown, 2, 26)

    def _page(self) -> Iterable[RenderableType]:
        yield self._title("What a sign means")
        signs = [
            (
                self._text((f"  {sign(GLYPHS[status])}", status)),
                Text(status.replace("_", " ")),
                self._text((said, "dim")),
            )
            for status, said in SIGNS
        ]
        yield Definitions(signs, 4, 12)
        yield Text()
        yield self._title("Filters", "the same in `fleet runs`; tab completes fields and values")
        yield self._terms(FILTERS)
        fields = ", ".join(field.name for field in RUN_FIELDS.fields)
        yield Padding(self._text((f"fields: {fields}", "dim")), (0, 0, 0, 2))
        yield Text()
        yield self._title("Commands", "everything in the menus can be typed, too")
        yield self._terms(PALETTE)
        for group, actions in groupby(ACTIONS, key=lambda action: action.group):
            yield Text()
            yield self._title(group)
            yield Definitions([self._action(action) for action in actions], 9, 14)
        yield Text()
        yield self._title("Your own keys", "[keys] in ~/.config/fleetprompt/console.toml, by the ids below")
        yield Padding(self._text((", ".join(action.id for action in ACTIONS), "dim")), (0, 0, 0, 2))

    def _action(self, action: Action) -> tuple[Text, Text, Text]:
        where = "" if {"console", "list"} & {*action.where} else f"  ({', '.join(action.where)})"
        key = self._text((f"  {self.app.keymap.shown(action):>6} ", "accent"))
        return key, Text(action.label), self._text((action.doc, "dim"), (where, "faint"))
