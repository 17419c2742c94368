"""Terms and meanings: side by side where there is room, and what goes on begins below its own beginning."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from fleetprompt.tui.widgets.definitions import Definitions


def drawn(width: int) -> list[str]:
    rows = [(Text(" w "), Text("workflows"), Text("workflows, and what became of their runs"))]
    file = StringIO()
    Console(file=file, width=width).print(Definitions(rows, 4, 12))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, [" w  workflows   workflows, and what became of their runs"]),
        (42, [" w  workflows   workflows, and what became", "                of their runs"]),
        (36, [" w  workflows  workflows, and what", "    became of their runs"]),
    ],
)
def test_what_does_not_fit_goes_on_below_its_beginning(width: int, lines: list[str]) -> None:
    assert drawn(width) == lines
