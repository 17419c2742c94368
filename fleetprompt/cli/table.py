"""Text that fits: in tables columns are cut or left out where the terminal is narrow, ids are never cut or wrapped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from fleetprompt.engine.core.inert import inert

GAP = 2
PADDED = 40
"""Cells to which texts of a flexible column are filled up where nobody counts the cells of a line: what is longer is
whole, and makes the lines of the others no longer."""
NARROWEST = 12
"""Cells that a flexible column keeps."""
_ITEM = re.compile(r"- |\w+: ")
"""How an item of an outline begins."""


class Column(Struct, frozen=True):
    """One column."""

    title: str
    right: bool = False
    flexible: bool = False
    """Its texts may be cut."""
    drop: int = 0
    """Left out when there is no room, the highest number first; 0: never."""
    style: str = ""


Cell = str | Text


def layout(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[Text]:
    """The lines of a table, the first one its titles."""
    cells = [[_text(cell, column) for cell, column in zip(row, columns, strict=True)] for row in rows]
    natural = [max([len(column.title), *(row[i].cell_len for row in cells)]) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while width is not None and _least(columns, natural, kept) > width:
        dropped = max(kept, key=lambda i: columns[i].drop)
        if not columns[dropped].drop:
            break
        kept.remove(dropped)
    widths = _widths(columns, natural, kept, width)
    titles = [Text(column.title, style="bold") for column in columns]
    return [_line(columns, line, kept, widths, cut=width is not None) for line in (titles, *cells)]


def _text(cell: Cell, column: Column) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(inert(cell), style=column.style)


def _least(columns: Sequence[Column], natural: list[int], kept: list[int]) -> int:
    """The cells that these columns need at least."""
    widths = [min(natural[i], NARROWEST) if columns[i].flexible else natural[i] for i in kept]
    return sum(widths) + GAP * (len(kept) - 1)


def _widths(columns: Sequence[Column], natural: list[int], kept: list[int], width: int | None) -> dict[int, int]:
    widths = {i: natural[i] for i in kept}
    if width is None:
        return {i: min(natural[i], PADDED) if columns[i].flexible else natural[i] for i in kept}
    over = sum(widths.values()) + GAP * (len(kept) - 1) - width
    while over > 0:
        flexible = [i for i in kept if columns[i].flexible and widths[i] > NARROWEST]
        if not flexible:
            break
        widest = max(flexible, key=lambda i: widths[i])
        others = [widths[i] for i in flexible if i != widest]
        step = max(1, min(over, widths[widest] - max([NARROWEST, *others])))
        widths[widest] -= step
        over -= step
    return widths


def _line(
    columns: Sequence[Column], cells: Sequence[Text], kept: list[int], widths: dict[int, int], *, cut: bool
) -> Text:
    line = Text()
    for i in kept:
        text = cells[i]
        if cut and text.cell_len > widths[i]:
            text.truncate(widths[i], overflow="ellipsis")
        space = " " * max(0, widths[i] - text.cell_len)
        if columns[i].right:
            line.append(space)
        line.append_text(text)
        if i != kept[-1]:
            line.append("" if columns[i].right else space).append(" " * GAP)
    line.rstrip()
    return line


def wrapped(line: Text, console: Console) -> list[Text]:
    """A line broken between words, what follows indented like its beginning: in an outline, below the item's text."""
    if line.cell_len <= console.width:
        return [line]
    start = line.plain.lstrip(" ")
    indent = len(line.plain) - len(start)
    hang = indent + 2 * bool(_ITEM.match(start))
    parts = line[indent:].wrap(console, max(20, console.width - hang - 1))
    for part in parts:
        part.rstrip()
    return [Text(" " * (hang if number else indent)).append_text(part) for number, part in enumerate(parts)]
