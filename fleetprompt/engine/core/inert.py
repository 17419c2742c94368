"""Text from outside made harmless for terminals: nothing in it moves a cursor, hides or reorders characters. PURE.

What is escaped are the general categories of Unicode for controls, formats (bidirectional marks among them),
surrogates, private and unassigned characters, and line and paragraph separators (Unicode Standard, section 4.5).
"""

from __future__ import annotations

import unicodedata

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def inert(text: str) -> str:
    """The text with everything that could move a cursor, hide or reorder characters shown as an escape."""
    return text if text.isascii() and text.isprintable() else "".join(cell(character)[0] for character in text)


def cell(character: str) -> tuple[str, int]:
    """How a character is shown, and how many terminal cells that takes."""
    if " " <= character <= "~":
        return character, 1
    if character == "\t":
        return "    ", 4
    category = unicodedata.category(character)
    if category in _ESCAPED:
        code = ord(character)
        shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        return shown, len(shown)
    if "\ufe00" <= character <= "\ufe0f":
        # Terminals disagree on the width of a character with a variation selector, never on one without it.
        return "", 0
    if category in {"Mn", "Me"}:
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
