"""The tree and the facts of a run as lists of cells, as every list of the console takes them. PURE."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from fleetprompt.client.wording import duration, glyph, sign
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.facts import FactList
from fleetprompt.tui.state.lines import Cell, Column, Key, Part
from fleetprompt.tui.state.money import badge, cost_cell
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.runs import tokens
from fleetprompt.tui.state.timeline import Interval, TimeScale
from fleetprompt.tui.state.tree_rows import TreeRow, row_intervals, tree_row

NAME = Column(title="STEP", width=24, grow=2, most=56)
TOOK = Column(title="TOOK", width=6, right=True, drop=1)
COST = Column(title="COST", width=7, right=True, drop=2)
TOKENS = Column(title="TOK", width=6, right=True, drop=3)
WHY = Column(title="", width=12, grow=3, drop=4)
BARS = {"active": "━", "waiting": "┄", "inside": "─"}
GAP = "┊"


class TreeLines:
    """The rows of a run's tree: with why each is as it is, or with its timeline."""

    def __init__(self, view: RunView, now: Callable[[], float]) -> None:
        self.view = view
        self.now = now
        self.timeline = False
        """The last column shows when something was going on, instead of why."""
        self.room = 0
        """Cells of the last column."""
        self._scale: TimeScale | None = None
        self._scaled: tuple[int, int, float] = (0, 0, 0.0)

    @property
    def columns(self) -> Sequence[Column]:
        """Name, duration, cost, and the rest."""
        title = axis(self.scale()) if self.timeline and self.room else ""
        last = Column(title=title, width=WHY.width, grow=WHY.grow, drop=WHY.drop)
        # A run that pays for nothing needs no room to say so.
        return (NAME, TOOK, COST, TOKENS, last) if self._pays else (NAME, TOOK, last)

    @property
    def _pays(self) -> bool:
        run = self.view.run
        return bool(run.cost_nano or run.tokens or run.mode or run.uncertain_nano)

    @property
    def count(self) -> int:
        """How many rows can be seen."""
        return len(self.view.tree)

    def key(self, index: int) -> Key | None:
        """The key of a row."""
        rows = self.view.tree.visible()
        return rows[index].key if 0 <= index < len(rows) else None

    def find(self, key: Key) -> int | None:
        """Where a row is now, or what it is in while that is closed."""
        return self.view.tree.place(str(key))

    def show(self, first: int, last: int) -> None:
        """All rows are there already."""

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A row as it is now."""
        node = self.view.tree.visible()[index]
        now = self.now()
        row = tree_row(self.view.tree, node, now)
        last: Cell = self._bar(row_intervals(node), row.status) if self.timeline else _why(row)
        took = duration(_seconds(row, now)) if row.started is not None else ""
        if not self._pays:
            return _name(row), (took, ""), last
        cost = cost_cell(row.cost_nano, row.uncertain_nano, row.mode, nothing="")
        return _name(row), (took, ""), cost, (tokens(row.tokens) if row.tokens else "", "dim"), last

    def moving(self, first: int, last: int) -> list[int]:
        """Visible rows that say something else with every second."""
        nodes = self.view.tree.visible()[first:last]
        return [
            first + at
            for at, node in enumerate(nodes)
            if self.timeline
            or node.track is None
            or not (node.track.step.settled or node.track.step.started_at is None)
        ]

    # ------------------------------------------------------------ the timeline

    def scale(self) -> TimeScale:
        """The scale of the last column; it moves once a second."""
        wanted = max(1, self.room), self.view.run.n, float(int(self.now()))
        if self._scale is None or self._scaled != wanted:
            self._scaled = wanted
            self._scale = self.view.fold.scale(wanted[0], self.now())
        return self._scale

    def _bar(self, intervals: Sequence[Interval], status: str) -> Cell:
        scale = self.scale()
        cells: list[Part] = [(" ", "")] * scale.width
        for gap in scale.gaps:
            cells[gap.column + gap.columns // 2] = (sign(GAP), "gap")
        # What it did goes before what it waited for where both are in one cell.
        for interval in sorted(intervals, key=lambda interval: interval.doing == "active"):
            end = interval.end if interval.end is not None else scale.end
            first, last = scale.cells(interval.start, end)
            style = _bar_style(interval, status)
            cells[first:last] = [(sign(BARS[interval.doing]), style)] * (last - first)
        return _joined(cells)


def _bar_style(interval: Interval, status: str) -> str:
    if interval.doing == "waiting":
        return "waiting" if interval.end is None else "dim"
    if interval.doing == "inside":
        return "faint"
    return status if interval.end is None or status in ("completed", "failed", "timeout", "cancelled") else "running"


def _joined(cells: Sequence[Part]) -> tuple[Part, ...]:
    found: list[Part] = []
    for text, style in cells:
        if found and found[-1][1] == style:
            found[-1] = (found[-1][0] + text, style)
        else:
            found.append((text, style))
    return tuple(found)


def axis(scale: TimeScale) -> str:
    """What stands above a timeline: where it begins, how long the gaps are, and how long it is in all."""
    cells = [" "] * scale.width

    def put(text: str, at: int) -> None:
        at = max(0, min(at, scale.width - len(text)))
        around = cells[max(0, at - 1) : at + len(text) + 1]
        if len(text) <= scale.width and all(cell == " " for cell in around):
            cells[at : at + len(text)] = text

    for gap in sorted(scale.gaps, key=lambda gap: -gap.seconds):
        text = duration(gap.seconds)
        put(text, gap.column + (gap.columns - len(text)) // 2)
    put("0", 0)
    put(duration(scale.end - scale.start), scale.width)
    return "".join(cells)


def _name(row: TreeRow) -> tuple[Part, ...]:
    indent = "  " * row.depth
    fold = sign("▾" if row.expanded else "▸") + " " if row.expandable else "  "
    if row.what == "more":
        return ((f"{indent}{fold}  ", "dim"), (row.name, "link"))
    style = "dim" if row.status in ("pending", "skipped") or row.what != "step" else "strong" if row.active else ""
    given: tuple[Part, ...] = ((f" {inert(row.given)}", "dim"),) if row.given else ()
    is_entry = row.what in ("turn", "call", "agent", "said")
    style = "strong" if row.active else "" if is_entry else style
    mark = f"{glyph(row.status)} " if row.status else "  "
    return ((f"{indent}{fold}", "dim"), (mark, row.status), (inert(row.name), style), *given)


def _why(row: TreeRow) -> Cell:
    text = inert(" ".join(row.detail.split()))
    if row.what in ("turn", "call", "agent", "said"):
        style = row.status if row.status in ("failed", "in_doubt", "waiting", "rejected") else ""
        return ((f"{inert(row.by)}  " if row.by else "", "dim"), (text, style))
    said = (text, "dim" if row.status in ("completed", "running", "skipped", "pending") else row.status)
    marks = badge(row.mode)
    return (*marks, ("  ", ""), said) if marks else said


def _seconds(row: TreeRow, now: float) -> float:
    return max(0.0, (row.ended if row.ended is not None else now) - (row.started or now))


FACTS = (
    Column(title="N", width=6, right=True, drop=2),
    Column(title="TIME", width=8, drop=1),
    Column(title="FACT", width=18),
    Column(title="STEP", width=10, grow=1, most=40),
    Column(title="WHAT", width=10, grow=3, drop=3),
)


class FactLines:
    """The facts of a run, the first one first; those that have some words in type or path."""

    columns: Sequence[Column] = FACTS

    def __init__(self, facts: FactList, clock: Callable[[float], str]) -> None:
        self.facts = facts
        self.words = ""
        self._clock = clock

    @property
    def positions(self) -> Sequence[int]:
        """Positions of the facts that are listed."""
        return self.facts.find(self.words)

    @property
    def count(self) -> int:
        """How many facts are listed."""
        return len(self.positions)

    def key(self, index: int) -> Key | None:
        """The position of a fact among all of the run."""
        positions = self.positions
        return positions[index] if 0 <= index < len(positions) else None

    def find(self, key: Key) -> int | None:
        """Where the fact of a position is listed."""
        positions = self.positions
        at = bisect_left(positions, key) if isinstance(key, int) else len(positions)
        return at if at < len(positions) and positions[at] == key else None

    def show(self, first: int, last: int) -> None:
        """All facts are there already."""

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A fact as a line."""
        (row,) = self.facts.rows([self.positions[index]])
        return (
            (f"{row.n}", "dim"),
            (self._clock(row.at), "dim"),
            (row.type, row.status),
            (inert(row.path), "strong"),
            (inert(row.what), ""),
        )
