"""A value as lines of text with the places of what is to be coloured, whatever its size. PURE.

Nothing is done for a line before somebody looks at it, and a line of a megabyte is many short ones.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fleetprompt.client.values import one_line_json
from fleetprompt.engine.core.inert import inert

LONGEST = 400
"""Characters of a line; what is longer goes on in the next one."""
KNOWN_LINES = 200
"""Long lines whose tokens are remembered."""
TOO_DEEP = "nested too deeply to be shown"

Kind = Literal["key", "string", "number", "literal", "punctuation"]
Span = tuple[int, int, Kind]
"""From this character to before that one."""

_TOKEN = re.compile(
    r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")(?P<key>(?=\s*:))?'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<literal>true|false|null)|(?P<punctuation>[{}\[\],:]+)"
)


class TextLine(Struct, frozen=True):
    """One line, inert, with its spans in order."""

    text: str
    spans: tuple[Span, ...] = ()
    continued: bool = False
    """It goes on what the line before began."""


class JsonText:
    """A value as text: indented JSON, or for a value that is a text its own lines."""

    def __init__(self, value: Any) -> None:
        self.is_json = not isinstance(value, str)
        self._lines = _json(value) if self.is_json else (value.splitlines() or [""])
        self._firsts: array[int] | None = None
        """Where lines are cut: the number of the first piece of each."""
        if max(map(len, self._lines)) > LONGEST:
            self._firsts = array("q", [0])
            for line in self._lines:
                self._firsts.append(self._firsts[-1] + max(1, -(-len(line) // LONGEST)))
        self._tokens = lru_cache(KNOWN_LINES)(self._tokens_of)

    def __len__(self) -> int:
        return len(self._lines) if self._firsts is None else self._firsts[-1]

    @property
    def text(self) -> str:
        """The whole, as it is: not inert."""
        return "\n".join(self._lines)

    def line(self, number: int) -> TextLine:
        """A line, counted from 0. Raises `IndexError` where there is none."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        line, offset = self._place(number)
        raw = self._lines[line][offset : offset + LONGEST]
        if not self.is_json:
            return TextLine(inert(raw), (), offset > 0)
        return _marked(raw, offset, self._tokens(line))

    def lines(self, first: int, last: int) -> list[TextLine]:
        """The lines from `first` to before `last`, as far as there are any."""
        return [self.line(number) for number in range(max(0, first), min(last, len(self)))]

    def find(self, text: str, start: int = 0) -> int | None:
        """The first line from `start` on in which a text is, in whatever case."""
        wanted = text.casefold()
        if not wanted or not 0 <= start < len(self):
            return None
        first, offset = self._place(start)
        for line in range(first, len(self._lines)):
            found = self._lines[line].casefold().find(wanted, offset if line == first else 0)
            if found >= 0:
                return line if self._firsts is None else self._firsts[line] + found // LONGEST
        return None

    def _place(self, number: int) -> tuple[int, int]:
        """The line of the value, and the character in it, at which a line begins."""
        if self._firsts is None:
            return number, 0
        line = bisect_right(self._firsts, number) - 1
        return line, (number - self._firsts[line]) * LONGEST

    def _tokens_of(self, line: int) -> Sequence[Span]:
        found: list[Span] = []
        for token in _TOKEN.finditer(self._lines[line]):
            kind = token.lastgroup
            if kind in ("text", "key"):
                found.append((*token.span("text"), "key" if kind == "key" else "string"))
            elif kind == "number" or kind == "literal" or kind == "punctuation":
                found.append((*token.span(), kind))
        return found


def _json(value: Any) -> list[str]:
    """Indented JSON."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except RecursionError:
        text = TOO_DEEP
    except (TypeError, ValueError, msgspec.MsgspecError):
        text = one_line_json(value)
    return text.split("\n")


def _marked(raw: str, offset: int, tokens: Sequence[Span]) -> TextLine:
    """A piece of a line made inert, with the spans moved to where their characters are now."""
    end = offset + len(raw)
    if raw.isascii() and raw.isprintable():
        inside = [token for token in tokens if token[0] < end and token[1] > offset]
        spans: list[Span] = [(max(at, offset) - offset, min(stop, end) - offset, kind) for at, stop, kind in inside]
        return TextLine(raw, tuple(spans), offset > 0)
    parts: list[str] = []
    moved: list[Span] = []
    at, length = offset, 0
    for start, stop, kind in tokens:
        if start >= end or stop <= offset:
            continue
        start, stop = max(start, offset), min(stop, end)
        for first, last, is_token in ((at, start, False), (start, stop, True)):
            part = inert(raw[first - offset : last - offset])
            parts.append(part)
            if is_token:
                moved.append((length, length + len(part), kind))
            length += len(part)
        at = stop
    parts.append(inert(raw[at - offset :]))
    return TextLine("".join(parts), tuple(moved), offset > 0)
