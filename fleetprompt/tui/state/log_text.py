"""A line of a log as parts of text with style names: inert, with the matches of a search, cut or wrapped by cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from fleetprompt.client.wording import Times
from fleetprompt.engine.core import query_regex
from fleetprompt.engine.core.inert import cell, inert
from fleetprompt.engine.ports import LogLine
from fleetprompt.tui.state.log_find import Find

Part = tuple[str, str]
"""Text and the name of its style."""

LEVEL_WORDS = {
    "debug": "debug",
    "info": "info",
    "warning": "warn",
    "error": "error",
    "stdout": "out",
    "stderr": "err",
}
_LEVEL_WIDTH = 5
_TEXT_STYLES = {"debug": "dim", "warning": "warning", "error": "error", "stderr": "stderr"}
STEP_MOST = 24
"""Cells for the path of a step at most."""
MATCHES_MOST = 50
"""Matches marked in a line at most."""

_CUT: Part = ("…", "dim")

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Form(Struct, frozen=True):
    """How lines are laid out."""

    times: Times
    width: int
    """Cells of a row."""
    step: int = 0
    """Cells for the step; 0 where the log is that of one."""
    within: str = ""
    """The path that all steps have in common, which is not repeated."""
    dated: bool = False
    """The day is shown, for there are several."""

    @property
    def margin(self) -> int:
        """Cells before the text."""
        return (15 if self.dated else 9) + _LEVEL_WIDTH + 1 + (self.step + 1 if self.step else 0)

    @property
    def room(self) -> int:
        """Cells for the text."""
        return max(8, self.width - self.margin)


class Row(Struct, frozen=True):
    """One row on the screen. Of a line that takes several, all but the first have a blank margin."""

    margin: tuple[Part, ...]
    body: tuple[Part, ...]
    before: int
    """Characters of the line's text that come before the body."""
    continued: bool = False
    """It is not the first row of its line."""


def margin(line: LogLine, form: Form) -> tuple[Part, ...]:
    """Time of day, level and step."""
    clock = f"{form.times.at(line.at):%m-%d %H:%M:%S}" if form.dated else form.times.clock(line.at)
    level = LEVEL_WORDS[line.level].ljust(_LEVEL_WIDTH)
    parts: list[Part] = [(f"{clock} ", "dim"), (f"{level} ", line.level)]
    if form.step:
        parts.append((fit_step(step_label(line.path, line.attempt, form.within), form.step) + " ", "id"))
    return tuple(parts)


def step_label(path: str, attempt: int, within: str = "") -> str:
    """The path of a step below another, and which attempt it is if not the first."""
    below = path[len(within) :].lstrip(".") if within and path.startswith(within) and path != within else path
    return inert(f"{below}#{attempt}" if attempt > 1 else below)


def fit_step(label: str, width: int) -> str:
    """A label in so many cells; its end tells most."""
    return label.ljust(width) if len(label) <= width else "…" + label[len(label) - width + 1 :]


def body(line: LogLine, find: Find | None = None, *, current: bool = False) -> tuple[Part, ...]:
    """The text of a line and its data, with what was found in them."""
    mark = "match.current" if current else "match"
    parts = _marked(line.text.rstrip("\r\n"), _TEXT_STYLES.get(line.level, ""), find, mark)
    if line.data is not None:
        parts.append(("  ", ""))
        parts += _marked(_encode(line.data).decode(), "dim", find, mark)
    return tuple(parts)


def spans(find: Find, text: str) -> list[tuple[int, int]]:
    """Where in a text the matches of a search begin and end."""
    if find.regex:
        return query_regex.spans(find.needle, text, MATCHES_MOST)
    needle, folded = find.needle.casefold(), text.casefold()
    # Folding makes some characters two: then it has to be known which came from where.
    origin = range(len(text) + 1) if len(folded) == len(text) else _origins(text)
    found: list[tuple[int, int]] = []
    at = folded.find(needle)
    while at >= 0 and len(found) < MATCHES_MOST:
        end = at + len(needle)
        found.append((origin[at], origin[end - 1] + 1))
        at = folded.find(needle, end)
    return found


def _origins(text: str) -> list[int]:
    return [at for at, character in enumerate(text) for _ in character.casefold()]


def _marked(text: str, style: str, find: Find | None, mark: str) -> list[Part]:
    parts: list[Part] = []
    done = 0
    for begin, end in spans(find, text) if find is not None else ():
        begin = max(begin, done)
        if begin > done:
            parts.append((inert(text[done:begin]), style))
        if end > begin:
            parts.append((inert(text[begin:end]), mark))
        done = max(done, end)
    if done < len(text):
        parts.append((inert(text[done:]), style))
    return parts


def cells(text: str) -> int:
    """The cells that inert text takes."""
    return len(text) if text.isascii() else sum(cell(character)[1] for character in text)


def crop(parts: Sequence[Part], start: int, width: int) -> tuple[tuple[Part, ...], int]:
    """What of the parts is seen in so many cells behind others, with `…` at an end where they go on, and how many
    characters precede it."""
    seen, before, more = _crop(parts, start, start + width)
    if more:
        seen, before, _ = _crop(parts, start, start + width - 1)
        seen.append(_CUT)
    if start and width > 1 and any(text for text, _ in parts):
        seen, before, _ = _crop(parts, start + 1, start + width - more)
        seen = [_CUT, *seen, *[_CUT] * more]
        before = max(0, before - 1)
    return tuple(seen), before


def _crop(parts: Iterable[Part], start: int, end: int) -> tuple[list[Part], int, bool]:
    """What is seen from one cell to before another, how many characters precede it, and whether there are more."""
    seen: list[Part] = []
    before = 0
    at = 0
    for text, style in parts:
        if at > end:
            break
        if text.isascii():
            begin = min(len(text), max(0, start - at))
            shown, at = text[begin : max(begin, end - at)], at + len(text)
        else:
            begin, shown, at = _crop_wide(text, at, start, end)
        if not seen:
            before += begin
        if shown and start < end:
            seen.append((shown, style))
    return seen, before, at > end


def _crop_wide(text: str, at: int, start: int, end: int) -> tuple[int, str, int]:
    begin = 0
    shown = ""
    for character in text:
        size = cell(character)[1]
        if at + size <= start:
            begin += 1
        elif at >= end and size:
            at += size
            break
        else:
            # Of a character that is cut through, a space stays; of a mark on it, nothing.
            shown += character if at >= start and at + size <= end else " " * (size > 0)
        at += size
    return begin, shown, at


def wrap(parts: Sequence[Part], width: int) -> list[tuple[tuple[Part, ...], int]]:
    """The parts in rows of so many cells, and how many characters precede each row; one row at least."""
    rows: list[tuple[tuple[Part, ...], int]] = []
    row: list[Part] = []
    room = width
    before = done = 0
    for text, style in parts:
        while text:
            piece, taken = _head(text, room)
            if piece:
                row.append((piece, style))
                done += len(piece)
                room -= taken
                text = text[len(piece) :]
            if text:
                rows.append((tuple(row), before))
                row, room, before = [], width, done
    if row or not rows:
        rows.append((tuple(row), before))
    return rows


def _head(text: str, room: int) -> tuple[str, int]:
    """The beginning of a text that fits, and its cells."""
    if text.isascii():
        return text[:room], min(len(text), room)
    taken = 0
    for at, character in enumerate(text):
        size = cell(character)[1]
        if taken + size > room:
            return text[:at], taken
        taken += size
    return text, taken
