"""The frame of every screen: what is true of the fleet above, what can be done below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from fleetprompt.client.wording import GLYPHS, money, sign
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.fleet import Fleet, sparkline
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.work import Work

if TYPE_CHECKING:
    from fleetprompt.tui.actions import Action
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.widgets.palette import Palette

Piece = tuple[Part, ...]
"""What stands together or not at all."""
IDENTITY_WIDTH = 120
"""Columns from which on the top says whose console it is, and of which project."""
LONGEST_NAME = 24
"""Cells of a name at the top; the rest of it is left out."""
ORDER = ("brand", "identity", "engine", "counts", "approvals", "activity", "spent", "trail", "work")
"""What stands at the top, from the left."""
COUNTED = {
    "running": ("running",),
    "waiting": ("waiting",),
    "failed": ("failed", "timeout"),
    "pending": ("pending",),
    "completed": ("completed",),
}
"""What is counted at the top, and the statuses that count as it."""
COUNTS = ("counts", "approvals", "activity", "spent")
"""What the daemon says of the fleet."""
PLACES = {"engine": "health", "approvals": "approvals", "activity": "runs", "spent": "cost"}
"""Where a click on a part of the top leads."""
KEPT = 80
"""Places in the footer from which on room is kept."""
FOREMOST = 3
"""Places in the footer that are left out last of those for which none is kept."""
LEAST_CRUMB = 4
"""Cells of the trail below which it says nothing."""


class Leading(tuple[str, str]):
    """A part that leads somewhere when it is clicked: to a link, or to a screen of the trail by its number."""

    where: str

    def __new__(cls, part: Part, where: str) -> Leading:
        made = super().__new__(cls, part)
        made.where = where
        return made


class Bar(Widget):
    """One line of parts."""

    DEFAULT_CSS = "Bar { height: 1; background: $panel; color: $foreground; }"
    app: FleetConsole

    @property
    def palette(self) -> Palette:
        """The colours of what it says."""
        return self.app.frame

    def parts(self, width: int) -> Sequence[Part]:
        """What is shown in so many cells."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """The line."""
        width = self.size.width
        ground = self.rich_style
        style = self.palette.style
        segments = [Segment(" ", ground)]
        segments += [Segment(text, ground + style(name)) for text, name in self.parts(width - 2)]
        return Strip(segments).adjust_cell_length(width, ground)


def cells_of(pieces: Iterable[Piece]) -> int:
    """How long the pieces are, two cells apart; those that say nothing do not count."""
    lengths = [sum(cell_len(text) for text, _ in piece) for piece in pieces]
    return sum(length + 2 for length in lengths if length) - 2


def apart(pieces: Sequence[Piece]) -> list[Part]:
    """The pieces beside each other, two cells apart."""
    parts: list[Part] = []
    for piece in pieces:
        if any(text for text, _ in piece):
            parts += [("  ", ""), *piece] if parts else piece
    return parts


def _dimmed(piece: Piece) -> Piece:
    """The same, dim; where a click leads stays."""
    return tuple(
        Leading((part[0], "dim"), part.where) if isinstance(part, Leading) else (part[0], "dim") for part in piece
    )


def shortened(text: str, width: int) -> str:
    """As much of a text as fits."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1)).rstrip()}…"


