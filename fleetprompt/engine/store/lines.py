"""Log lines as they are stored: cut to a size, numbered, capped per step."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from fleetprompt.engine.ports import LogLine

MAX_LINE = 16 * 1024
"""Bytes of a line's text, and of its data as JSON; the rest is cut."""
STEP_CAP = 10 * 1024 * 1024
"""Bytes of log kept per attempt at a step."""
INSIDE = (".", "[", "#")
"""What follows the path of a step in the paths of the steps inside it."""

_encoder = msgspec.json.Encoder(enc_hook=str)


class Tally(Struct, frozen=True):
    """What is stored of the log of one attempt at a step."""

    lines: int = 0
    """Number of the last line that was kept."""
    bytes: int = 0
    dropped: int = 0
    """Lines that came after the cap was reached."""

    def add(self, size: int, cap: int) -> Tally:
        """After one more line of that size; it is dropped when it does not fit under the cap."""
        if self.bytes + size > cap:
            return self.drop()
        return Tally(lines=self.lines + 1, bytes=self.bytes + size)

    def drop(self) -> Tally:
        """After one more line that was dropped."""
        return Tally(lines=self.lines, bytes=self.bytes, dropped=self.dropped + 1)


def fit(line: LogLine) -> LogLine:
    """The line with its text and data cut to size."""
    text, data = line.text, line.data
    # A character is at most four bytes: most lines need no encoding to be known as short.
    if len(text) * 4 > MAX_LINE and len(raw := text.encode(errors="replace")) > MAX_LINE:
        text = f"{raw[:MAX_LINE].decode(errors='ignore')} … {len(raw) - MAX_LINE} bytes cut"
    if data is not None and len(raw := _encoder.encode(data)) > MAX_LINE:
        data = f"… {len(raw)} bytes of data cut"
    return line if text is line.text and data is line.data else msgspec.structs.replace(line, text=text, data=data)


def size(line: LogLine) -> int:
    """Bytes that a fitted line counts against the cap, about."""
    return len(line.text) + 40 + (len(_encoder.encode(line.data)) if line.data is not None else 0)


def dropped(count: int, last: LogLine, number: int) -> LogLine:
    """The line that stands for all that came after the cap was reached."""
    return LogLine(
        at=last.at,
        level="warning",
        text=f"… {count} lines dropped",
        path=last.path,
        attempt=last.attempt,
        line=number,
    )
