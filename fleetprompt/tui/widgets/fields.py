"""Where people type: texts that came from outside are kept as they are and drawn without what would move a cursor.

Each character is drawn as one, so that the cursor stands where it belongs: controls as their pictures (Unicode block
2400), whatever else is hidden or reorders as a question mark in a diamond.
"""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Input, TextArea

from fleetprompt.engine.core.inert import cell

PICTURES = 0x2400
DELETE = "\u2421"
HIDDEN = "\ufffd"


def drawn(text: str) -> str:
    """The text with a visible character in place of each that is none."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_drawn, text))


def _drawn(character: str) -> str:
    shown, _ = cell(character)
    if shown == character or character in "\n":
        return character
    code = ord(character)
    if code < 0x20:
        return chr(PICTURES + code)
    return DELETE if code == 0x7F else HIDDEN


class SafeInput(Input):
    """One line of text."""

    @property
    def _value(self) -> Text:
        if self.password:
            return super()._value
        text = Text(drawn(self.value), no_wrap=True, overflow="ignore", end="")
        return self.highlighter(text) if self.highlighter is not None else text


class SafeTextArea(TextArea):
    """Several lines of text."""

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn."""
        return Text(drawn(self.document.get_line(line_index)), end="", no_wrap=True)
