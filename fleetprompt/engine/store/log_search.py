"""What a chunk of log lines holds: decoding, levels, and searching without decoding what cannot match."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import AnyStr

import msgspec

from fleetprompt.engine.core import query_regex
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import LEVELS, LogLine, LogMatches
from fleetprompt.engine.store.log_chunks import Text

_decoder = msgspec.json.Decoder(Text)
_data = msgspec.json.Encoder(enc_hook=str)
_CODES = {level.encode(): code for code, level in enumerate(LEVELS)}

Finds = Callable[[bytes], list[int]]
"""Which lines of a chunk's text match, by their index, in order."""


def decode(data: bytes, path: str, attempt: int, first: int) -> list[LogLine]:
    """The lines of a chunk; `first` is the number of its first line."""
    return [
        LogLine(
            at=line.at,
            level=line.level,
            text=line.text,
            data=line.data,
            path=path,
            attempt=attempt,
            line=number,
        )
        for number, line in enumerate(map(_decoder.decode, _raw_lines(data)), first)
    ]


def levels(data: bytes) -> bytes:
    """The level of each line of a chunk, as an index into `LEVELS`."""
    return bytes(_CODES[raw.split(b'"', 2)[1]] for raw in _raw_lines(data))


class Search:
    """Collects what is found in one chunk after the other, in either direction, up to a limit."""

    def __init__(self, finds: Finds, *, after: int | None, before: int | None, limit: int) -> None:
        if after is not None and before is not None:
            raise InvalidInput("a search goes on from a position or back from one, not both")
        self.backwards = before is not None
        self.reached = before if before is not None else after or 0
        self._finds = finds
        self._limit = limit
        self._found: list[int] = []

    def take(self, until: int, lines_before: int, data: bytes) -> bool:
        """Search a chunk, given the position of its last line and how many come before that; whether to go on."""
        begin = until - lines_before
        positions = [begin + at for at in self._finds(data)]
        if self.backwards:
            positions = [position for position in reversed(positions) if position < self.reached]
        else:
            positions = [position for position in positions if position > self.reached]
        room = self._limit - len(self._found)
        self._found += positions[:room]
        if len(positions) >= room:
            self.reached = self._found[-1]
            return False
        self.reached = begin if self.backwards else until
        return True

    def matches(self, *, more: bool) -> LogMatches:
        """What was found; `more`: there are other chunks than those that were given."""
        full = len(self._found) >= self._limit
        return LogMatches(tuple(self._found), self.reached, done=not more and not full)


def finder(needle: str, *, regex: bool) -> Finds:
    """How a text or a regular expression is found in chunks, in any letter case. Raises `InvalidInput`."""
    if not needle:
        raise InvalidInput("there is nothing to search for")
    if not regex:
        return _text_finder(needle)
    try:
        query_regex.check(needle)
    except ValueError as problem:
        raise InvalidInput(str(problem)) from None
    return lambda data: [at for at, raw in enumerate(_raw_lines(data)) if _matches(raw, needle)]


def _raw_lines(data: bytes) -> list[bytes]:
    return zlib.decompress(data).split(b"\n")


def _matches(raw: bytes, pattern: str) -> bool:
    line = _decoder.decode(raw)
    if query_regex.found(pattern, line.text):
        return True
    return line.data is not None and query_regex.found(pattern, _data.encode(line.data).decode())


def _text_finder(needle: str) -> Finds:
    folded = needle.casefold()
    # As the text of a line holds it, and as its data does: JSON escapes single characters, so the part of a text is
    # the part of its JSON.
    forms = {msgspec.json.encode(needle)[1:-1].decode().casefold(), folded}
    encoded = {form.encode() for form in forms if form.isascii()}

    def holds(raw: bytes) -> bool:
        line = _decoder.decode(raw)
        if folded in line.text.casefold():
            return True
        return line.data is not None and folded in _data.encode(line.data).decode().casefold()

    def finds(data: bytes) -> list[int]:
        whole = zlib.decompress(data)
        # Of a chunk that is ASCII, its bytes tell: that is ten times as fast.
        if whole.isascii():
            likely = _likely(whole.lower(), b"\n", encoded)
        else:
            likely = _likely(whole.decode().casefold(), "\n", forms)
        if not likely:
            return []
        lines = whole.split(b"\n")
        return [at for at in likely if holds(lines[at])]

    return finds


def _likely(whole: AnyStr, newline: AnyStr, forms: set[AnyStr]) -> list[int]:
    """The lines that hold one of the forms anywhere, be it in what surrounds the text."""
    return sorted({at for form in forms for at in _occurrences(whole, newline, form)})


def _occurrences(whole: AnyStr, newline: AnyStr, form: AnyStr) -> Iterator[int]:
    line, searched = 0, 0
    while (at := whole.find(form, searched)) >= 0:
        line += whole.count(newline, searched, at)
        yield line
        end = whole.find(newline, at)
        if end < 0:
            return
        line, searched = line + 1, end + 1
