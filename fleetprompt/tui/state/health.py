"""How the engine and its store are, and how much they do: figures of now, rates of the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

from fleetprompt.client.wording import Times, ago, count, duration, short, sign, size
from fleetprompt.engine.core.errors import FleetError, StoreLost, StoreUnavailable
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import EngineHealth, StoreHealth
from fleetprompt.tui.state.fleet import sparkline
from fleetprompt.tui.state.lines import Cell, Column, Part, Rows

COLUMNS = (Column(title="", width=20), Column(title="", width=20, grow=1))
KEPT = 60
"""Looks that are kept, one a second."""
WIDTH = 28
"""Cells of a line of rates."""
LATE = 0.05
"""Seconds by which a loop may be late before that is worth a colour."""


class HealthView:
    """What is known of the engine."""

    def __init__(self, times: Times) -> None:
        self.rows = Rows(COLUMNS)
        self._times = times
        self._health: EngineHealth | None = None
        self._error: FleetError | None = None
        """Why nothing is known of now."""
        self._figures: tuple[float, StoreHealth] | None = None
        """The store as it could be read last, and when that was."""
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=KEPT + 1)

    def take(self, health: EngineHealth) -> None:
        """Another look."""
        before = self._health
        if before is not None and (before.pid, before.what) != (health.pid, health.what):
            self._looks.clear()
        self._health, self._error = health, None
        if health.state == "running":
            self._looks.append((health.at, health.commits, health.facts))
        if not health.store.error:
            self._figures = health.at, health.store
        self._show(health.at)

    def fail(self, error: FleetError, at: float) -> None:
        """Another look, which was in vain."""
        self._error = error
        self._show(at)

    def drives(self) -> bool:
        """Whether there was an engine that answered."""
        return self._health is not None and self._health.state == "running"

    def _show(self, at: float) -> None:
        said = [*self._trouble(at), *(self._said(self._health) if self._health is not None else ())]
        self.rows.set((number, _cells(name, cell)) for number, (name, cell) in enumerate(said))

    def _trouble(self, at: float) -> Iterator[tuple[str, Cell | None]]:
        """What is wrong with the store, above everything else."""
        error, store = self._error, self._health.store if self._health is not None else None
        if error is None and store is not None and store.error:
            error = (StoreLost if store.lost else StoreUnavailable)(store.error, where=store.where, hint=store.hint)
        if error is None:
            return
        yield "STORE CANNOT BE READ", None
        yield f"  {error.code}", (inert(error.message), "error")
        if error.where:
            yield "  where", (inert(error.where), "")
        yield "  what to do", (inert(error.hint or "see .fleet/engine.log, and `fleet doctor`"), "accent")
        if self._figures is not None:
            yield "  figures", (f"of the store: as they were {ago(at - self._figures[0])}", "warning")
        yield "", ("", "")

    def rates(self) -> tuple[list[float], list[float]]:
        """Commits and facts per second, from look to look."""
        commits: list[float] = []
        facts: list[float] = []
        for (at, commit, fact), (later, more, further) in pairwise(self._looks):
            seconds = max(later - at, 1e-3)
            commits.append(max(0, more - commit) / seconds)
            facts.append(max(0, further - fact) / seconds)
        return commits, facts

    def _said(self, health: EngineHealth) -> Iterator[tuple[str, Cell | None]]:
        yield "ENGINE", None
        if self._error is not None:
            yield "  state", ((f"{sign('○')} not known", "warning"), ("  the store is not open", "dim"))
        else:
            yield "  state", _state(health)
        if health.pid and self._error is None:
            where = f" on {inert(health.host)}" if health.host else ""
            yield "  process", (f"{health.pid} ({inert(health.what)}){where}", "")
        if health.state == "running" and self._error is None:
            yield from self._running(health)
        yield "", ("", "")
        yield from _store(self._figures[1] if self._figures is not None else health.store)
        if health.holds:
            yield "", ("", "")
            yield "HELD RUNS", None
            for run, why in health.holds.items():
                yield f"  {short(run)}", (inert(why), "error")
        yield "", ("", "")
        yield "TROUBLES", None
        if not health.troubles:
            yield "  none", ("", "")
        for trouble in reversed(health.troubles):
            yield (
                f"  {self._times.clock(trouble.at)}",
                ((f"{inert(trouble.where)}: ", ""), (inert(trouble.what), "error")),
            )

    def _running(self, health: EngineHealth) -> Iterator[tuple[str, Cell | None]]:
        yield "  up", (duration(health.uptime), "")
        yield "  loop late by", (f"{health.lag * 1000:.0f} ms", "warning" if health.lag > LATE else "")
        commits, facts = self.rates()
        yield "  commits", _rate(health.commits, commits)
        yield "  facts", _rate(health.facts, facts)
        yield "", ("", "")
        yield "QUEUES", None
        yield "  live runs", (f"{health.live_runs:,}", "")
        yield "  effects", (f"{health.effects:,}", "running" if health.effects else "")
        yield "  timers", (f"{health.timers:,}", "")
        yield "  wait for a place", (f"{health.waiting_for_slots:,}", "waiting" if health.waiting_for_slots else "")
        yield "  on the way to disk", (f"{health.appending:,}", "")
        yield "  watchers", (f"{health.readers:,}", "")
        for name, pool in health.pools.items():
            yield f"  pool {inert(name)}", _places(pool.in_use, pool.places, pool.waiting)
        for group in health.groups:
            # Names of groups are of any length, and often begin the same: they have the room of the values.
            yield (
                "  group",
                (
                    (f"{inert(group.scope.removeprefix('group:'))}  ", "strong"),
                    (f"{group.held:,} held", ""),
                    (f"  {group.waiting} waiting", "waiting" if group.waiting else "dim"),
                ),
            )


def _cells(name: str, cell: Cell | None) -> Sequence[Cell]:
    return ((name, "title" if not cell else "dim"), cell or ("", ""))


def _state(health: EngineHealth) -> Cell:
    match health.state:
        case "running":
            said: Part = (f"{sign('●')} running", "completed")
            return (said, ("  closing: starts nothing new", "warning")) if health.closing else said
        case "silent":
            return (
                (f"{sign('◆')} does not answer", "warning"),
                ("  its process holds the engine", "dim"),
            )
        case "elsewhere":
            where = f"on {inert(health.host)}" if health.host else "on another machine"
            return ((f"{sign('●')} {where}", "completed"), ("  what it does is seen in the store", "dim"))
        case _:
            return ((f"{sign('○')} none", "warning"), ("  nothing is carried out until one runs: `fleet`", "dim"))


def _store(store: StoreHealth) -> Iterator[tuple[str, Cell | None]]:
    yield "STORE", None
    yield "  where", (inert(store.where), "")
    if store.bytes:
        yield "  size", ((size(store.bytes), ""), (f"  and {size(store.log_bytes)} written ahead", "dim"))
    yield "  journal", (count(store.position, "fact"), "")
    yield "  signals to route", (f"{store.unrouted:,}", "waiting" if store.unrouted else "")


def _rate(total: int, rates: list[float]) -> Cell:
    line = sparkline(tuple(round(rate) for rate in rates), WIDTH)
    now = f"{rates[-1]:,.0f}/s" if rates else "-"
    return ((f"{now:>9}  ", ""), (f"{line:>{WIDTH}}", "link"), (f"  {total:,} in all", "dim"))


def _places(used: int, places: int, waiting: int) -> Cell:
    filled = min(used, places, 20)
    bar = "■" * filled + "□" * (min(places, 20) - filled)
    waits = (f"  {waiting} waiting", "waiting") if waiting else ("", "")
    return ((bar, "running"), (f" {used} of {places}", ""), waits)
