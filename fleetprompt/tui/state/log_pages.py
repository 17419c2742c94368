"""The chunks whose lines are held: those looked at last, up to so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof

import msgspec

from fleetprompt.engine.ports import LogLine

MOST = 8 * 1024 * 1024
"""Bytes that held lines take, about."""
_LINE = 180
"""Bytes of a line besides its text and data."""
_DATA = 4
"""How much more memory data takes than as JSON."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Pages:
    """Lines by the id of their chunk."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pages: OrderedDict[int, tuple[list[LogLine], int]] = OrderedDict()
        self.bytes = 0

    def __contains__(self, id_: int) -> bool:
        return id_ in self._pages

    def get(self, id_: int) -> list[LogLine] | None:
        """The lines of a chunk, if they are held; it is looked at."""
        page = self._pages.get(id_)
        if page is None:
            return None
        self._pages.move_to_end(id_)
        return page[0]

    def put(self, id_: int, lines: list[LogLine]) -> None:
        """Hold the lines of a chunk, and let go those looked at longest ago."""
        self.discard(id_)
        weight = sum(_weight(line) for line in lines)
        self._pages[id_] = (lines, weight)
        self.bytes += weight
        while self.bytes > self._most and len(self._pages) > 1:
            _, (_, gone) = self._pages.popitem(last=False)
            self.bytes -= gone

    def discard(self, id_: int) -> None:
        """Let go a chunk."""
        page = self._pages.pop(id_, None)
        if page is not None:
            self.bytes -= page[1]


def _weight(line: LogLine) -> int:
    data = len(_encode(line.data)) * _DATA if line.data is not None else 0
    return _LINE + getsizeof(line.text) + data
