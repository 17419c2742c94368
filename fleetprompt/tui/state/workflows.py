"""The list of workflows: those that the store knows and those that lie as files, and what became of their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import ago, duration, glyph, sign
from fleetprompt.client.workflow_files import FileState, WorkflowFiles
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import WORKFLOW_FIELDS
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.engine.ports import Workflow, WorkflowStatistics
from fleetprompt.tui.state.lines import Cell, Column, Key, Part
from fleetprompt.tui.state.money import amount

DAYS = 7
"""How far the statistics reach back."""
DAY = 86_400.0
STRIP = 20
"""Last runs that are shown where there is room."""
SHORT_STRIP = 10

Sort = Literal["name", "status", "runs", "success", "p50", "p95", "cost", "mean", "failure", "file"]
SORTS: tuple[Sort, ...] = get_args(Sort)
STATUSES = ("active", "paused", "draft", "archived")
"""In the order in which they are sorted."""


def columns(strip: int) -> tuple[Column, ...]:
    """The columns, with so many last runs."""
    return (
        Column(title="", width=1),
        Column(title="WORKFLOW", width=14, grow=6, most=40, sort="name"),
        Column(title="STATUS", width=8, drop=8, sort="status"),
        Column(title="LAST RUNS", width=strip, right=True, drop=2),
        Column(title="RUNS/7D", width=7, right=True, drop=3, sort="runs"),
        Column(title="OK", width=5, right=True, drop=1, sort="success"),
        Column(title="P50", width=6, right=True, drop=5, sort="p50"),
        Column(title="P95", width=6, right=True, drop=6, sort="p95"),
        Column(title="COST", width=8, right=True, drop=4, sort="cost"),
        Column(title="MEAN", width=8, right=True, drop=9, sort="mean"),
        Column(title="FAILED", width=8, right=True, drop=7, sort="failure"),
        Column(title="FILE", width=14, grow=2, drop=10, sort="file"),
    )


class Entry(Struct, frozen=True, kw_only=True):
    """A workflow: as the store knows it, as a file, or both."""

    key: str
    """Its name; for a second file of the same name the path of that file."""
    name: str
    workflow: Workflow | None = None
    state: FileState | None = None
    figures: WorkflowStatistics | None = None
    plan: Plan | None = None
    """What the file says; where it cannot be used, what the store keeps."""
    rival: str = ""
    """The file of the workflow of this name, where that is another one than this."""

    @property
    def status(self) -> str:
        """As the store knows it; what lies there only as a file is a draft."""
        return self.workflow.status if self.workflow is not None else "draft"

    @property
    def file(self) -> str:
        """Where its file lies, for people."""
        if self.state is not None:
            return self.state.named
        return self.workflow.file if self.workflow is not None else ""

    @property
    def differs(self) -> bool:
        """The file says something else than what the store keeps as its plan."""
        file = self.state.file if self.state is not None else None
        return self.workflow is not None and file is not None and file.digest != self.workflow.plan


class WorkflowList:
    """The workflows that match a filter. `now` gives the time in epoch seconds."""

    def __init__(self, console: Console, files: WorkflowFiles | None, now: Callable[[], float]) -> None:
        """`files` are those of the project; without them, only what the store keeps is shown."""
        self.console = console
        self.files = files
        self._now = now
        self.filter = ""
        self.sort: Sort = "name"
        self.descending = False
        self.columns: Sequence[Column] = columns(STRIP)
        self.loaded = False
        self.entries: list[Entry] = []
        """Those that match, in their order."""
        self._all: list[Entry] = []
        self._index: dict[Key, int] = {}
        self._states: dict[Path, FileState] = {}
        self._known: list[Workflow] = []
        self._figures: dict[str, WorkflowStatistics] = {}
        self._plans: dict[str, Plan | None] = {}
        """Plans that the store keeps, by digest; None for one that cannot be had."""

    # ------------------------------------------------------------ reading

    async def load(self) -> None:
        """Read the workflows and their figures again; files are taken as they were looked at last."""
        self._known = await self.console.workflows()
        figures = await self.console.statistics(self._now() - DAYS * DAY)
        self._figures = {each.workflow: each for each in figures}
        for workflow in self._known:
            if workflow.plan not in self._plans:
                self._plans[workflow.plan] = await self._plan(workflow.plan)
        self.loaded = True
        self.arrange()

    async def _plan(self, digest: str) -> Plan | None:
        try:
            return await self.console.plan(digest)
        except FleetError:
            return None  # What the file says is shown all the same.

    def places(self) -> list[Path]:
        """The files that are to be looked at. Raises `FleetError`."""
        return self.files.places(self._known) if self.files is not None else []

    def take(self, states: Iterable[FileState], *, of: Iterable[Path] | None = None) -> None:
        """Take up files as they were found; only those `of` these places are shown from now on."""
        self._states |= {state.path: state for state in states}
        if of is not None:
            wanted = set(of)
            self._states = {path: state for path, state in self._states.items() if path in wanted}
        self.arrange()

    def arrange(self) -> None:
        """Filter and sort anew. A filter that cannot be understood raises `InvalidInput`."""
        self._all = self._combined()
        fits = matcher(parse(self.filter, WORKFLOW_FIELDS).require(), self._now())
        found = [entry for entry in self._all if fits(_row(entry))]
        found.sort(key=lambda entry: (entry.name.casefold(), bool(entry.rival), entry.key))
        rank = _RANKS[self.sort]
        # What has no value comes last, whichever the direction.
        valued = [entry for entry in found if rank(entry) is not None]
        valued.sort(key=rank, reverse=self.descending)
        self.entries = valued + [entry for entry in found if rank(entry) is None]
        self._index = {entry.key: at for at, entry in enumerate(self.entries)}

    def _combined(self) -> list[Entry]:
        left = dict(self._states)
        entries: dict[str, Entry] = {}
        for workflow in self._known:
            path = self.files.path_of(workflow) if self.files is not None else None
            state = left.pop(path, None) if path is not None else None
            if state is None and path is not None:
                same = next((each for each in left if each.resolve() == path.resolve()), None)
                state = left.pop(same) if same is not None else None
            if state is not None and state.file is not None and state.name != workflow.name:
                # The file was given another name: it is that of another workflow now.
                left[state.path] = state
                state = None
            entries[workflow.name] = self._entry(workflow.name, workflow.name, workflow, state)
        for state in left.values():
            if state.missing:
                continue
            known = entries.get(state.name)
            if known is not None and known.state is None and known.workflow is not None and state.file is not None:
                entries[state.name] = self._entry(state.name, state.name, known.workflow, state)
            elif known is not None:
                key = str(state.path)
                entries[key] = self._entry(key, state.name, None, state, rival=known.file)
            else:
                entries[state.name] = self._entry(state.name, state.name, None, state)
        for name, figures in self._figures.items():
            if name not in entries:
                # Its row is gone from the store, its runs are not.
                entries[name] = Entry(key=name, name=name, figures=figures)
        return list(entries.values())

    def _entry(
        self, key: str, name: str, workflow: Workflow | None, state: FileState | None, *, rival: str = ""
    ) -> Entry:
        file = state.file if state is not None else None
        plan = file.plan if file is not None else self._plans.get(workflow.plan) if workflow is not None else None
        return Entry(
            key=key,
            name=name,
            workflow=workflow,
            state=state,
            figures=None if rival else self._figures.get(name),
            plan=plan,
            rival=rival,
        )

    # ------------------------------------------------------------ what is shown

    @property
    def count(self) -> int:
        """How many workflows are listed."""
        return len(self.entries)

    @property
    def all(self) -> int:
        """How many there are without the filter."""
        return len(self._all)

    def key(self, index: int) -> Key | None:
        """The key of a workflow."""
        return self.entries[index].key if 0 <= index < len(self.entries) else None

    def find(self, key: Key) -> int | None:
        """Where a workflow stands now."""
        return self._index.get(key)

    def entry(self, key: object) -> Entry | None:
        """The workflow of a key, if it is listed."""
        at = self._index.get(key) if isinstance(key, str) else None
        return self.entries[at] if at is not None else None

    def show(self, first: int, last: int) -> None:
        """All rows are there already."""

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A workflow as a line."""
        return cells(self.entries[index], self._now(), self.columns[3].width)

    def moving(self) -> list[int]:
        """Lines that say a time which changes by the second."""
        now = self._now()
        return [at for at, entry in enumerate(self.entries) if _failed_at(entry) > now - 60]

    def names(self) -> list[str]:
        """The names of all workflows."""
        return sorted({entry.name for entry in self._all})


