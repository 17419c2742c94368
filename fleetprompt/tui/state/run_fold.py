"""One run, folded as its facts come: its state, what is inside what, and when something was going on. PURE."""

from __future__ import annotations

from fleetprompt.engine.core.facts import RunForked
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import evolve
from fleetprompt.engine.core.state import Outbox, Run, Step
from fleetprompt.engine.ports import Stored
from fleetprompt.tui.state.facts import FactList
from fleetprompt.tui.state.timeline import Busy, Doing, TimeScale
from fleetprompt.tui.state.tree_index import Track, TreeIndex


class RunFold:
    """A run and what the screen needs to know of it, at one cost for each fact."""

    def __init__(self, id_: str, program: Program) -> None:
        self.id = id_
        self.run = Run(program)
        self.index = TreeIndex(self.run)
        self.busy = Busy()
        self.facts = FactList(self.run)

    def apply(self, stored: Stored) -> Track | None:
        """The run moves on; the step that the fact is about."""
        fact, run = stored.fact, self.run
        evolve(run, fact)
        # What the facts mean outside the run is nothing to somebody who looks on.
        run.outbox = Outbox()
        track = self.index.apply(fact)
        self.facts.add(stored)
        if track is not None:
            self._move(track, fact.at)
        elif isinstance(fact, RunForked):
            self._begin_anew(fact.at)
        return track

    def _move(self, track: Track, at: float) -> None:
        intervals = track.intervals
        before = _is_work(intervals.doing, intervals.found[-1].on if intervals.found else "")
        doing, on = _doing(track.step)
        intervals.move(at, doing, on, track.step.attempt)
        after = _is_work(doing, on)
        if after and not before:
            self.busy.begin(at)
        elif before and not after:
            self.busy.end(at)

    def _begin_anew(self, at: float) -> None:
        """What goes on at the end of copied facts goes on in this run, not since it began in the one before."""
        for track in self.index.tracks.values():
            doing = track.intervals.doing
            if doing is not None:
                on, attempt = track.intervals.found[-1].on, track.intervals.found[-1].attempt
                track.intervals.move(at, None, "", 0)
                track.intervals.move(at, doing, on, attempt)
        self.busy.restart(at)

    def scale(self, width: int, now: float) -> TimeScale:
        """The scale of the run's timeline, up to now or to its end."""
        run = self.run
        end = run.finished_at if run.finished_at is not None else now
        begun = run.started_at if run.started_at is not None else run.created.at if run.created is not None else end
        return TimeScale(self.busy.until(end), width, begun, end)


def _doing(step: Step) -> tuple[Doing | None, str]:
    if step.status == "running":
        return ("inside" if step.program.blocks else "active"), ""
    if step.status in ("waiting", "in_doubt"):
        return "waiting", step.on or ""
    return None, ""


def _is_work(doing: Doing | None, on: str) -> bool:
    """Whether the time counts as one in which something was active: a child run works for the step that waits."""
    return doing == "active" or (doing == "waiting" and on == "child")
