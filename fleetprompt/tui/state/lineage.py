"""The lineage of a signal as lines: what led to it, what it led to, and who shares its correlation. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from fleetprompt.client.wording import count, duration, glyph, short, sign
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Kin, Lineage, RunHead
from fleetprompt.tui.state.lines import Cell
from fleetprompt.tui.state.signals import sender

LONGEST = 200
"""Characters of a type or a name."""


class Place(NamedTuple):
    """What a line is about, and which of the lines about it this one is."""

    kind: Literal["signal", "run", "text"]
    id: str
    part: str
    """`cause`, `self`, `effect`, `family`, or the number of a line of text."""


Row = tuple[Place, Sequence[Cell]]


def lineage_rows(lineage: Lineage) -> list[Row]:
    """The tree from the first cause down to the last effect, and below it the rest of the family."""
    rows: list[Row] = []
    causes = lineage.causes[::-1]
    if "causes" in lineage.more:
        rows.append(_text(f"what led to the first of these {count(len(causes), 'cause')} is not followed", "causes"))
    for depth, kin in enumerate(causes):
        # Each says how it is linked to what is below it.
        rows.append(_kin(kin, depth, "cause", causes[depth - 1].how if depth else ""))
    here = len(causes)
    how = lineage.causes[0].how if lineage.causes else ""
    shown = _signal(lineage.signal, here, _arrow(here), "strong", how)
    rows.append((Place("signal", lineage.signal.id, "self"), (shown,)))
    rows += [_kin(kin, here + kin.depth, "effect", kin.how) for kin in lineage.effects]
    if "effects" in lineage.more:
        rows.append(_text(f"there is more than these {count(len(lineage.effects), 'effect')}", "effects"))
    if not lineage.causes and not lineage.effects:
        rows.append(_text("nothing led to it, and nothing came of it", "alone"))
    rows += _family(lineage)
    return rows


def _family(lineage: Lineage) -> Iterator[Row]:
    told = {lineage.signal.id, *(kin.id for kin in (*lineage.causes, *lineage.effects) if kin.signal is not None)}
    others = [signal for signal in lineage.family if signal.id not in told]
    if not others:
        return
    name = lineage.signal.correlation or lineage.signal.id
    yield _text("", "gap")
    more = " at least" if "family" in lineage.more else ""
    yield _text(f"correlation {inert(name[:LONGEST])}:{more} {count(len(others), 'more signal')}", "family")
    for signal in others:
        yield (Place("signal", signal.id, "family"), (_signal(signal, 1, "", "key"),))


def _text(text: str, part: str) -> Row:
    return (Place("text", "", part), ((text, "dim"),))


def _arrow(depth: int) -> str:
    return f"{sign('→')} " if depth else ""


def _kin(kin: Kin, depth: int, part: str, how: str) -> Row:
    arrow = _arrow(depth)
    if kin.signal is not None:
        return (Place("signal", kin.id, part), (_signal(kin.signal, depth, arrow, "key", how),))
    if kin.run is not None:
        return (Place("run", kin.id, part), (_run(kin.run, depth, arrow, how),))
    # Only runs emit, and of what a signal led to only runs are looked up.
    what = "run" if part == "effect" or kin.how == "emitted" else "signal"
    gone = (("  " * depth + arrow, "faint"), (f"{what} ", "dim"), (inert(short(kin.id)), "id"))
    return (Place("text", kin.id, part), ((*gone, ("  is no longer there", "dim")),))


def _signal(signal: Signal, depth: int, arrow: str, style: str, how: str = "") -> Cell:
    return (
        ("  " * depth + arrow, "faint"),
        (f"{how} " if how else "", "dim"),
        (inert(signal.type[:LONGEST]), style),
        (f"  {sender(signal.source)}", "dim"),
        (f"  {inert(signal.subject[:LONGEST])}" if signal.subject else "", "dim"),
    )


def _run(run: RunHead, depth: int, arrow: str, how: str) -> Cell:
    seconds = run.finished_at - run.started_at if run.finished_at is not None and run.started_at is not None else None
    return (
        ("  " * depth + arrow, "faint"),
        (f"{how} " if how else "", "dim"),
        (f"{glyph(run.status)} ", run.status),
        (inert(run.workflow[:LONGEST]), ""),
        (f"  {inert(short(run.id))}", "id"),
        (f"  {run.status}", run.status),
        (f"  {duration(seconds)}" if seconds is not None else "", "dim"),
    )