def _row(entry: Entry) -> Mapping[str, Any]:
    """What a filter compares."""
    description = entry.plan.description if entry.plan is not None else ""
    return {"name": entry.name, "status": entry.status, "description": description}


def _failed_at(entry: Entry) -> float:
    failure = entry.figures.failure if entry.figures is not None else None
    return failure.at if failure is not None else 0.0


_RANKS: dict[Sort, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name.casefold(),
    "status": lambda entry: STATUSES.index(entry.status),
    "runs": lambda entry: entry.figures.runs if entry.figures is not None else None,
    "success": lambda entry: entry.figures.success if entry.figures is not None else None,
    "p50": lambda entry: entry.figures.p50 if entry.figures is not None else None,
    "p95": lambda entry: entry.figures.p95 if entry.figures is not None else None,
    "cost": lambda entry: entry.figures.cost_nano if entry.figures is not None else None,
    "mean": lambda entry: entry.figures.mean_cost_nano if entry.figures is not None else None,
    "failure": lambda entry: _failed_at(entry) or None,
    "file": lambda entry: entry.file or None,
}


def cells(entry: Entry, now: float, strip: int) -> Sequence[Cell]:
    """A workflow as a line of the list."""
    status = entry.status
    figures = entry.figures
    none: Part = ("-", "faint")
    seconds: tuple[Part, Part] = (none, none)
    if figures is not None:
        seconds = (_seconds(figures.p50), _seconds(figures.p95))
    return (
        (glyph(status), status),
        (*_named(entry),),
        (status, status),
        recent(figures, strip),
        (f"{figures.runs:,}", "") if figures is not None and figures.runs else none,
        success(figures),
        *seconds,
        (amount(figures.cost_nano), "") if figures is not None and figures.cost_nano else none,
        (amount(figures.mean_cost_nano), "dim") if figures is not None and figures.mean_cost_nano else none,
        (ago(now - _failed_at(entry)), "dim") if _failed_at(entry) else none,
        (inert(_shown_file(entry)), "dim") if entry.file else none,
    )


