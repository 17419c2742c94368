"""Every workflow: how its runs do, what is wrong with its file, and what it takes to start one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from fleetprompt.client.saying import takes_messages
from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import WORKFLOW_FIELDS
from fleetprompt.engine.ports import Page
from fleetprompt.tui.acting_workflows import ACTIVATE, ARCHIVE, PAUSE, Setting, edit_file, set_status, start
from fleetprompt.tui.screens.detailed import BESIDE, DetailedScreen
from fleetprompt.tui.screens.source import SourceScreen
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.state.workflow_details import FAILURES, details, runs_of
from fleetprompt.tui.state.workflows import SHORT_STRIP, SORTS, STRIP, Entry, WorkflowList, columns
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import RunHead
    from fleetprompt.tui.actions import Action

PORTION = 10
"""Files that are looked at before what was found is shown."""
ROOM = 110
"""Cells of the list from which on it shows as many last runs as there are."""


class WorkflowsScreen(DetailedScreen["Entry", "RunHead"]):
    """The workflows that match a filter, and details of the one at the cursor."""

    PLACES: ClassVar = ("workflows",)
    NAME: ClassVar = "workflows"
    EVERYTHING: ClassVar = "every workflow"
    ONE: ClassVar = "workflow"
    FIELDS: ClassVar = WORKFLOW_FIELDS
    LEAST_SECONDS: ClassVar = 1.0
    DEFAULT_CSS = """
    WorkflowsScreen #list { height: 3fr; }
    WorkflowsScreen #details { height: 2fr; }
    WorkflowsScreen.-beside #list { width: 7fr; }
    WorkflowsScreen.-beside #details { width: 4fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.workflows: WorkflowList | None = None
        self._looking = False
        """Files are being looked at."""
        self._arriving = True
        """Not all files were looked at since the screen was opened: others may come before the first one."""

    async def opened(self, console: Console) -> None:
        """Show the list, then what is said of the files."""
        self.workflows = WorkflowList(console, self.app.files, self.app.now)
        lines = Lines(self.workflows)
        heading = self.query_one(Heading)
        heading.watch_lines(lines)
        heading.sorted_by(self.workflows.sort, self.workflows.descending)
        await self.query_one("#list").mount(lines)
        self.lines = lines
        lines.focus()
        self.fit(self.size.width)
        await self.load()
        self.look_at_files()

    def fit(self, width: int) -> None:
        """Arrange everything for so many cells."""
        super().fit(width)
        beside = width >= BESIDE
        workflows, lines = self.workflows, self.lines
        if workflows is None or lines is None:
            return
        room = width * 7 // 11 if beside else width
        wanted = columns(STRIP if room >= ROOM else SHORT_STRIP)
        if wanted != workflows.columns:
            workflows.columns = wanted
            lines.renew()

    async def values(self, name: str) -> Sequence[tuple[str, int]]:
        """Names that are there."""
        return [(each, 1) for each in self.workflows.names()] if self.workflows is not None and name == "name" else ()

    # ------------------------------------------------------------ what is said about the list

    def said(self) -> Sequence[Part] | None:
        """How many there are, and how many files are broken."""
        workflows = self.workflows
        if workflows is None or not workflows.loaded:
            return None
        said: list[Part] = []
        broken = sum(1 for entry in workflows.entries if entry.state is not None and entry.state.errors)
        if broken:
            said.append((f"{count(broken, 'broken file')}  ", "error"))
        if self._looking:
            said.append(("reading files…  ", "dim"))
        said.append((count(workflows.count, "workflow"), ""))
        said.append((f" · by {workflows.sort} {'▼' if workflows.descending else '▲'}", "dim"))
        return said

    # ------------------------------------------------------------ reading

    @property
    def listed(self) -> WorkflowList | None:
        """The workflows."""
        return self.workflows

    def none_yet(self) -> Sequence[Part]:
        """How there come to be some."""
        folder = self.app.files.folder if self.app.files is not None else ""
        where = f" — a YAML file in {inert(str(folder))} is one" if folder else ""
        return ("there are no workflows yet", "strong"), (where, "dim")

    def unsought(self, lines: Lines) -> None:
        """At the top, until all files were looked at."""
        if self._arriving and not lines.moved_by_hand:
            lines.go(0, by_hand=False)

    def look_at_files(self, *, anew: bool = False) -> None:
        """Look at the files again, beside everything else."""
        if self.workflows is not None and self.app.files is not None:
            self.run_worker(partial(self._look, anew), group="files", exclusive=True)

    async def _look(self, anew: bool) -> None:
        workflows, files = self.workflows, self.app.files
        assert workflows is not None
        assert files is not None
        self._looking = True
        self.bar.redraw()
        try:
            places = await asyncio.to_thread(workflows.places)
            for at in range(0, len(places), PORTION):
                portion = places[at : at + PORTION]
                workflows.take(await asyncio.to_thread(lambda p=portion: [files.look(path, anew=anew) for path in p]))
                self.renew()
            workflows.take((), of=places)
        except FleetError as error:
            self.app.say("error", error.message)
        self._looking = False
        self.renew()
        self._arriving = False

    async def changed(self, change: Change) -> None:
        """Workflows or runs have changed: read again, but not all the time."""
        if change.workflows or change.lost:
            await self.load()
        elif change.runs:
            self.load_soon()

    async def reload(self) -> None:
        """Read everything again."""
        await super().reload()
        self.look_at_files(anew=True)

    async def on_screen_resume(self) -> None:
        """Files are looked at whenever the screen is shown; only those that have changed are read."""
        stale, self.stale = self.stale, False
        await super().on_screen_resume()
        if stale and self.app.client is not None:
            await self.load()
        self.look_at_files()

    def tick(self) -> None:
        """Times go on."""
        if self.workflows is not None and self.lines is not None:
            self.lines.repaint(self.workflows.moving())

    # ------------------------------------------------------------ details

    async def look_up(self, entry: Entry) -> Sequence[RunHead]:
        """Its last failures. Raises `FleetError`."""
        found, _ = await self.client.runs(runs_of(entry.name, "status:failed,timeout"), Page(limit=FAILURES))
        return found

    def detailed(self, entry: Entry, known: Sequence[RunHead]) -> list[Line]:
        """Everything about a workflow."""
        return details(entry, known, self.app.now())

    # ------------------------------------------------------------ order

    def do_sort_next(self) -> None:
        if self.workflows is not None:
            self._sort(SORTS[(SORTS.index(self.workflows.sort) + 1) % len(SORTS)])

    def do_sort_reverse(self) -> None:
        if self.workflows is not None:
            self._sort(self.workflows.sort)

    def on_heading_chosen(self, event: Heading.Chosen) -> None:
        """A click on a title sorts by it, the second one the other way round."""
        self._sort(event.sort)

    def _sort(self, sort: str) -> None:
        """Sort by a column; by the same one again, the other way round."""
        workflows = self.workflows
        if workflows is None:
            return
        same = workflows.sort == sort
        workflows.descending = not workflows.descending if same else sort not in ("name", "status", "file")
        workflows.sort = next(each for each in SORTS if each == sort)
        workflows.arrange()
        self.query_one(Heading).sorted_by(workflows.sort, workflows.descending)
        self.renew()

    # ------------------------------------------------------------ doing

    def footer(self) -> Sequence[Action]:
        """What can be done to the workflow at the cursor: one talks to those that take messages."""
        entry = self.entry()
        talks = entry is not None and entry.plan is not None and takes_messages(entry.plan)
        return [action for action in super().footer() if talks or action.id != "agent.chat"]

    def entry(self) -> Entry | None:
        """The workflow at the cursor."""
        return self.workflows.entry(self.lines.key) if self.workflows is not None and self.lines is not None else None

    def chosen(self) -> list[Entry]:
        """The workflows that are marked, or the one at the cursor."""
        if self.workflows is None or self.lines is None:
            return []
        found = (self.workflows.entry(key) for key in self.lines.chosen())
        return [entry for entry in found if entry is not None]

    async def on_lines_opened(self) -> None:
        """Enter shows the runs."""
        entry = self.entry()
        if entry is not None:
            await self.app.go_to(f"runs {runs_of(entry.name)}")

    async def do_workflow_start(self) -> None:
        entry = self.entry()
        if entry is not None and self.settled("start"):
            await start(self.app, entry)

    async def do_agent_chat(self) -> None:
        """Talk to it."""
        entry = self.entry()
        if entry is None:
            return
        if entry.plan is None or not takes_messages(entry.plan):
            self.app.say("warning", f"chat: {entry.name} takes no messages: it has no trigger {{type: chat}}")
            return
        await self.app.go_to(f"chat {entry.name}")

    def do_workflow_source(self) -> None:
        """Show its file, or what was registered of it where there is none."""
        entry = self.entry()
        if entry is not None:
            self.app.push_screen(SourceScreen(entry))

    def do_workflow_pause(self) -> None:
        self._set(PAUSE)

    def do_workflow_activate(self) -> None:
        self._set(ACTIVATE)

    def do_workflow_archive(self) -> None:
        self._set(ARCHIVE)

    def _set(self, setting: Setting) -> None:
        if self.settled(setting.verb):
            set_status(self.app, setting, self.chosen())

    def do_workflow_edit(self) -> None:
        """Open the file in the operator's editor, and register what it says then."""
        entry = self.entry()
        if entry is None or not self.settled("edit"):
            return
        self.run_worker(partial(self._edit, entry), group="edit", exclusive=True)

    async def _edit(self, entry: Entry) -> None:
        state = await edit_file(self.app, entry)
        if state is not None and self.workflows is not None:
            self.workflows.take([state])
            self.sought = state.name
        await self.load()