class TopBar(Bar):
    """Where the engine is, how many runs there are, what was spent, where one is, and whose console it is."""

    def __init__(self, trail: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._trail = trail
        self._spots: list[tuple[int, int, str]] = []
        """First cell, cell behind the last, and where a click leads: a link, or the number of a screen."""

    def parts(self, width: int) -> Sequence[Part]:
        """The line. The trail is shortened first; the engine and what waits for a person stay longest."""
        row = self._filled(self._row(width), width)
        if len(self._trail()) > 2:
            # What the way here was is less than what is true of the fleet.
            other = self._filled(self._row(width, short=True), width)
            row = other if len(other) > len(row) else row
        shown = [(name, row[name]) for name in ORDER if name in row]
        if self.app.fleet.away:
            # These are as they were.
            shown = [(name, _dimmed(piece) if name in COUNTS else piece) for name, piece in shown]
        self._note_spots(shown)
        return apart([piece for _, piece in shown])

    def _filled(self, row: dict[str, Piece], width: int) -> dict[str, Piece]:
        """What there is room for besides what has to be said."""
        fleet = self.app.fleet
        activity = sparkline(fleet.activity, 20)
        spare: list[tuple[str, Piece]] = [
            ("identity", self._identity() if self.size.width >= IDENTITY_WIDTH else ()),
            ("activity", ((activity, "link"),) if activity.strip() else ()),
            ("brand", (("FleetPrompt", "strong"),)),
        ]
        if "counts" in row:
            spare.append(("counts", self._counts(fleet, words=True)))
        for name, piece in spare:
            wider = row | {name: piece}
            row = wider if cells_of(wider.values()) <= width else row
        return row

    def _row(self, width: int, *, short: bool = False) -> dict[str, Piece]:
        """As much as fits of what has to be said; `short`: of the way here only the end."""
        fleet, crumbs = self.app.fleet, self._trail()
        whole = _trail([(crumb, at) for at, crumb in enumerate(crumbs)])
        end = len(crumbs) - 1
        last = _trail([("…", end - 1), (crumbs[-1], end)]) if len(crumbs) > 1 else whole
        name = shortened(crumbs[-1], LONGEST_NAME)
        brief = _trail([(name, end)])
        work: dict[str, Piece] = {"work": _work(self.app.work)}
        engine = work | {"engine": _engine(fleet, self.app.read_only)}
        must = engine | {"approvals": self._approvals(fleet)}
        some = must | {"counts": self._counts(fleet, zeros=False)}
        least = sign("≥") if fleet.uncertain else ""
        today: Piece = (("today ", "dim"), (f"{least}{money(fleet.spent)}", "warning" if least else ""))
        spent = some | {"spent": today}
        counted = spent | {"counts": self._counts(fleet)}
        if not fleet.counted:
            some = spent = counted = must
        for row, trail in (
            *([] if short else [(counted, whole)]),
            (counted, last),
            (spent, last),
            (spent, brief),
            (some, brief),
            (must, brief),
        ):
            shown = row | {"trail": trail}
            if cells_of(shown.values()) <= width:
                return shown
        for row in (must, engine):
            room = width - cells_of(row.values()) - 2
            if room >= LEAST_CRUMB:
                return row | {"trail": _trail([(shortened(name, room), end)])}
        return next((row for row in (must, engine) if cells_of(row.values()) <= width), work)

    def _identity(self) -> Piece:
        """The project, and who acts: decisions are made in somebody's name."""
        names = (inert(self.app.project), inert(self.app.who))
        return ((" · ".join(shortened(name, LONGEST_NAME) for name in names if name), "dim"),)

    def _counts(self, fleet: Fleet, *, zeros: bool = True, words: bool = False) -> Piece:
        shown: list[Part] = []
        for status, those in COUNTED.items():
            number = sum(fleet.counts.get(each, 0) for each in those)
            if number or zeros:
                shown += [("  ", "")] if shown else []
                text = f"{sign(GLYPHS[status])} {short_count(number)}{f' {status}' if words else ''}"
                shown.append(Leading((text, status if number else "dim"), f"runs status:{','.join(those)}"))
        return tuple(shown)

    def _approvals(self, fleet: Fleet) -> Piece:
        if not fleet.approvals and not fleet.approvals_more:
            return ()
        noun = "approval" if fleet.approvals == 1 else "approvals"
        return ((f"{sign('◆')} {fleet.approvals}{'+' if fleet.approvals_more else ''} {noun}", "accent"),)

    # ------------------------------------------------------------ the mouse

    def _note_spots(self, shown: Sequence[tuple[str, Piece]]) -> None:
        """Remember what stands where."""
        self._spots = []
        x = 0
        for name, piece in shown:
            start = x
            for part in piece:
                if isinstance(part, Leading):
                    self._spots.append((x, x + cell_len(part[0]), part.where))
                x += cell_len(part[0])
            if name in PLACES:
                self._spots.append((start, x, PLACES[name]))
            x += 2 if x > start else 0

    async def on_click(self, event: Click) -> None:
        """To what was clicked: runs of a status, approvals, what was spent, the engine, a screen of the trail."""
        at = int(event.x) - 1
        target = next((where for start, end, where in self._spots if start <= at < end), "")
        if target.isdigit():
            self.app.navigation.close_to(self.app.console_screens()[int(target)])
        elif target:
            await self.app.go_to(target, jump=not target.startswith("runs"))


def _trail(crumbs: Sequence[tuple[str, int]]) -> Piece:
    parts: list[Part] = []
    for text, screen in crumbs:
        parts += [(" › ", "accent")] if parts else []
        parts.append(Leading((text, "accent"), str(screen)))
    return tuple(parts)


def _engine(fleet: Fleet, read_only: bool) -> Piece:
    said: dict[str, Part] = {
        "opening": (f"{sign('○')} opening", "dim"),
        "starting": (f"{sign('○')} engine starting", "dim"),
        "embedded": (f"{sign('●')} live", "completed"),
        "attached": (f"{sign('●')} {_where(fleet)}", "completed"),
        "silent": (f"{sign('◆')} engine silent", "warning"),
        "none": (f"{sign('○')} no engine", "warning"),
        "failed": (f"{sign('✗')} no store", "error"),
    }
    shown = said[fleet.engine]
    if fleet.trouble and fleet.engine not in ("opening", "failed"):
        shown = (f"{sign('✗')} store {'lost' if fleet.lost else 'unreadable'}", "error")
    if fleet.away:
        shown = (f"{sign('✗')} not connected", "error")
    standing: Piece = ((f" {sign('◆')} fleet {fleet.switch}", "error"),) if fleet.switch != "on" else ()
    return (shown, *standing, (" read-only", "warning")) if read_only else (shown, *standing)


def _where(fleet: Fleet) -> str:
    return f"at {shortened(inert(fleet.elsewhere), LONGEST_NAME)}" if fleet.elsewhere else "attached"


def _work(work: Work) -> Piece:
    """What is being sent, where that takes a while."""
    if not work.words:
        return ()
    return ((work.words, "warning"), (" · esc stops", "dim") if work.long else ("…", "warning"))


def short_count(number: int) -> str:
    """A number in at most five cells: `987`, `12,345`, `1.2M`."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


class FootBar(Bar):
    """What can be done here, by key; as much as fits."""

    def __init__(self, actions: Callable[[], Sequence[Action]]) -> None:
        super().__init__()
        self._actions = actions
        self.offered: list[tuple[int, int, str]] = []
        """What is drawn: from which cell, to which, and the id of the action."""
        self._said: Sequence[Part] | None = None
        """What was drawn last."""

    def redraw(self) -> None:
        """Draw it again if something else can be done by now."""
        if self._said is None or self.parts(self.size.width - 2) != self._said:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line."""
        self._said = self.parts(self.size.width - 2)
        return super().render_line(y)

    def parts(self, width: int) -> Sequence[Part]:
        """Keys and words; where each stands is remembered for the mouse."""
        keymap = self.app.keymap
        parts: list[Part] = []
        self.offered = []
        x = 0
        actions = sorted((a for a in self._actions() if a.footer and keymap.shown(a)), key=lambda each: each.footer)
        last = [action for action in actions if action.footer >= KEPT]
        first = [action for action in actions if action.footer < KEPT]
        most = [action for action in first if action.footer <= FOREMOST]
        if self._length(most) + self._length(last) > width:
            # What is done here comes before a way to do it by its name.
            last = [action for action in last if action.id != "console.palette"]
        room = width - self._length(last)
        for action in [*first, *last]:
            key = keymap.shown(action)
            length = len(key) + 1 + len(action.label)
            if action.footer < KEPT and x + length > room:
                continue
            if x + length > width:
                break
            parts += [(key, "accent"), (f" {action.label}", ""), ("  ", "")]
            self.offered.append((x, x + length, action.id))
            x += length + 2
        return parts

    def _length(self, actions: Sequence[Action]) -> int:
        """Cells that these take, and those behind them."""
        return sum(len(self.app.keymap.shown(action)) + len(action.label) + 3 for action in actions)

    async def on_click(self, event: Click) -> None:
        """A word is as good as its key."""
        at = int(event.x) - 1
        for start, end, id_ in self.offered:
            if start <= at < end:
                await self.app.perform(id_)
                return


class Pill(Bar):
    """One line about the list below: its filter, how much there is, what is new."""

    DEFAULT_CSS = "Pill { background: $background; }"

    def __init__(self, parts: Callable[[int], Sequence[Part]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts = parts
        self._said: Sequence[Part] | None = None
        """What was drawn last."""

    def parts(self, width: int) -> Sequence[Part]:
        """Whatever the screen says."""
        self._said = self._parts(width)
        return self._said

    def redraw(self) -> None:
        """Draw it again if it says something else by now: a frame costs what a key waits for."""
        if self._said is None or self._parts(self.size.width - 2) != self._said:
            self.refresh()


def spread(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Some parts at the left and some at the right; those at the right give way."""
    length = sum(cell_len(text) for text, _ in left)
    other = sum(cell_len(text) for text, _ in right)
    if length + other + 2 > width:
        return list(left)
    return [*left, (" " * (width - length - other), ""), *right]
