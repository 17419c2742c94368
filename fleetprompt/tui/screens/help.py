"""How the console is used: what the signs mean, how a filter is written, which keys there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from fleetprompt.client.wording import GLYPHS, sign
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.tui.actions import ACTIONS
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.lines import Part

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
    (":save NAME", "keep filter and order as a view; 1 to 9 call it up, 0 shows everything"),
    (":forget NAME", "let go of a view"),
)


class HelpScreen(ConsoleScreen):
    """One page."""

    PLACES: ClassVar = ()
    NAME: ClassVar = "help"
    DEFAULT_CSS = "HelpScreen VerticalScroll { padding: 1 2; } HelpScreen Static { height: auto; }"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(Text("\n").join(self._line(parts) for parts in self._page()))

    async def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _line(self, parts: Iterable[Part]) -> Text:
        text = Text()
        for said, style in parts:
            text.append(said, self.app.palette.style(style))
        return text

    def _page(self) -> Iterable[tuple[Part, ...]]:
        yield (("What a sign means", "strong"),)
        for status, meaning in SIGNS:
            yield (f"  {sign(GLYPHS[status])} ", status), (f"{status.replace('_', ' '):<12}", ""), (meaning, "dim")
        yield ()
        yield (("Filters", "strong"), ("  the same in `fleet runs`; tab completes fields and values", "dim"))
        for example, meaning in FILTERS:
            yield (f"  {example:<26}", "accent"), (meaning, "dim")
        yield ((f"  fields: {', '.join(field.name for field in RUN_FIELDS.fields)}", "dim"),)
        yield ()
        yield (("Commands", "strong"), ("  everything in the menus can be typed, too", "dim"))
        for example, meaning in PALETTE:
            yield (f"  {example:<26}", "accent"), (meaning, "dim")
        group = ""
        for action in ACTIONS:
            if action.group != group:
                group = action.group
                yield ()
                yield ((group, "strong"),)
            keys = " ".join(filter(None, (self.app.keymap.shown(action),)))
            where = "" if "console" in action.where or "list" in action.where else f"  ({', '.join(action.where)})"
            yield (f"  {keys:>6} ", "accent"), (f"{action.label:<14}", ""), (action.doc, "dim"), (where, "faint")
        yield ()
        yield (("Your own keys", "strong"), ("  [keys] in ~/.config/fleetprompt/console.toml, by the ids below", "dim"))
        yield ((", ".join(action.id for action in ACTIONS), "dim"),)