def _shown_file(entry: Entry) -> str:
    """The file's name for one of the project's folder of workflows."""
    inside = entry.state is not None and entry.state.inside
    return entry.state.path.name if inside and entry.state is not None else entry.file


def _named(entry: Entry) -> Iterable[Part]:
    state = entry.state
    yield (inert(entry.name), "dim" if entry.status == "archived" else "strong" if entry.status == "active" else "")
    if state is None:
        return
    if state.missing:
        yield ("  file is gone", "warning")
    elif state.errors:
        yield (f"  {sign('✗')} {state.errors}", "error")
    elif entry.rival:
        yield ("  twice", "warning")
    elif entry.differs:
        yield ("  changed", "accent")


def _seconds(value: float | None) -> Part:
    return (duration(value), "") if value is not None else ("-", "faint")


def recent(figures: WorkflowStatistics | None, most: int) -> Cell:
    """The last runs as signs, the newest at the right."""
    if figures is None or not figures.recent:
        return ("-", "faint")
    parts: list[Part] = []
    for run in reversed(figures.recent[:most]):
        mark = glyph(run.status)
        if parts and parts[-1][1] == run.status:
            parts[-1] = (parts[-1][0] + mark, run.status)
        else:
            parts.append((mark, run.status))
    return tuple(parts)


def success(figures: WorkflowStatistics | None) -> Part:
    """The part of the runs that completed, without cancelled ones: `98 %`; all or none only where that is so."""
    rate = figures.success if figures is not None else None
    if rate is None:
        return ("-", "faint")
    percent = round(rate * 100) if rate in (0, 1) else max(1, min(99, round(rate * 100)))
    style = "completed" if rate >= 0.95 else "warning" if rate >= 0.7 else "error"
    return (f"{percent} %", style)
