"""What is inside what in a run, and what goes on in it: kept up to date fact by fact, at a cost that no size changes.

A `Track` is one step. What a composite has inside is an `Inside`, one for each attempt at it, with a `Branch` for every
branch or iteration. Each counts what goes on in it (`Tally`), so that nobody has to look at ten thousand iterations to
know that one of them has failed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from enum import IntEnum
from itertools import chain, islice

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided, StepFailed, StepWaiting
from fleetprompt.engine.core.mode import joined
from fleetprompt.engine.core.spending import Spending, spending
from fleetprompt.engine.core.state import Run, Scope, Step
from fleetprompt.engine.core.transition import COMPENSATION
from fleetprompt.tui.state.agent_work import Works, is_told
from fleetprompt.tui.state.timeline import Intervals

MOST_ATTEMPTS = 100
"""Earlier attempts at a step that are remembered; the oldest are forgotten first."""


class Concern(IntEnum):
    """Why somebody may want to look at a step, the most pressing first."""

    FAILED = 0
    DOUBT = 1
    WAITING = 2
    ACTIVE = 3
    NONE = 4


class Tally:
    """How many steps of each concern there are in something, and what they have used."""

    __slots__ = ("cost_nano", "counts", "tokens", "uncertain_nano")

    def __init__(self) -> None:
        self.counts = [0, 0, 0, 0, 0]
        self.cost_nano = 0
        self.uncertain_nano = 0
        self.tokens = 0

    def __getitem__(self, concern: Concern) -> int:
        return self.counts[concern]

    @property
    def worst(self) -> Concern:
        """The most pressing concern that there is."""
        # Asked for twice with every fact; a loop over the concerns takes ten times as long.
        failed, doubt, waiting, active, _ = self.counts
        if failed:
            return Concern.FAILED
        if doubt:
            return Concern.DOUBT
        return Concern.WAITING if waiting else Concern.ACTIVE if active else Concern.NONE

    @property
    def status(self) -> str:
        """What goes on in there now, as the status of a step; empty when nothing does."""
        counts = self.counts
        if counts[Concern.ACTIVE]:
            return "running"
        return "in_doubt" if counts[Concern.DOUBT] else "waiting" if counts[Concern.WAITING] else ""


class Attempt:
    """An attempt at a step that is over."""

    __slots__ = ("child", "ended", "error", "number", "started")

    def __init__(self, number: int, started: float | None, ended: float, error: Failure, child: str) -> None:
        self.number = number
        self.started = started
        self.ended = ended
        self.error = error
        self.child = child
        """Id of the run that it started."""


class Track:
    """One step: where it is, what is inside it, what its attempts came to."""

    __slots__ = (
        "attempts",
        "began",
        "branch",
        "child",
        "concern",
        "cost_nano",
        "insides",
        "intervals",
        "mode",
        "since",
        "step",
        "tokens",
        "uncertain_nano",
        "undo",
        "works",
    )

    def __init__(self, step: Step, branch: Branch) -> None:
        self.step = step
        self.branch = branch
        self.concern = Concern.NONE
        self.insides: list[Inside] | None = None
        """For a composite: the inside of each attempt that opened something; the last is the present one."""
        self.attempts: list[Attempt] | None = None
        """Attempts that failed and were followed by another."""
        self.began: float | None = None
        """When the present attempt began."""
        self.child = ""
        """Id of the run that the present attempt has started."""
        self.undo: Track | None = None
        """What undoes it."""
        self.intervals = Intervals()
        self.since = 0.0
        """When it began to wait for an approval, or to be in doubt."""
        self.cost_nano = 0
        self.tokens = 0
        self.uncertain_nano = 0
        """What may have been spent besides."""
        self.mode = ""
        """How what models said came about: `live`, `local`, `simulated`, `replay` or `mixed`."""
        self.works: Works | None = None
        """What agents have done in it."""

    @property
    def inside(self) -> Inside | None:
        """What the present attempt has opened."""
        if self.insides and self.insides[-1].attempt == self.step.attempt:
            return self.insides[-1]
        return None

    def inside_of(self, attempt: int) -> Inside | None:
        """What an attempt has opened."""
        return next((inside for inside in self.insides or () if inside.attempt == attempt), None)

    @property
    def status(self) -> str:
        """The step's status; a composite that goes on is what goes on inside it."""
        step, inside = self.step, self.inside
        if step.status != "running" or inside is None:
            return step.status
        return inside.tally.status or "running"


