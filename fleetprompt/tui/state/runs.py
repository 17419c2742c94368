"""The list of runs: which there are and in what order, the rows that are looked at, and what changes while one looks.

The order is an array of numbers, eight bytes for each run; rows are read by page and the least used are let go. A run
keeps its number for good, so cursor and marks hold on to it whatever comes and goes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, get_args

from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import ago, duration, short, sign
from fleetprompt.engine.core.facts import ASKS
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import NEWEST_FIRST, Order, RunHead
from fleetprompt.tui.state.fleet import Asked
from fleetprompt.tui.state.lines import Cell, Column, Key, Part
from fleetprompt.tui.state.money import badge, cost_cell

PAGE = 128
"""Rows that are read at a time."""
ROWS = 4_096
"""Rows that are kept."""
MANY = 500
"""Changed runs of which it is quicker to read the whole order again."""

COLUMNS = (
    Column(title="", width=1),
    Column(title="RUN", width=8, sort="created"),
    Column(title="WORKFLOW", width=12, grow=3, most=28, sort="workflow"),
    Column(title="STATUS", width=9, drop=5, sort="status"),
    Column(title="BY", width=6, grow=1, most=16, drop=8),
    Column(title="AGE", width=8, right=True, drop=6, sort="created"),
    Column(title="DUR", width=6, right=True, drop=3, sort="duration"),
    Column(title="COST", width=8, right=True, drop=4, sort="cost"),
    Column(title="TOKENS", width=7, right=True, drop=7, sort="tokens"),
    Column(title="NOW", width=18, grow=8, drop=1),
)
Sort = Literal["created", "updated", "status", "workflow", "duration", "cost", "tokens"]
SORTS: tuple[Sort, ...] = get_args(Sort)


def ordered_by(name: str, *, descending: bool = True) -> Order:
    """An order by its name; that of creation for a name that means none."""
    for sort in SORTS:
        if sort == name:
            return Order(by=sort, descending=descending)
    return NEWEST_FIRST


AGE, DUR, NOW = ([column.title for column in COLUMNS].index(title) for title in ("AGE", "DUR", "NOW"))
"""Columns that time changes."""


class Effect(Struct, frozen=True):
    """What a change has done to the list."""

    rows: frozenset[int] = frozenset()
    """Numbers of runs that look different now."""
    members: bool = False
    """Runs have come or gone."""


class RunList:
    """The runs that match a filter. `now` gives the time in epoch seconds."""

    columns: Sequence[Column] = COLUMNS

    def __init__(
        self,
        console: Console,
        now: Callable[[], float],
        questions: Callable[[str], Asked],
        halted: Callable[[RunHead], str] = lambda head: "",
    ) -> None:
        self.console = console
        self._now = now
        self._questions = questions
        """The question that a run asks, if it waits for an answer."""
        self._halted = halted
        """Why nothing new starts in a run, where that is not up to the run."""
        self.filter = ""
        """The filter whose result is shown."""
        self.order = NEWEST_FIRST
        self.follow = True
        """New runs are shown at once while the cursor is at the top."""
        self.at_top = True
        self.loaded = False
        self._seqs = array("q")
        """Numbers from the bottom of the list to its top."""
        self._rising = True
        """They rise: the list is sorted by creation, the newest first."""
        self._hidden = 0
        """How many of the newest runs are not shown yet."""
        self._rows: OrderedDict[int, RunHead | None] = OrderedDict()
        self._old: set[int] = set()
        """Rows that may have changed since they were read."""
        self._span = (0, 0)

    # ------------------------------------------------------------ what is shown

    @property
    def count(self) -> int:
        """How many runs are listed."""
        return len(self._seqs) - self._hidden

    @property
    def fresh(self) -> int:
        """How many new runs wait to be shown."""
        return self._hidden

    def _at(self, index: int) -> int:
        return self._seqs[len(self._seqs) - 1 - self._hidden - index]

    def key(self, index: int) -> Key | None:
        """The number of a run."""
        return self._at(index) if 0 <= index < self.count else None

    def find(self, key: Key) -> int | None:
        """Where a run stands now."""
        if not isinstance(key, int):
            return None
        at = self._position(key)
        index = len(self._seqs) - 1 - self._hidden - at if at is not None else -1
        return index if index >= 0 else None

    def _position(self, seq: int) -> int | None:
        if self._rising:
            at = bisect_left(self._seqs, seq)
            return at if at < len(self._seqs) and self._seqs[at] == seq else None
        try:
            return self._seqs.index(seq)
        except ValueError:
            return None

    def head(self, key: Key | None) -> RunHead | None:
        """The row of a run, if it is there."""
        return self._rows.get(key) if isinstance(key, int) else None

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A run as a line."""
        seq = self._at(index)
        head = self._rows.get(seq)
        if head is None:
            return _GONE if seq in self._rows else None
        return run_cells(head, self._now(), self._questions(head.id), self._halted(head))

    def ticking(self, first: int, last: int, seconds: float = 1.0) -> list[tuple[int, tuple[int, ...]]]:
        """Of these lines the ones that time alone has changed in so many seconds, with the columns that changed."""
        now = self._now()
        found: list[tuple[int, tuple[int, ...]]] = []
        for index in range(max(0, first), min(last, self.count)):
            head = self._rows.get(self._at(index))
            if head is None:
                continue
            columns = [AGE] if ago(now - head.created_at) != ago(now - seconds - head.created_at) else []
            if head.finished_at is None and head.started_at is not None:
                took = now - head.started_at
                columns += [DUR] if duration(took) != duration(took - seconds) else []
            if head.waiting_on == "timer" and head.wake_at is not None:
                left = head.wake_at - now
                columns += [NOW] if duration(left) != duration(left + seconds) else []
            if columns:
                found.append((index, tuple(columns)))
        return found

    # ------------------------------------------------------------ reading

    async def load(self) -> None:
        """Read the whole order again."""
        order = self.order
        found = await self.console.index(self.filter, order)
        newest_first = order.by == "created" and order.descending
        hidden = 0
        if newest_first and self.loaded and self._rising and not (self.follow and self.at_top):
            shown = self._seqs[len(self._seqs) - 1 - self._hidden] if self.count else 0
            hidden = sum(1 for _ in _while_above(found, shown))
        self._seqs = found[::-1]
        self._rising = newest_first
        self._hidden = hidden if hidden < len(found) else 0
        self.loaded = True

    def distrust(self) -> None:
        """Changes were missed: rows are shown as they are known, and read again when they are looked at."""
        self._old = set(self._rows)

    def show(self, first: int, last: int) -> None:
        """These lines are looked at: they are wanted, and a page before and behind them."""
        self._span = (first, last)

    def missing(self) -> list[int]:
        """Numbers of the runs that are looked at, or soon will be, and whose rows are not there."""
        first, last = self._span
        near = range(max(0, first), min(last, self.count))
        wanted = [seq for seq in map(self._at, near) if self._is_missing(seq)]
        if wanted or self._runs_out(first, last):
            start, stop = max(0, first - PAGE), min(last + PAGE, self.count)
            around = (self._at(index) for index in range(start, stop) if index not in near)
            wanted += [seq for seq in around if self._is_missing(seq)]
        return wanted

    def _is_missing(self, seq: int) -> bool:
        return seq not in self._rows or seq in self._old

    def _runs_out(self, first: int, last: int) -> bool:
        """Half a page on from here something is missing."""
        edges = (max(0, first - PAGE // 2), min(last + PAGE // 2, self.count) - 1)
        return any(0 <= edge < self.count and self._is_missing(self._at(edge)) for edge in edges)

    async def fetch(self) -> bool:
        """Read the rows that are wanted; whether there were any. What can be seen comes first."""
        wanted = self.missing()
        if not wanted:
            return False
        for start in range(0, len(wanted), PAGE):
            part = wanted[start : start + PAGE]
            for seq, head in zip(part, await self.console.heads(part), strict=True):
                self._keep(seq, head)
        return True

    def _keep(self, seq: int, head: RunHead | None) -> None:
        self._rows[seq] = head
        self._rows.move_to_end(seq)
        self._old.discard(seq)
        while len(self._rows) > ROWS:
            self._rows.popitem(last=False)

    async def apply(self, runs: Collection[str]) -> Effect | None:
        """Take up what became of these runs; None when the order has to be read again."""
        if len(runs) > MANY or not self._rising:
            if not self._rising and len(runs) <= MANY:
                return await self._refresh_rows(runs)
            return None
        rows: set[int] = set()
        members = False
        follow = self.follow and self.at_top
        for head, matches in await self.console.matching(sorted(runs), self.filter):
            seq = head.seq
            at = self._position(seq)
            if matches and at is None:
                members = self._insert(seq, follow=follow) or members
            elif not matches and at is not None:
                self._hidden -= at >= len(self._seqs) - self._hidden
                self._seqs.pop(at)
                members = True
            if seq in self._rows or matches:
                self._keep(seq, head)
                rows.add(seq)
        return Effect(frozenset(rows), members)

    async def _refresh_rows(self, runs: Collection[str]) -> Effect:
        """In another order: known rows are renewed where they stand, until the list is read again."""
        rows: set[int] = set()
        for head, _ in await self.console.matching(sorted(runs), self.filter):
            if head.seq in self._rows:
                self._keep(head.seq, head)
                rows.add(head.seq)
        return Effect(frozenset(rows))

    def _insert(self, seq: int, *, follow: bool) -> bool:
        newest = self._at(0) if self.count else seq
        self._seqs.insert(bisect_left(self._seqs, seq), seq)
        if seq > newest and not follow:
            self._hidden += 1
        return True

    def show_new(self) -> None:
        """Show the runs that have come since."""
        self._hidden = 0

    def ids(self, keys: Iterable[Key]) -> list[int]:
        """The numbers among these keys."""
        return [key for key in keys if isinstance(key, int)]

    def everything(self) -> array[int]:
        """The numbers of all runs that are listed, the first line first."""
        shown = self._seqs[: len(self._seqs) - self._hidden]
        return shown[::-1]


def _while_above(found: array[int], shown: int) -> Iterable[int]:
    for seq in found:
        if seq <= shown:
            return
        yield seq


def possible(verb: str, head: RunHead | None, *, asks: bool) -> bool:
    """Whether it makes sense to offer what can be done to runs (the id of an action), as far as a row tells.

    `asks`: an approval of the run is known to wait, though something else in it may go on.
    """
    if verb not in _POSSIBLE:
        return True
    return head is not None and _POSSIBLE[verb](head, asks)


_POSSIBLE: dict[str, Callable[[RunHead, bool], bool]] = {
    "approval.approve": lambda head, asks: asks or head.waiting_on in ASKS,
    "approval.reject": lambda head, asks: asks or head.waiting_on in ASKS,
    "run.cancel": lambda head, _: head.finished_at is None,
    "run.pause": lambda head, _: head.finished_at is None and head.waiting_on != "paused",
    "run.resume": lambda head, _: head.waiting_on == "paused",
    "run.raise": lambda head, _: head.finished_at is None,
    "run.retry": lambda head, _: head.finished_at is not None and head.status != "completed",
    "run.retry_from": lambda head, _: head.finished_at is not None,
    "run.resolve": lambda head, _: head.waiting_on == "in_doubt",
}

_GONE: tuple[Cell, ...] = (("–", "dim"), ("deleted", "dim"), *((("", ""),) * (len(COLUMNS) - 2)))


def run_cells(head: RunHead, now: float, asked: Asked, halted: str = "") -> Sequence[Cell]:
    """A run as a line of the list."""
    status = head.status
    ended = head.finished_at if head.finished_at is not None else now
    return (
        (sign(GLYPH[status]), status),
        (short(head.id), "id"),
        (inert(head.workflow), "strong" if status == "waiting" and head.waiting_on == "approval" else ""),
        (status, status),
        (inert(head.owner or head.trigger), "dim"),
        (ago(now - head.created_at), "dim"),
        (duration(ended - head.started_at if head.started_at is not None else None), ""),
        cost_cell(head.cost_nano, head.uncertain_nano, head.mode),
        (tokens(head.tokens), "dim" if head.tokens else "faint"),
        _marked(head.mode, now_cell(head, now, asked, halted)),
    )


def _marked(mode: str, cell: Cell) -> Cell:
    """What is said of a run behind how its words came about."""
    marks = badge(mode)
    if not marks:
        return cell
    said: tuple[Part, ...] = cell if isinstance(cell[0], tuple) else (cell,)  # pyright: ignore[reportAssignmentType] a cell is a part or several
    return (*marks, ("  ", ""), *said)


GLYPH = {
    "pending": "○",
    "running": "●",
    "waiting": "◆",
    "completed": "✓",
    "failed": "✗",
    "timeout": "✗",
    "cancelled": "⊘",
}


def tokens(number: int) -> str:
    """`842`, `12.3k`, `4.1M`, `2.9G`; `-` for none."""
    if not number:
        return "-"
    if number < 10_000:
        return f"{number:,}"
    # Where it would be rounded to a thousand of one unit, it is one of the next.
    unit = next((each for each in ((1e3, "k"), (1e6, "M"), (1e9, "G")) if number < each[0] * 999.95), (1e12, "T"))
    return f"{number / unit[0]:,.1f}{unit[1]}"


_WAITS = {
    "approval": "needs you",
    "timer": "sleeps",
    "signal": "waits for a signal",
    "child": "waits for a run",
    "slot": "waits for a place",
    "budget": "waits for budget",
    "paused": "paused",
    "in_doubt": "in doubt",
}


def now_cell(head: RunHead, now: float, asked: Asked, halted: str = "") -> Cell:
    """What a run does, why it waits, or why it ended as it did. `halted`: why nothing new starts in it."""
    step = inert(head.step)
    if head.error_message and head.finished_at is not None:
        first = head.error_message.strip().splitlines()
        where = f"{inert(head.error_step)}: " if head.error_step else ""
        return ((where, "dim"), (inert(first[0]) if first else head.error_code, head.status))
    if head.finished_at is not None:
        return ("", "")
    if halted and (head.status == "pending" or head.waiting_on == "slot"):
        return ((f"waits: {halted}", "waiting"), (f"  {step}" if step else "", "dim"))
    if head.status == "pending":
        return (_WAITS["slot"], "dim")
    if head.status == "waiting":
        said = _WAITS.get(head.waiting_on or "", "waits")
        asks = head.waiting_on == "approval" or (head.waiting_on == "budget" and bool(asked.question))
        if asks and not asked.mine:
            return (("needs others: ", "dim"), (asked.question, "dim"))
        left = f" {duration(head.wake_at - now)}" if head.waiting_on == "timer" and head.wake_at is not None else ""
        style = "waiting" if head.waiting_on in ("approval", "in_doubt", "paused", "budget") else "dim"
        if asked.question and asks:
            return ((f"{_WAITS['approval']}: ", style), (asked.question, ""))
        return ((said + left, style), (f"  {step}" if step else "", "dim"))
    paused = "paused  " if head.waiting_on == "paused" else ""
    stands = f"{'  ' if step else ''}{halted}" if halted else ""
    done = f"  {head.steps_done} done" if head.steps_done else ""
    return ((paused, "waiting"), (step, ""), (stands, "waiting"), (done, "dim"))
