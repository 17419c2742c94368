"""The inbox: everything that waits for a decision, the oldest first, kept up to date while one looks at it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from fleetprompt.client.deciding import PENDING, asks_for_status, waiting
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import glyph, rough, short
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested, ApprovalVoted
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Change, Page, Vote
from fleetprompt.tui.state.lines import Cell, Column, Key
from fleetprompt.tui.state.look import Look, Standing, standing

PAGE = 200
"""Approvals that are read at a time."""
MANY = 50
"""Changed runs of which it is quicker to read the list again."""
NEAR = 50
"""Lines before the end at which the next page is read."""
SOON = 300.0
"""Seconds before it expires from which an approval presses."""
DECIDING = "deciding…"
"""What is said of an approval about which a decision is on its way."""
KINDS = frozenset(kind.__struct_config__.tag for kind in (ApprovalRequested, ApprovalVoted, ApprovalDecided))
"""Tags of the facts that change approvals."""

COLUMNS = (
    Column(title="", width=1),
    Column(title="ASKED", width=5, right=True, drop=3),
    Column(title="LEFT", width=9, right=True, drop=1),
    Column(title="WORKFLOW", width=14, grow=3, most=24, drop=2),
    Column(title="RUN", width=8, drop=6),
    Column(title="STEP", width=8, grow=2, most=24, drop=5),
    Column(title="VOTES", width=5, right=True, drop=4),
    Column(title="MESSAGE", width=24, grow=8),
)
LEFT, VOTES = 2, 6
"""Where these columns stand; they are left out where they would be empty."""


class Inbox:
    """The approvals that match a filter. `now` gives the time in epoch seconds."""

    def __init__(
        self,
        console: Console,
        now: Callable[[], float],
        *,
        who: str = "",
        groups: Collection[str] | None = None,
        voting: Collection[tuple[str, int]] = (),
    ) -> None:
        """`voting`: approvals (id and level) about which a decision is on its way, as they are at any time."""
        self.console = console
        self.who = who
        self.groups = groups
        self._voting = voting
        self.filter = ""
        """As it was typed; where it asks for no status, what waits is found."""
        self.loaded = False
        self.more = False
        """There are further ones behind those that were read."""
        self.kept: Key | None = None
        """The approval at the cursor: it stays listed when it does not match any more, until the cursor leaves it."""
        self._now = now
        self._rows: list[Approval] = []
        self._index: dict[str, int] = {}
        self._strays: set[str] = set()
        """Listed though they do not match any more."""
        self._votes: dict[str, tuple[Vote, ...]] = {}
        self._old: set[str] = set()
        """Approvals whose votes may be others by now."""
        self._told: dict[str, tuple[str, Cell]] = {}
        self._cursor = ""
        self._span = (0, 0)
        self._empty: frozenset[int] = frozenset()
        """Columns in which nothing is said of anything that is listed."""
        self.columns: Sequence[Column] = COLUMNS
        """What is said of approvals."""

    # ------------------------------------------------------------ what is shown

    @property
    def count(self) -> int:
        """How many are listed."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """How many of the listed ones wait."""
        return sum(row.status == "pending" for row in self._rows)

    @property
    def oldest_first(self) -> bool:
        """What waits is shown in the order in which it was asked; the past with the latest first."""
        return not asks_for_status(self.filter) or "status:pending" in self.filter.split()

    def key(self, index: int) -> Key | None:
        """The id of an approval."""
        return self._rows[index].id if 0 <= index < len(self._rows) else None

    def find(self, key: Key) -> int | None:
        """Where an approval stands."""
        return self._index.get(str(key))

    def approval(self, key: Key | None) -> Approval | None:
        """An approval that is listed."""
        at = self._index.get(str(key))
        return self._rows[at] if at is not None else None

    def show(self, first: int, last: int) -> None:
        """These lines are looked at."""
        self._span = (first, last)

    def standing(self, approval: Approval) -> Standing:
        """How far an approval is, as far as its votes are known."""
        return standing(approval, self._votes.get(approval.id, ()), self.who, self.groups)

    def cells(self, index: int) -> Sequence[Cell] | None:
        """An approval as a line."""
        approval = self._rows[index]
        state = self.standing(approval)
        pending = approval.status == "pending"
        status = "waiting" if pending else approval.status
        style = "" if pending and state.may else "dim"
        first = approval.message.strip().splitlines()
        asked, left = self._times(approval)
        votes = f"{len(state.agreed)}/{state.quorum}" if state.quorum > 1 and approval.id in self._votes else ""
        deciding = ((f"{DECIDING} ", "warning"),) if LEFT in self._empty and self.is_deciding(approval) else ()
        cells: tuple[Cell, ...] = (
            (glyph(state.voted), "accent") if pending and state.voted else (glyph(status), status),
            (asked, "dim"),
            left,
            (inert(approval.workflow), style or "strong"),
            (short(approval.run), "id"),
            (inert(approval.path), style),
            (votes, ""),
            (*deciding, (inert(first[0]) if first else "", style)),
        )
        return tuple(cell for at, cell in enumerate(cells) if at not in self._empty)

    def moved_on(self, first: int, last: int) -> list[int]:
        """Of these lines the ones that say another time than when they were asked about before."""
        found: list[int] = []
        told: dict[str, tuple[str, Cell]] = {}
        for index in range(max(0, first), min(last, self.count)):
            approval = self._rows[index]
            now = self._times(approval)
            told[approval.id] = now
            if self._told.get(approval.id) != now:
                found.append(index)
        self._told = told
        return found

    def _times(self, approval: Approval) -> tuple[str, Cell]:
        left = (DECIDING, "warning") if self.is_deciding(approval) else _left(approval, self._now())
        return rough(self._now() - approval.requested_at), left

    def is_deciding(self, approval: Approval) -> bool:
        """Whether a decision about it is on its way."""
        return approval.status == "pending" and (approval.id, approval.level) in self._voting

    async def everything(self) -> list[str]:
        """The ids of all approvals that match, however few of them were read."""
        return await self.console.approval_ids(waiting(self.filter))

    async def outlived(self, marks: Collection[Key]) -> list[Key]:
        """Of these approvals those that wait no more; those that did not wait when they were listed are left out."""
        if not marks:
            return []
        pending = set(await self.console.approval_ids(PENDING))
        return [key for key in marks if key not in pending and not self._is_past(str(key))]

    def _is_past(self, key: str) -> bool:
        """It is listed because it was decided."""
        listed = self.approval(key)
        return listed is not None and listed.status != "pending" and key not in self._strays

    def values(self, name: str) -> list[tuple[str, int]]:
        """What is listed in a field, the most frequent first."""
        found: Counter[str] = Counter()
        for row in self._rows:
            match name:
                case "wf":
                    found[row.workflow] += 1
                case "run":
                    found[row.run] += 1
                case "step":
                    found[row.path] += 1
                case "approver":
                    found.update(row.approvers)
                case "status":
                    found[row.status] += 1
                case _:
                    return []
        return found.most_common()

    # ------------------------------------------------------------ reading

    async def load(self) -> None:
        """Read the list again, as far as it was read. Raises `InvalidInput` for a filter that has no meaning."""
        wanted = max(PAGE, len(self._rows) - len(self._strays) if self.loaded else 0)
        rows: list[Approval] = []
        cursor = ""
        while True:
            found, cursor = await self._page(cursor, min(PAGE, wanted - len(rows)))
            rows += found
            if not cursor or len(rows) >= wanted:
                break
        self._cursor, self.more = cursor, bool(cursor)
        self._strays.clear()
        # What is known is shown until it is read again.
        self._old = set(self._votes)
        rows = await self._with_kept(rows)
        self._set(rows)
        self.loaded = True

    async def _page(self, cursor: str, limit: int = PAGE) -> tuple[list[Approval], str]:
        page = Page(limit=limit, cursor=cursor, oldest_first=self.oldest_first)
        return await self.console.approvals(waiting(self.filter), page)

    async def _with_kept(self, rows: list[Approval]) -> list[Approval]:
        """The rows, and the approval at the cursor where it was though it is not among them any more."""
        kept = self.approval(self.kept)
        if kept is None or any(row.id == kept.id for row in rows):
            return rows
        now = await self._again(kept)
        if now is None:
            return rows
        self._strays.add(now.id)
        rows.insert(self._place(rows, now), now)
        return rows

    async def _again(self, known: Approval) -> Approval | None:
        try:
            approval, votes = await self.console.approval(known.id)
        except NotFound:
            return None
        self._know(known.id, votes)
        return approval

    def _know(self, approval: str, votes: Iterable[Vote]) -> None:
        self._votes[approval] = tuple(votes)
        self._old.discard(approval)

    def _is_unknown(self, row: Approval) -> bool:
        return row.quorum > 1 and (row.id not in self._votes or row.id in self._old)

    async def fetch(self) -> bool:
        """Get what is missing of the lines that are looked at; whether anything was."""
        first, last = self._span
        found = False
        if self.more and last + NEAR >= len(self._rows):
            rows, self._cursor = await self._page(self._cursor)
            self.more = bool(self._cursor)
            self._set([*self._rows, *(row for row in rows if row.id not in self._index)])
            found = True
        for row in self._rows[max(0, first) : last]:
            if self._is_unknown(row):
                found = await self._again(row) is not None or found
        return found

    def missing(self) -> bool:
        """Whether something of the lines that are looked at is not known yet."""
        first, last = self._span
        unknown = any(map(self._is_unknown, self._rows[max(0, first) : last]))
        return unknown or (self.more and last + NEAR >= len(self._rows))

    async def apply(self, change: Change) -> bool:
        """Follow a change; whether the list looks different."""
        if not self.loaded:
            return False
        if change.lost or (len(change.runs) > MANY and KINDS & change.kinds):
            await self.load()
            return True
        if not KINDS & change.kinds:
            return False
        runs = ",".join(sorted(change.runs))
        found, cursor = await self.console.approvals(f"run:{runs} {waiting(self.filter)}", Page(limit=PAGE))
        if cursor:
            await self.load()
            return True
        return await self._renew(change.runs, {approval.id: approval for approval in found})

    async def _renew(self, runs: Collection[str], found: dict[str, Approval]) -> bool:
        before = [row for row in self._rows if row.run in runs]
        if not before and not found:
            return False
        rows: list[Approval] = []
        for row in self._rows:
            if row.run not in runs:
                rows.append(row)
                continue
            self._votes.pop(row.id, None)
            now = found.pop(row.id, None)
            if now is not None:
                self._strays.discard(row.id)
                rows.append(now)
            elif row.id == self.kept and (now := await self._again(row)) is not None:
                self._strays.add(row.id)
                rows.append(now)
            else:
                self._strays.discard(row.id)
        for approval in found.values():
            at = self._place(rows, approval)
            if at < len(rows) or not self.more:
                rows.insert(at, approval)
        self._set(rows)
        return True

    def note(self, look: Look) -> bool:
        """An approval was read by itself: show it as it is. Whether other columns are shown than before."""
        at = self._index.get(look.approval.id)
        if at is None:
            return False
        self._rows[at] = look.approval
        self._know(look.approval.id, look.votes)
        return self._arrange()

    def keep(self, key: Key | None) -> bool:
        """The cursor stands there now: what was listed only for it is let go. Whether anything was."""
        self.kept = key
        gone = self._strays - {str(key)}
        if gone:
            self._strays -= gone
            self._set([row for row in self._rows if row.id not in gone])
        return bool(gone)

    def _place(self, rows: Sequence[Approval], approval: Approval) -> int:
        wanted = (approval.requested_at, approval.id)
        if self.oldest_first:
            return bisect_left(rows, wanted, key=lambda row: (row.requested_at, row.id))
        return bisect_left(rows, (-wanted[0], wanted[1]), key=lambda row: (-row.requested_at, row.id))

    def _set(self, rows: list[Approval]) -> None:
        self._rows = rows
        self._index = {row.id: at for at, row in enumerate(rows)}
        self._arrange()

    def _arrange(self) -> bool:
        """Leave out what would be an empty column; whether others are shown than before."""
        rows, empty = self._rows, set[int]()
        if all(row.status == "pending" and row.until is None for row in rows):
            empty.add(LEFT)
        if all(row.quorum <= 1 for row in rows):
            empty.add(VOTES)
        if empty == self._empty:
            return False
        self._empty = frozenset(empty)
        self.columns = tuple(column for at, column in enumerate(COLUMNS) if at not in empty)
        return True


def _left(approval: Approval, now: float) -> Cell:
    """How much time is left, or what became of it."""
    if approval.status != "pending":
        return (approval.status, approval.status)
    if approval.until is None:
        return ("", "dim")
    left = approval.until - now
    return (rough(left) if left > 0 else "due", "error" if left < SOON / 5 else "warning" if left < SOON else "")
