"""Colours: two themes of our own, and what the style names of the view state look like in the theme that is on.

A cursor is a tint behind the line and never reversed video, so that the colour of a status stays what it is; where
there are no colours to tint with, it is reversed after all.
"""

from __future__ import annotations

import os
from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="fleet-dark",
    primary="#58a6ff",
    secondary="#b48ead",
    accent="#ffb454",
    warning="#ffb454",
    error="#ff6b81",
    success="#56d08e",
    foreground="#d6dbe3",
    background="#0f1318",
    surface="#141a21",
    panel="#1c2732",
    dark=True,
)
LIGHT = Theme(
    name="fleet-light",
    primary="#0a5fc2",
    secondary="#7a3e9d",
    accent="#9a5b00",
    warning="#9a5b00",
    error="#c01f3c",
    success="#16794a",
    foreground="#1d242d",
    background="#fcfcfd",
    surface="#f1f3f6",
    panel="#e1e7ee",
    dark=False,
)
ANSI_DARK = "ansi-dark"

# Style name to theme colour ("" for that of text), then attributes: b bold, u underlined, i italic, r on a ground of
# its colour; l, d, f ever more dimmed.
_STYLES: dict[str, tuple[str, str]] = {
    "": ("", ""),
    "dim": ("", "d"),
    "faint": ("", "f"),
    "strong": ("", "b"),
    "title": ("", "db"),
    "accent": ("accent", "b"),
    "link": ("primary", ""),
    "id": ("primary", "l"),
    "pending": ("", "d"),
    "running": ("primary", ""),
    "waiting": ("warning", ""),
    "completed": ("success", ""),
    "failed": ("error", ""),
    "timeout": ("error", ""),
    "cancelled": ("secondary", ""),
    "skipped": ("", "d"),
    "in_doubt": ("warning", "b"),
    "approved": ("success", ""),
    "rejected": ("error", ""),
    "withdrawn": ("", "d"),
    "accepted": ("success", ""),
    "refused": ("error", ""),
    "active": ("success", ""),
    "paused": ("warning", ""),
    "archived": ("", "d"),
    "draft": ("", "d"),
    "error": ("error", ""),
    "warning": ("warning", ""),
    "info": ("primary", ""),
    "debug": ("", "d"),
    "stdout": ("", ""),
    "stderr": ("warning", ""),
    "key": ("primary", ""),
    "string": ("success", ""),
    "number": ("accent", ""),
    "literal": ("secondary", ""),
    "punctuation": ("", "d"),
    "comment": ("", "di"),
    "match": ("accent", "ru"),
    "match.current": ("accent", "rbu"),
    "bad": ("error", "u"),
    "gap": ("", "f"),
    "code": ("", "b"),
    "badge": ("secondary", "b"),
    "added": ("success", ""),
    "removed": ("error", ""),
    "hunk": ("primary", "l"),
}
LIGHT_DIM = 0.22
DIM = 0.42
FAINT = 0.65
STALE = 0.5
TINT = 0.24
"""How far a cursor's line is coloured."""
RANGE_TINT = 0.13


class Palette:
    """The style names in the colours of a theme."""

    def __init__(self, app: App[Any], *, stale: bool = False) -> None:
        """`stale`: what is said with it is not so any more for all one knows."""
        self._stale = stale
        variables = app.theme_variables
        self.plain = app.native_ansi_color
        """The terminal's own colours: nothing can be blended."""
        self.no_color = app.no_color
        self._colors = {name: Color.parse(variables[name]) for name in ("primary", "secondary", "accent", "warning")}
        self._colors |= {name: Color.parse(variables[name]) for name in ("error", "success", "foreground")}
        self.background = Color.parse(variables["background"])
        self.panel = Color.parse(variables["panel"])
        self._known: dict[str, Style] = {}

    def style(self, name: str) -> Style:
        """What a style name looks like, without a background."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._make(name)
        return found

    def _make(self, name: str) -> Style:
        color, attributes = _STYLES.get(name, ("", ""))
        shade = self._colors[color or "foreground"]
        if self.plain:
            # A terminal's sixteen colours: what cannot be blended is dimmed by the terminal.
            return Style(
                color=shade.rich_color if color else None,
                bold="b" in attributes or None,
                dim=("d" in attributes or "f" in attributes or self._stale) or None,
                underline="u" in attributes or None,
                italic="i" in attributes or None,
                reverse="r" in attributes or None,
            )
        if self._stale:
            shade = shade.blend(self.background, STALE, 1)
        for sign, factor in (("l", LIGHT_DIM), ("d", DIM), ("f", FAINT)):
            if sign in attributes:
                shade = shade.blend(self.background, factor, 1)
        return Style(
            color=shade.rich_color,
            bgcolor=self._colors["accent"].blend(self.background, 0.6, 1).rich_color if "r" in attributes else None,
            bold="b" in attributes or None,
            underline="u" in attributes or None,
            italic="i" in attributes or None,
        )

    def _tinted(self, factor: float, *, bold: bool) -> Style:
        if self.plain:
            return Style(reverse=True, bold=bold or None)
        tint = self.background.blend(self._colors["primary"], factor, 1)
        return Style(bgcolor=tint.rich_color, bold=bold or None)

    @property
    def cursor(self) -> Style:
        """Behind the line of the cursor, in the list that has the focus."""
        return self._known.setdefault("cursor", self._tinted(TINT, bold=True))

    @property
    def away(self) -> Style:
        """Behind the line of the cursor where another part of the screen has the focus."""
        if self.plain:
            return Style(underline=True)
        return self._known.setdefault("away", self._tinted(RANGE_TINT, bold=False))

    @property
    def range(self) -> Style:
        """Behind the lines of a range that is being marked."""
        if self.plain:
            return Style(underline=True)
        return self._known.setdefault("range", self._tinted(RANGE_TINT, bold=False))


def few_colors() -> bool:
    """Nothing can be blended: the terminal has its sixteen colours, or none are wanted (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return True
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = os.environ.get("TERM", "")
    return "256" not in term and "direct" not in term and "kitty" not in term
