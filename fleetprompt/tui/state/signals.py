"""The stream of signals: read by page from the newest on, without what they carry, and what came of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import Times, count, glyph, short
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_scan import quote
from fleetprompt.engine.core.signal import RESERVED, RETRY, START, Result, Signal
from fleetprompt.engine.ports import Page
from fleetprompt.tui.state.lines import Cell, Column, Key, Part

PAGE = 100
"""Signals that are read at a time: what they carry comes with them, and is let go."""
RENEWED = 300
"""Signals from the top that are read again at a change; those below stay as they were read."""
ASKED = 500
"""Signals of which it is asked at once what came of them."""
CORRELATION = 12
"""Characters of a correlation id that is not one of ours: its beginning and its end tell it apart."""
LONGEST = 200
"""Characters of a text in a column."""

_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What ids of runs and signals look like that the engine has made."""

COLUMNS = (
    Column(title="", width=1),
    Column(title="TIME", width=8),
    Column(title="TYPE", width=16, grow=3, most=40),
    Column(title="SOURCE", width=10, grow=2, most=28, drop=4),
    Column(title="ABOUT", width=10, grow=2, most=30, drop=3),
    Column(title="CORREL.", width=CORRELATION, drop=5),
    Column(title="WHAT IT DID", width=14, grow=4, drop=1),
)


class SignalRow(Struct, frozen=True):
    """A signal without its data, and what came of it."""

    signal: Signal
    routed: bool = False
    results: tuple[Result, ...] = ()

    @property
    def status(self) -> str:
        """`accepted`, `refused`, or `pending` as long as nobody has taken it up."""
        return status_of(self.routed, self.results)

    @property
    def settled(self) -> bool:
        """Nothing more will come of it."""
        return self.routed


def status_of(routed: bool, results: Sequence[Result]) -> str:
    """What became of a signal, in one word; one that nobody listened to was accepted."""
    statuses = {result.status for result in results}
    if "accepted" in statuses or (routed and not statuses):
        return "accepted"
    return "refused" if statuses else "pending"


def only(id_: str) -> str:
    """A filter that finds a signal by its id."""
    return quote(id_)


class SignalList:
    """The signals that match a filter. `now` gives the time in epoch seconds."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, console: Console, now: Callable[[], float], times: Times) -> None:
        self.console = console
        self._now = now
        self._times = times
        self.filter = ""
        self.follow = True
        """New signals are shown at once while the cursor is at the top."""
        self.at_top = True
        self.loaded = False
        self.more = False
        """There are older ones than those that were read."""
        self._rows: list[SignalRow] = []
        self._cursor = ""
        self._hidden = 0
        """How many of the newest are not shown yet."""
        self._index: dict[Key, int] = {}
        self._span = (0, 0)

    # ------------------------------------------------------------ what is shown

    @property
    def count(self) -> int:
        """How many signals are listed so far."""
        return len(self._rows) - self._hidden

    @property
    def fresh(self) -> int:
        """How many new signals wait to be shown."""
        return self._hidden

    def key(self, index: int) -> Key | None:
        """The id of a signal."""
        return self._rows[self._hidden + index].signal.id if 0 <= index < self.count else None

    def find(self, key: Key) -> int | None:
        """Where a signal stands now."""
        at = self._index.get(key, -1) - self._hidden
        return at if at >= 0 else None

    def row(self, key: object) -> SignalRow | None:
        """The signal of an id, if it was read."""
        at = self._index.get(key) if isinstance(key, str) else None
        return self._rows[at] if at is not None else None

    def show(self, first: int, last: int) -> None:
        """These lines are looked at."""
        self._span = (first, last)

    @property
    def wants_more(self) -> bool:
        """What is looked at comes near to the end of what was read."""
        return self.more and self._span[1] + PAGE // 2 > self.count

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A signal as a line."""
        return cells(self._rows[self._hidden + index], self._times, self._now())

    def types(self) -> list[tuple[str, int]]:
        """The types of signals that were read, the most frequent first, and how many there are of each."""
        found: dict[str, int] = {}
        for row in self._rows:
            found[row.signal.type] = found.get(row.signal.type, 0) + 1
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    def values(self, field: str) -> list[tuple[str, int]]:
        """What the signals that were read hold in a field of the filter language, for completion."""
        if field == "type":
            return self.types()
        found: dict[str, int] = {}
        for row in self._rows:
            for value in _held(row, field):
                found[value] = found.get(value, 0) + 1
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    # ------------------------------------------------------------ reading

    async def load(self) -> None:
        """Read from the newest on. Raises `InvalidInput` for a filter that cannot be understood."""
        rows, self._cursor = await self._read(PAGE, "")
        self._hidden = 0
        self._set(rows)
        self.loaded = True

    async def everything(self) -> list[str]:
        """The ids of all signals that match, however few of them were read."""
        return await self.console.signal_ids(self.filter)

    async def fetch_more(self) -> bool:
        """Read the next page, if there is one; whether there was."""
        if not self.more:
            return False
        rows, self._cursor = await self._read(PAGE, self._cursor)
        known = self._index
        self._set([*self._rows, *(row for row in rows if row.signal.id not in known)])
        return True

    async def renew(self) -> frozenset[str]:
        """Take up what is new and what came of the others; returns the ids of those that look different now."""
        before = {row.signal.id: row for row in self._rows}
        top = self._rows[0].signal.sequence if self._rows else 0
        shown = self._rows[self._hidden].signal.sequence if self.count else 0
        deep = self._span[1] + self._hidden > RENEWED
        found, cursor = await self._read(PAGE if deep else min(RENEWED, max(PAGE, self._span[1] + PAGE)), "")
        if deep:
            fresh = [row for row in found if row.signal.sequence > top]
            if len(fresh) == len(found) and cursor:
                # More has come than is read at once: what is below would not follow without a gap.
                self._set(found, cursor)
            else:
                self._set([*fresh, *await self._answered(self._rows)])
        else:
            self._set(found, cursor)
        if self.follow and self.at_top:
            self._hidden = 0
        else:
            self._hidden = sum(1 for row in self._rows if row.signal.sequence > shown) if shown else 0
        return frozenset(row.signal.id for row in self._rows if before.get(row.signal.id) != row)

    def show_new(self) -> None:
        """Show the signals that have come since."""
        self._hidden = 0

    async def _read(self, most: int, cursor: str) -> tuple[list[SignalRow], str]:
        rows: list[SignalRow] = []
        while len(rows) < most:
            found, cursor = await self.console.signals(
                self.filter, Page(limit=min(PAGE, most - len(rows)), cursor=cursor)
            )
            rows += [SignalRow(replace(signal, data=None)) for signal in found]
            if not cursor:
                break
        return await self._answered(rows), cursor

    async def _answered(self, rows: Iterable[SignalRow]) -> list[SignalRow]:
        """The signals with what came of them; of those that are settled it is known for good."""
        listed = list(rows)
        known = {row.signal.id: row for row in self._rows if row.settled}
        wanted = [row.signal.id for row in listed if row.signal.id not in known and not row.settled][:ASKED]
        answers = await self.console.answers(wanted) if wanted else {}
        found: list[SignalRow] = []
        for row in listed:
            routed, results = answers.get(row.signal.id, (row.routed, row.results))
            found.append(known.get(row.signal.id) or SignalRow(row.signal, routed, tuple(results)))
        return found

    def _set(self, rows: list[SignalRow], cursor: str | None = None) -> None:
        self._rows = rows
        if cursor is not None:
            self._cursor = cursor
        self.more = bool(self._cursor)
        self._index = {row.signal.id: at for at, row in enumerate(rows)}


