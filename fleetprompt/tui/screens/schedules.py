"""Every schedule and file watch: when it comes next, what became of its times and why; fired, paused, resumed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fleetprompt.engine.core.query_fields import SCHEDULE_FIELDS
from fleetprompt.engine.ports import Page
from fleetprompt.tui.acting_schedules import Verb, act
from fleetprompt.tui.screens.entries import EntriesScreen
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.state.schedule_details import SHOWN, details
from fleetprompt.tui.state.schedules import ScheduleEntry, ScheduleList

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.core.firing import Firing
    from fleetprompt.tui.actions import Action


class SchedulesScreen(EntriesScreen[ScheduleList, ScheduleEntry, "Firing"]):
    """The schedules that match a filter, and details of the one at the cursor."""

    PLACES: ClassVar = ("schedules",)
    NAME: ClassVar = "schedules"
    EVERYTHING: ClassVar = "every schedule"
    ONE: ClassVar = "schedule"
    FIELDS: ClassVar = SCHEDULE_FIELDS
    LEAST_SECONDS: ClassVar = 1.0
    DEFAULT_CSS = """
    SchedulesScreen #list { height: 2fr; }
    SchedulesScreen #details { height: 3fr; }
    SchedulesScreen.-beside #list { width: 6fr; }
    SchedulesScreen.-beside #details { width: 5fr; }
    """

    def made(self, console: Console) -> ScheduleList:
        """The schedules."""
        return ScheduleList(console, self.app.now)

    def said(self) -> Sequence[Part] | None:
        """How many there are, and whether anybody lets them fire."""
        schedules = self.listed
        if schedules is None or not schedules.loaded:
            return None
        said: list[Part] = [] if schedules.fires else [("no engine fires them  ", "warning")]
        return [*said, (schedules.counted(), "")]

    def footer(self) -> Sequence[Action]:
        """What can be done to the one at the cursor: a watch fires for a file, and not because it is told to."""
        entry = self.entry()
        watches = entry is not None and entry.state.kind == "watch"
        return [action for action in super().footer() if not watches or action.id != "schedule.fire"]

    # ------------------------------------------------------------ reading

    def none_yet(self) -> Sequence[Part]:
        """How there come to be some."""
        return (
            ("no registered workflow has a schedule", "strong"),
            (' — triggers: [{type: schedule, cron: "0 9 * * 1-5"}] makes one', "dim"),
        )

    async def changed(self, change: Change) -> None:
        """Something has fired, or workflows have changed: read again, but not all the time."""
        if change.workflows or change.signals or change.lost:
            self.load_soon()

    def tick(self) -> None:
        """Times go on, and may have come."""
        super().tick()
        if self.listed is not None and self.listed.is_due:
            self.load_soon()

    # ------------------------------------------------------------ details

    async def look_up(self, entry: ScheduleEntry) -> Sequence[Firing]:
        """What became of its times. Raises `FleetError`."""
        own = f'wf:"{entry.state.workflow}" trigger:"{entry.state.trigger}"'
        found, _ = await self.client.firings(own, Page(limit=SHOWN))
        return found

    def detailed(self, entry: ScheduleEntry, known: Sequence[Firing]) -> list[Line]:
        """Everything about a schedule."""
        return details(entry, known or entry.recent, self.app.now(), self.app.times)

    # ------------------------------------------------------------ doing

    async def on_lines_opened(self) -> None:
        """Enter shows the run that it started last."""
        entry = self.entry()
        if entry is None:
            return
        if entry.last_run:
            await self.app.go_to(f"run {entry.last_run}")
        else:
            self.app.say("info", f"{entry.name} has started no run yet")

    async def do_schedule_runs(self) -> None:
        """Every run that its workflow's schedules, or its file watches, have started."""
        entry = self.entry()
        if entry is not None:
            await self.app.go_to(f"runs wf:{entry.state.workflow} trigger:{entry.state.kind}")

    def do_schedule_fire(self) -> None:
        self._act("fire")

    def do_schedule_pause(self) -> None:
        self._act("pause")

    def do_schedule_resume(self) -> None:
        self._act("resume")

    def _act(self, verb: Verb) -> None:
        if self.settled(verb):
            act(self.app, verb, self.chosen())
