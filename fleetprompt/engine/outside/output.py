"""The output of a process: every line goes to the log, a bounded part is kept.

Memory is bounded by what is kept plus one line, however much the process writes.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from fleetprompt.engine.outside.wording import size

LINE_BYTES = 16 * 1024
"""Longest line in the log; the rest of a longer one is dropped and counted."""
_SLACK = 256 * 1024


class Stream:
    """One stream of a process. `emit` gets each line as text, without its line end."""

    def __init__(self, emit: Callable[[str], None], *, head: int = 0, tail: int = 0) -> None:
        self.size = 0
        """Bytes seen."""
        self._emit = emit
        self._head_limit = head
        self._tail_limit = tail
        self._head = bytearray()
        self._tail = bytearray()
        self._line = bytearray()
        self._dropped = 0

    @property
    def truncated(self) -> bool:
        """Whether more was written than is kept."""
        return self.size > self._head_limit + self._tail_limit

    def feed(self, data: bytes) -> None:
        """Take what the process wrote."""
        self._keep(data)
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if not self._line and len(piece) <= LINE_BYTES:
                self._emit(_text(piece))
            else:
                self._extend(piece)
                self._end()
        self._extend(rest)

    def close(self) -> None:
        """The stream ended: a last line without line end is a line too."""
        if self._line:
            self._end()

    def text(self) -> str:
        """What is kept. Where the middle is missing, whole lines are dropped and a mark says how much."""
        if not self.truncated:
            return _decoded(bytes(self._head + self._tail))
        head, tail = bytes(self._head), bytes(self._tail[-self._tail_limit :]) if self._tail_limit else b""
        head = head[: head.rfind(b"\n") + 1] or head
        tail = tail[tail.find(b"\n") + 1 :] or tail
        mark = f"[… {size(self.size - len(head) - len(tail))} cut …]\n"
        start = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
        if start and not start.endswith("\n"):
            start += "\n"
        return start + mark + _decoded(tail)

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data and self._tail_limit:
            self._tail += data
            if len(self._tail) > self._tail_limit + _SLACK:
                del self._tail[: -self._tail_limit]

    def _extend(self, piece: bytes) -> None:
        room = LINE_BYTES - len(self._line)
        if len(piece) > room:
            self._dropped += len(piece) - room
            piece = piece[:room]
        self._line += piece

    def _end(self) -> None:
        if self._dropped:
            # Not `_text`: a character that the cut went through is dropped, not shown as a broken one.
            text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._line))
            self._emit(f"{text} [… {size(self._dropped)} cut]")
        else:
            self._emit(_text(bytes(self._line)))
        self._line.clear()
        self._dropped = 0


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")