class Branch:
    """One execution of a block: a branch, an iteration, or the steps of the run itself."""

    __slots__ = ("inside", "position", "rank", "scope", "tally", "tracks")

    def __init__(self, scope: Scope, inside: Inside | None, position: int) -> None:
        self.scope = scope
        self.inside = inside
        self.position = position
        self.rank = Concern.NONE
        self.tally = Tally()
        self.tracks: list[Track] = []


class Inside:
    """What one attempt at a composite has opened."""

    __slots__ = ("attempt", "branches", "ranked", "size", "tally", "track")

    def __init__(self, track: Track, attempt: int) -> None:
        self.track = track
        self.attempt = attempt
        self.branches: list[Branch] = []
        self.ranked: tuple[list[int], ...] = ([], [], [], [], [])
        """Positions of branches by concern, each list sorted."""
        self.tally = Tally()
        self.size = 0
        """How many steps there are in it, not counting what is inside those."""

    @property
    def is_last(self) -> bool:
        """No later attempt has opened anything."""
        return self.track.insides is not None and self.track.insides[-1] is self

    def pressing_first(self, most: int) -> list[int]:
        """Positions of the first branches: failed, in doubt, waiting, running, and then the others in order."""
        return list(islice(chain.from_iterable(self.ranked), most))


class TreeIndex:
    """The steps of one run, as its facts come."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.root: Branch | None = None
        self.tracks: dict[str, Track] = {}
        self.asking: dict[str, Track] = {}
        """Steps that wait for an approval, by path, the one that has waited longest first."""
        self.doubtful: dict[str, Track] = {}
        """Steps of which nobody knows whether they happened."""
        self._branches: dict[Scope, Branch] = {}
        self._ignored = 0

    def apply(self, fact: AnyFact) -> Track | None:
        """Take note of a fact that the run has just been moved by; the step that it is about."""
        steps = self._run.steps
        if len(steps) != len(self.tracks):
            for step in reversed(list(islice(reversed(steps.values()), len(steps) - len(self.tracks)))):
                self._add(step)
        track = self.tracks.get(getattr(fact, "path", ""))
        if track is None:
            self._ignored = self._run.ignored
            return None
        if self._run.ignored == self._ignored:
            self._remember(track, fact)
        self._ignored = self._run.ignored
        _list(self.asking, track, track.step.asks, fact.at)
        _list(self.doubtful, track, track.step.status == "in_doubt", fact.at)
        self._move(track)
        return track

    def _add(self, step: Step) -> None:
        branch = self._branch(step.scope)
        track = self.tracks[step.path] = Track(step, branch)
        if step.role == "compensation":
            self.tracks[step.path.removesuffix(COMPENSATION)].undo = track
            return
        branch.tracks.append(track)
        if branch.inside is not None:
            branch.inside.size += 1

    def _branch(self, scope: Scope) -> Branch:
        branch = self._branches.get(scope)
        if branch is not None:
            return branch
        if scope.owner is None:
            branch = self.root = Branch(scope, None, 0)
        else:
            inside = self._inside(self.tracks[scope.owner.path])
            branch = Branch(scope, inside, len(inside.branches))
            inside.branches.append(branch)
            inside.ranked[Concern.NONE].append(branch.position)
        self._branches[scope] = branch
        return branch

    def _inside(self, track: Track) -> Inside:
        if track.insides is None:
            track.insides = []
        if not track.insides or track.insides[-1].attempt != track.step.attempt:
            if track.insides:
                self._forgive(track.insides[-1])
            track.insides.append(Inside(track, track.step.attempt))
        return track.insides[-1]

    def _forgive(self, inside: Inside) -> None:
        """What has failed in an attempt is no concern of anybody once there is another."""
        failed = inside.tally[Concern.FAILED]
        if failed:
            _shift(inside.track.branch, [(Concern.FAILED, -failed)])

    def _remember(self, track: Track, fact: AnyFact) -> None:
        step = track.step
        if isinstance(fact, StepWaiting) and fact.on == "child":
            track.child = fact.ref
        elif isinstance(fact, StepFailed) and fact.retry_at is not None and step.on == "timer":
            self._note_attempt(track, fact)
        if is_told(fact) or (track.works is not None and isinstance(fact, ApprovalDecided)):
            track.works = track.works or Works()
            track.works.add(fact)
        spent = spending(fact)
        if spent is not None:
            self._use(track, spent)
            track.mode = joined(track.mode, spent.mode)
        if track.began is None and step.started_at is not None:
            track.began = fact.at

    def _note_attempt(self, track: Track, fact: StepFailed) -> None:
        if track.attempts is None:
            track.attempts = []
        track.attempts.append(Attempt(track.step.attempt, track.began, fact.at, fact.error, track.child))
        del track.attempts[:-MOST_ATTEMPTS]
        track.began = None
        track.child = ""

    def _use(self, track: Track, spent: Spending) -> None:
        track.cost_nano += spent.cost_nano
        track.tokens += spent.tokens
        track.uncertain_nano += spent.uncertain_nano
        for branch in _around(track.branch):
            for tally in (branch.tally, *((branch.inside.tally,) if branch.inside is not None else ())):
                tally.cost_nano += spent.cost_nano
                tally.tokens += spent.tokens
                tally.uncertain_nano += spent.uncertain_nano

    def _move(self, track: Track) -> None:
        old, new = track.concern, _concern(track.step)
        if old is new:
            return
        track.concern = new
        changes = [(concern, by) for concern, by in ((old, -1), (new, 1)) if concern is not Concern.NONE]
        _shift(track.branch, changes)


def _list(listed: dict[str, Track], track: Track, belongs: bool, at: float) -> None:
    if belongs and track.step.path not in listed:
        track.since = at
        listed[track.step.path] = track
    elif not belongs:
        listed.pop(track.step.path, None)


def _around(branch: Branch) -> list[Branch]:
    """A branch and those that it is in, from the inside out."""
    found = [branch]
    while branch.inside is not None:
        branch = branch.inside.track.branch
        found.append(branch)
    return found


def _shift(branch: Branch, changes: list[tuple[Concern, int]]) -> None:
    """So many more steps of these concerns: in a branch and in everything around it."""
    for around in _around(branch):
        for concern, by in changes:
            _count(around, concern, by)
        inside = around.inside
        if inside is not None and not inside.is_last:
            # What goes on in an earlier attempt (it is undone) is told; what fails in it is forgiven.
            changes = [change for change in changes if change[0] is not Concern.FAILED]


def _count(branch: Branch, concern: Concern, by: int) -> None:
    branch.tally.counts[concern] += by
    inside = branch.inside
    if inside is None:
        return
    inside.tally.counts[concern] += by
    rank = branch.tally.worst
    if rank is not branch.rank:
        old = inside.ranked[branch.rank]
        del old[bisect_left(old, branch.position)]
        insort(inside.ranked[rank], branch.position)
        branch.rank = rank


def _concern(step: Step) -> Concern:
    match step.status:
        case "failed" | "timeout":
            return Concern.FAILED
        case "in_doubt":
            return Concern.DOUBT
        case "waiting":
            return Concern.WAITING
        case "running":
            # What a composite does is what is done inside it.
            return Concern.NONE if step.program.blocks else Concern.ACTIVE
        case _:
            return Concern.NONE
