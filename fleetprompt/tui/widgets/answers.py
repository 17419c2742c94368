"""What answers a question, by key and by click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from fleetprompt.client.wording import count

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

GAP = "    "


class Offer(Struct, frozen=True):
    """A key, what it does, and the action of the screen that does it."""

    key: str
    does: str
    action: str
    style: str = "accent"
    """Of the key."""
    quiet: bool = False
    """It is none of the answers that count."""


LEAVE = Offer("esc", "leave it", "leave")


class Answers(Static):
    """Answers beside or below each other; a click on one is as good as its key."""

    DEFAULT_CSS = "Answers.-below { margin-top: 1; }"
    app: FleetConsole

    def __init__(self, *offers: Offer, below: bool = False) -> None:
        """`below`: one below the other."""
        super().__init__(classes="-below" if below else "keys")
        self._offers = offers
        self._below = below
        self._cut = 0
        # Links would all have one colour.
        self.auto_links = False

    def on_mount(self) -> None:
        self.offer(*self._offers)

    @property
    def rows(self) -> int:
        """Lines that they take."""
        return len(self._offers) + 1 if self._below else 1

    def offer(self, *offers: Offer) -> None:
        """These from now on."""
        self._offers = offers
        more = [Offer("↑↓", f"{count(self._cut, 'more line')}", "read(10)", "warning")] if self._cut else []
        self.update(Text("\n" if self._below else GAP).join(self._words([*offers, *more])))

    def cut(self, lines: int) -> None:
        """So many lines of what is answered are out of sight: say so."""
        self._cut = lines
        self.offer(*self._offers)

    def _words(self, offers: Sequence[Offer]) -> list[Text]:
        style = self.app.palette.style
        gap = "  " if self._below else " "
        words: list[Text] = []
        for offer in offers:
            text = Text()
            click = Style(meta={"@click": f"screen.{offer.action}"}) if offer.action else Style()
            text.append(offer.key, style(offer.style) + click)
            text.append(f"{gap}{offer.does}", style("dim" if offer.quiet else "") + click)
            words.append(text)
        return words
