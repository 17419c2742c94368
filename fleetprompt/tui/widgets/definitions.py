"""Terms and what they mean, readable on a narrow terminal, too: text that goes on begins below its own beginning."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

LEAST = 24
"""Cells below which a meaning stands behind its term, and not beside it."""


class Definitions:
    """A key or sign, a term, its meaning."""

    def __init__(self, rows: Sequence[tuple[Text, Text, Text]], lead: int, term: int) -> None:
        """`lead` and `term` are the widths of the first two."""
        self._rows = rows
        self._lead = lead
        self._term = term

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = options.max_width - self._lead - self._term >= LEAST
        grid = Table.grid()
        grid.add_column(width=self._lead, no_wrap=True)
        if beside:
            grid.add_column(width=self._term, overflow="fold")
        grid.add_column(overflow="fold")
        for lead, term, meaning in self._rows:
            if beside:
                grid.add_row(lead, term, meaning)
            else:
                grid.add_row(lead, Text("  ").join(text for text in (term, meaning) if text))
        yield grid
