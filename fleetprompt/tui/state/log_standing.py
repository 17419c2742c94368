"""What is said about a log beside it: whether it is followed, how much of it is shown, what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from fleetprompt.client.values import cut
from fleetprompt.client.wording import count
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.log import CHOICES, RANGES, LogView
from fleetprompt.tui.state.log_text import Part, cells, crop, fit_step

NEEDLE = 30
"""Characters of what is searched for."""
OF_LEAST = 8
"""Cells below which the end of a path says nothing."""


def standing(view: LogView, of: str = "", width: int | None = None) -> list[Part]:
    """The parts, two spaces apart, in so many cells: what is missed least gives way first. `of`: whose log it is."""
    said = {"place": [_place(view)], "amount": [_amount(view)], "filters": _filters(view), "search": _search(view)}
    if width is None:
        return _apart([*said.values(), [(of, "dim")] if of else []])
    for name in ("", "amount", "place", "filters"):
        said.pop(name, None)
        parts = _apart(said.values())
        room = width - _cells(parts) - 2
        if of and room >= min(OF_LEAST, cells(of)):
            return [*parts, ("  ", ""), (fit_step(of, room).rstrip(), "dim")]
        if room >= -2:
            return parts
    return [*crop(parts, 0, width)[0]]


def _apart(groups: Iterable[Sequence[Part]]) -> list[Part]:
    parts: list[Part] = []
    for part in chain.from_iterable(groups):
        parts += [("  ", "")] * bool(parts) + [part]
    return parts


def _cells(parts: Iterable[Part]) -> int:
    return sum(cells(text) for text, _ in parts)


def left_out(view: LogView, key: Callable[[str], str]) -> list[list[Part]]:
    """Lines that stand where no line of a log is shown though it has some: what leaves them out, and which keys show
    them again. `key` says the key of an action."""
    parts: list[Part] = [(f"none of {count(view.lines, 'line')}{' so far' if view.progress < 1 else ''}: ", "dim")]
    for at, part in enumerate(_filters(view)):
        parts += [(", ", "dim")] * bool(at) + [part]
    ways = (
        (view.levels, "log.levels", "other levels, in the end all"),
        (RANGES[view.range][1] is not None, "log.tail", "all times"),
        (view.only, "log.only", "also what does not match"),
    )
    return [parts, *([(key(id_), "accent"), (f" {doc}", "dim")] for on, id_, doc in ways if on)]


def _place(view: LogView) -> Part:
    if view.follow:
        return ("following", "running")
    if view.new:
        return (f"{view.new:,} new", "accent")
    return ("held", "dim")


def _amount(view: LogView) -> Part:
    if view.count == view.lines:
        return (count(view.lines, "line"), "dim")
    return (f"{view.count:,} of {count(view.lines, 'line')}", "dim")


def _filters(view: LogView) -> list[Part]:
    said: list[Part] = []
    if view.levels:
        known = {levels: name for name, levels in CHOICES}
        said.append((known.get(view.levels) or ", ".join(sorted(view.levels)), "accent"))
    if RANGES[view.range][1] is not None:
        said.append((f"last {RANGES[view.range][0]}", "accent"))
    if view.only:
        said.append(("matches only", "accent"))
    return said


def _search(view: LogView) -> list[Part]:
    find = view.find
    said: list[Part] = []
    if find is not None:
        found = f"{find.count:,}{'+' if find.full else ''}" if find.count or not find.done else "no match"
        rank = f"{find.rank():,} of " if find.current is not None else ""
        sign = f"/{cut(inert(find.needle), NEEDLE)}/" if find.regex else cut(inert(find.needle), NEEDLE)
        said.append((f"{sign}: {rank}{found}", "accent" if find.count else "failed" if find.done else "dim"))
    if view.progress < 1:
        said.append((f"{int(view.progress * 100)} %", "dim"))
    return said