def _held(row: SignalRow, field: str) -> Iterable[str]:
    signal = row.signal
    match field:
        case "source":
            return (signal.source,)
        case "key":
            return (signal.key,) if signal.key else ()
        case "correlation":
            return (signal.correlation,) if signal.correlation else ()
        case "run":
            return {result.run for result in row.results if result.run and result.status == "accepted"}
        case _:
            return ()


def cells(row: SignalRow, times: Times, now: float) -> Sequence[Cell]:
    """A signal as a line of the list."""
    signal = row.signal
    own = signal.type.startswith(RESERVED)
    when = times.clock(signal.at) if abs(now - signal.at) < 43_200 else f"{times.at(signal.at):%d %b}"
    return (
        (glyph(row.status), row.status),
        (when, "dim"),
        (_short(signal.type), "dim" if own else "strong"),
        (sender(signal.source), "dim"),
        _about(signal),
        (_correlation(signal.correlation), "id"),
        did(row),
    )


def sender(source: str) -> str:
    """Who sent it; a run by the end of its id, as everywhere."""
    kind, _, rest = source.partition("/")
    return f"run {inert(short(rest.partition('/')[0]))}" if kind == "run" and rest else _short(source)


def _correlation(text: str) -> str:
    """One that the engine gave by its end, as everywhere; any other as a whole, or its beginning and its end."""
    if _OURS.fullmatch(text):
        return short(text)
    return inert(text if len(text) <= CORRELATION else f"{text[:5]}…{text[-6:]}")


def _about(signal: Signal) -> Cell:
    """What it is about, and its key: two with the same key are one."""
    about = signal.subject
    is_run = about != "" and signal.type.startswith(RESERVED) and about.count("-") >= 4
    subject = (inert(short(about)), "id") if is_run else (_short(about), "")
    if not signal.key:
        return subject
    return (subject, (f"{'  ' if about else ''}{_short(signal.key)}", "dim"))


def did(row: SignalRow) -> Cell:
    """What a signal did: the runs it started or reached, or why it was refused."""
    reached = [result.run for result in row.results if result.status == "accepted" and result.run]
    refused = [result for result in row.results if result.status == "refused"]
    parts: list[Part] = []
    if reached:
        verb = "started" if row.signal.type in (START, RETRY) else "reached"
        parts.append((f"{verb} ", "dim"))
        parts.append((inert(short(reached[0])), "id") if len(reached) == 1 else (count(len(reached), "run"), "id"))
    if refused:
        said = next((result.reason for result in refused if result.reason), "") or "refused"
        parts.append((("  " if parts else "") + _short(said), "refused"))
    passed = next((result.reason for result in row.results if not result.run and result.reason), "")
    if passed and not parts:
        parts.append((_short(f"started nothing: {passed}"), "dim"))
    if parts:
        return tuple(parts)
    if not row.routed and not row.results:
        return ("nobody has taken it up yet", "pending")
    return ("done", "dim") if row.signal.type.startswith(RESERVED) else ("nobody listened", "dim")


def _short(text: str) -> str:
    return inert(text[:LONGEST])
