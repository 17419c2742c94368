"""The findings as a table for people: ours beside the best peer and the floor of the same run."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.catalog import FLOOR, OURS, Figure, Measure
from bench.session import Found

COLUMNS = ("measure", "reach", "ours (median, min-max)", "best peer in the same run", "floor", "ratio")


def rows(measure: Measure, found: dict[str, Found]) -> list[tuple[str, ...]]:
    """A row for every figure of a measure."""
    return [_row(measure, figure, found) for figure in measure.figures]


def _row(measure: Measure, figure: Figure, found: dict[str, Found]) -> tuple[str, ...]:
    ours = found[OURS]
    values = ours.values(figure.name)
    mine = ours.median(figure.name)
    shown = (
        f"{number(mine)} ({number(min(values))} - {number(max(values))})" if values else "; ".join(ours.notes) or "-"
    )
    peer, best = _best_peer(measure, figure, found)
    floor = found[FLOOR].median(figure.name) if FLOOR in found else None
    ratios: list[str] = []
    if mine and best:
        ratios.append(f"{_times(figure, mine, best)} {peer}")
    if mine and floor:
        ratios.append(f"{_times(figure, mine, floor)} floor")
    # `[/s]` would be markup.
    what = figure.what if not figure.unit else f"{figure.what} \\[{figure.unit}]"
    label = f"{measure.name}: {what}" if not figure.what.startswith("…") else what
    return (
        label,
        figure.reach,
        shown,
        f"{peer} {number(best)}" if best is not None else "",
        number(floor) if floor is not None else "",
        ", ".join(ratios),
    )


def _best_peer(measure: Measure, figure: Figure, found: dict[str, Found]) -> tuple[str, float | None]:
    peers = {
        subject.name: value
        for subject in measure.subjects
        if subject.name not in (OURS, FLOOR) and (value := found[subject.name].median(figure.name)) is not None
    }
    if not peers:
        return "", None
    name = (max if figure.higher else min)(peers, key=lambda name: peers[name])
    return name, peers[name]


def _times(figure: Figure, mine: float, other: float) -> str:
    """How many times as good we are: over 1 we are better."""
    return f"{number(mine / other if figure.higher else other / mine)}x"


def number(value: float | None) -> str:
    """Three significant digits, thousands with commas."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def show(lines: list[tuple[str, ...]], conditions: dict[str, Any], notes: list[str]) -> None:
    """Print it all."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=190)
    table = Table(*COLUMNS, show_edge=False, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    console.print()
    for name, value in conditions.items():
        shown = ", ".join(f"{part:.2f}" for part in value) if isinstance(value, tuple) else value
        console.print(f"{name}: {number(value) if isinstance(value, float) else shown}", highlight=False)
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    console.print("ratio: how many times as good as the other; over 1 we are better.", highlight=False)
