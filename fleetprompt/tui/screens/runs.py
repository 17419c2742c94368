"""The home: every run, the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.timer import Timer

from fleetprompt.client.wording import count, short
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Order
from fleetprompt.tui.acting import CANCEL, PAUSE, RESUME, Command, command_runs
from fleetprompt.tui.screens.filtered import FilteredScreen
from fleetprompt.tui.state.fleet import Asked
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.runs import SORTS, RunList, ordered_by, possible
from fleetprompt.tui.state.views import View
from fleetprompt.tui.widgets.bars import FootBar
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import RunHead
    from fleetprompt.tui.actions import Action
    from fleetprompt.tui.widgets.run_preview import RunPreview

REST = 0.15
"""Seconds the cursor rests on a run before it is shown below the list."""
TICK = 1.5
"""Seconds since the last tick, at most: it comes every second, or a little later."""
RELOAD_SECONDS = 1.0
"""How often the whole order is read again, at most, where it cannot be kept up to date run by run."""


class RunLines(Lines):
    """The list of runs."""

    source: RunList

    async def listed(self) -> Iterable[object]:
        return self.source.everything()

    def copied(self, key: object) -> str:
        head = self.source.head(key)
        return head.id if head is not None else str(key)


class RunsScreen(FilteredScreen[RunLines]):
    """Every run that matches a filter."""

    PLACES: ClassVar = ("runs",)
    NAME: ClassVar = "runs"
    EVERYTHING: ClassVar = "every run"
    ONE: ClassVar = "run"

    def __init__(self, filter_: str = "") -> None:
        """`filter_`: only these, as long as the screen is open."""
        super().__init__()
        self.base = filter_
        self.runs: RunList | None = None
        self._named: dict[int, str] = {}
        """The ids of the runs that were chosen last, by their numbers."""
        self._reloading = False
        self._rest: Timer | None = None
        self.preview: RunPreview | None = None
        """What the run at the cursor does, once the store is open."""

    def body(self) -> ComposeResult:
        yield FilterBar(RUN_FIELDS, self.about, self._values)
        yield Heading()

    async def opened(self, console: Console) -> None:
        """Show the list."""
        # It needs half of the engine's core, and the frame is not to wait for that.
        from fleetprompt.tui.widgets.run_preview import RunPreview

        self.runs = RunList(console, self.app.now, self._question, self._halted)
        self.runs.filter = self.base
        self.bar.start_with(self.base)
        lines, preview = RunLines(self.runs), RunPreview()
        lines.pinned = True
        heading = self.query_one(Heading)
        heading.watch_lines(lines)
        await self.mount(lines, preview, after=heading)
        self.lines, self.preview = lines, preview
        lines.focus()
        await self._load()

    def crumb(self) -> str:
        """What it is a list of."""
        return f"{self.NAME} {inert(self.base)}".strip()

    def _question(self, run: str) -> Asked:
        return self.app.fleet.asking.get(run, Asked())

    def _halted(self, head: RunHead) -> str:
        return self.app.fleet.halts(began=head.started_at is not None, child=bool(head.parent))

    async def _values(self, name: str) -> Sequence[tuple[str, int]]:
        return await self.client.values(name, self.runs.filter if self.runs else "")

    # ------------------------------------------------------------ what is said about the list

    def said(self) -> Sequence[Part] | None:
        """How many there are, in what order."""
        runs = self.runs
        if runs is None or not runs.loaded:
            return None
        said: list[Part] = [(f"{runs.fresh:,} new, . shows  ", "accent")] if runs.fresh else []
        said.append((count(runs.count, "run"), ""))
        if runs.order != Order():
            said.append((f" · by {runs.order.by} {'▼' if runs.order.descending else '▲'}", "dim"))
        else:
            said.append((" · follow" if runs.follow else " · held", "dim"))
        return said

    def footer(self) -> Sequence[Action]:
        """What can be done to the run at the cursor, or to what is marked; the menu has the rest."""
        offered = super().footer()
        if self.lines is not None and self.lines.selection.marks:
            return offered
        head = self.head()
        asks = head is not None and head.id in self.app.fleet.asking
        return [action for action in offered if possible(action.id, head, asks=asks)]

    def on_lines_marked(self) -> None:
        super().on_lines_marked()
        self.query_one(FootBar).redraw()

    # ------------------------------------------------------------ reading

    async def _load(self) -> None:
        runs, lines = self.runs, self.lines
        if runs is None or lines is None:
            return
        try:
            await runs.load()
            self.error = None
        except FleetError as error:
            self.error = error
        lines.empty = _nothing(runs.filter, "goes back" if runs.filter == self.base else "shows all")
        lines.renew()
        self.bar.redraw()
        await self._fetch()

    async def _fetch(self) -> None:
        runs, lines = self.runs, self.lines
        if runs is not None and lines is not None and await runs.fetch():
            lines.refresh()
            head, preview = self.head(), self.preview
            if head is not None and preview is not None and preview.wanted != head.id:
                self._preview_soon()

    def on_lines_shown(self, event: Lines.Shown) -> None:
        """Other lines are looked at: get their rows."""
        if event.lines is self.lines:
            self._fetch_soon()

    def _fetch_soon(self) -> None:
        if self.runs is not None and self.runs.missing():
            self.run_worker(self._fetch, group="rows", exclusive=True)

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Only at the top new runs are shown at once."""
        lines = self.lines
        if event.lines is not lines:
            return
        if self.runs is not None and lines is not None:
            self.runs.at_top = lines.cursor == 0
            self.note_cursor()
        self.bar.redraw()
        self._preview_soon()

    # ------------------------------------------------------------ the run at the cursor

    def _preview_soon(self) -> None:
        """Show it when the cursor rests: moving on must not wait for that."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST, self._preview_now)

    def _preview_now(self) -> None:
        self._rest = None
        self.query_one(FootBar).redraw()
        preview, head = self.preview, self.head()
        if preview is not None and preview.shown and self.is_current:
            run, facts = (head.id, head.n) if head is not None else ("", 0)
            work = preview.show(self.client, run, facts)
            self.run_worker(work, group="preview", exclusive=True)

    def voting_changed(self) -> None:
        """What is asked says what can be decided."""
        if self.preview is not None:
            self.preview.show_asked()

    def do_run_preview(self) -> None:
        """Show it, or leave the room to the list."""
        if not self.has_class("-high"):
            self.app.say("info", "preview: there is no room for it below 30 lines; ↵ opens the run")
            return
        self.toggle_class("-no-preview")
        if not self.has_class("-no-preview"):
            self.call_after_refresh(self._preview_now)

    async def changed(self, change: Change) -> None:
        """Runs have changed: renew their rows, or the whole order."""
        runs, lines = self.runs, self.lines
        if runs is None or lines is None or not (change.runs or change.lost):
            return
        preview = self.preview
        if preview is not None and preview.shown:
            await preview.changed(change)
        if not runs.loaded:
            # What is being read now may be from just before.
            self._reload_soon()
            return
        effect = None if change.lost else await runs.apply(change.runs)
        if effect is None:
            self._reload_soon()
            return
        if runs.order != Order():
            self._reload_soon()
        if effect.members:
            lines.renew()
            self.bar.redraw()
            self._fetch_soon()
        else:
            lines.repaint_keys(effect.rows)
        self.query_one(FootBar).redraw()

    def fleet_changed(self) -> None:
        """What they ask stands in their rows."""
        if self.lines is not None:
            self.lines.refresh()

    def _reload_soon(self) -> None:
        if not self._reloading:
            self._reloading = True
            self.set_timer(RELOAD_SECONDS, self._reload_now)

    async def _reload_now(self) -> None:
        self._reloading = False
        await self.reload()

    async def reload(self) -> None:
        """Read the order again, and the rows."""
        if self.preview is not None and self.preview.shown:
            self.preview.look()
        if self.runs is not None:
            self.runs.distrust()
        await self._load()

    def tick(self) -> None:
        """Times go on."""
        lines = self.lines
        if self.runs is not None and lines is not None:
            seen = lines.visible_range
            lines.repaint_cells(self.runs.ticking(seen.start, seen.stop, TICK))
        preview = self.preview
        if preview is not None and preview.shown:
            preview.tick()

    # ------------------------------------------------------------ filter and order

    async def filter(self, text: str) -> None:
        """List the runs that match, the cursor at the top."""
        runs, lines = self.runs, self.lines
        if runs is None or lines is None:
            return
        runs.filter = text
        runs.show_new()
        runs.loaded = False
        await self._load()

    async def do_sort_next(self) -> None:
        runs = self.runs
        if runs is not None:
            at = SORTS.index(runs.order.by)
            await self._sort(Order(by=SORTS[(at + 1) % len(SORTS)]))

    async def do_sort_reverse(self) -> None:
        runs = self.runs
        if runs is not None:
            await self._sort(Order(by=runs.order.by, descending=not runs.order.descending))

    async def on_heading_chosen(self, event: Heading.Chosen) -> None:
        """A click on a title sorts by it, the second one the other way round."""
        runs = self.runs
        if runs is not None:
            same = runs.order.by == event.sort
            await self._sort(ordered_by(event.sort, descending=not runs.order.descending if same else True))

    async def _sort(self, order: Order) -> None:
        runs, lines = self.runs, self.lines
        if runs is None or lines is None:
            return
        runs.order = order
        runs.show_new()
        runs.loaded = False
        self.query_one(Heading).sorted_by(order.by, order.descending)
        await self._load()
        lines.go(0, by_hand=False)

    def do_list_follow(self) -> None:
        runs, lines = self.runs, self.lines
        if runs is not None and runs.order != Order():
            self.app.say("info", "follow: only the newest first can be followed")
        elif runs is not None and lines is not None:
            runs.follow = not runs.follow
            lines.pinned = runs.follow
            if runs.follow:
                self.do_list_show_new()
            self.bar.redraw()

    def do_list_show_new(self) -> None:
        runs, lines = self.runs, self.lines
        if runs is not None and lines is not None:
            runs.show_new()
            lines.renew()
            lines.go(0, by_hand=False)

    async def view(self, number: int) -> None:
        """Show a saved view."""
        view = self.app.views.at(number)
        if view is None:
            self.app.say("info", f"there is no view {number}; `:save NAME` keeps what is shown")
            return
        await self.show_view(view)

    async def show_view(self, view: View) -> None:
        """Another filter and order; neither where the filter cannot be understood."""
        runs, bar = self.runs, self.bar
        same = bar.text == view.filter
        if not bar.set(view.filter) or runs is None or runs.order == view.order:
            return
        # A filter that has changed is applied after this, and the list is read once.
        runs.order = view.order
        self.query_one(Heading).sorted_by(view.order.by, view.order.descending)
        if same:
            await self._sort(view.order)

    def save_view(self, name: str) -> None:
        """Keep filter and order. Raises `InvalidInput`."""
        order = self.runs.order if self.runs is not None else Order()
        view = View(name, self.bar.text, order.by, order.descending)
        digit = self.app.views.save(view)
        self.app.say("info", f"saved as {digit}: {name}")

    # ------------------------------------------------------------ what is chosen

    def head(self) -> RunHead | None:
        """The run at the cursor."""
        lines = self.lines
        return self.runs.head(lines.key) if self.runs is not None and lines is not None else None

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        """Enter goes to the run at the cursor, wherever one has clicked."""
        head = self.head()
        if head is not None:
            await self.app.go_to(f"run {head.id}")

    async def chosen(self) -> list[RunHead]:
        """The runs that are marked, or the one at the cursor: as they are now."""
        runs, lines = self.runs, self.lines
        if runs is None or lines is None:
            return []
        seqs = runs.ids(lines.chosen())
        found = [head for head in await self.client.heads(seqs) if head is not None]
        self._named = {head.seq: head.id for head in found}
        return found

    def named(self, key: object) -> str:
        """The id of a run; of those that were chosen last, for whatever is done is done to them."""
        return self._named.get(key, "") if isinstance(key, int) else ""

    async def _command(self, command: Command) -> None:
        if self.settled(command.verb):
            await command_runs(self.app, command, await self.chosen())

    async def do_run_log(self) -> None:
        """What the whole run has said."""
        head = self.head()
        if head is not None:
            await self.app.go_to(f"logs {head.id}")

    async def do_run_cancel(self) -> None:
        await self._command(CANCEL)

    async def do_run_pause(self) -> None:
        await self._command(PAUSE)

    async def do_run_resume(self) -> None:
        await self._command(RESUME)

    async def do_run_raise(self) -> None:
        """Let the run, or those that are marked, spend more than their limits say."""
        from fleetprompt.tui.raising import raise_limits

        if self.settled("raise"):
            await raise_limits(self.app, await self.chosen())

    async def do_run_retry(self) -> None:
        """Do again what went wrong."""
        from fleetprompt.tui.retrying import retry

        if self.settled("retry"):
            await retry(self.app, await self.chosen(), self._show_retried)

    async def do_run_retry_from(self) -> None:
        """Do the run again, or those that are marked, from a step; that of the cursor is offered."""
        from fleetprompt.tui.retrying import ask_from

        if self.settled("retry"):
            head = self.head()
            path = (head.error_step or head.step) if head is not None else ""
            ask_from(self.app, await self.chosen(), path, self._show_retried)

    async def _show_retried(self, run: str) -> str:
        """Put the cursor on a new run, where the filter shows it."""
        runs, lines = self.runs, self.lines
        if runs is not None and lines is not None and self.is_current:
            seq = (await self.client.run(run)).seq
            await runs.apply([run])
            if runs.find(seq) is None:
                runs.show_new()
            lines.renew()
            at = runs.find(seq)
            if at is not None:
                lines.go(at, by_hand=False)
                return "enter opens it"
        return f"`:run {short(run)}` opens it"

    async def do_run_resolve(self) -> None:
        """Answer for what is in doubt in the run, or in those that are marked."""
        from fleetprompt.tui.screens.resolve import resolve

        if self.settled("answer"):
            await resolve(self.app, await self.chosen())

    async def do_approval_approve(self) -> None:
        """Show what the run asks for, or those that are marked, and approve it then."""
        from fleetprompt.tui.deciding_many import decide_runs

        if self.settled("approve"):
            await decide_runs(self.app, await self.chosen(), "approved")

    async def do_approval_reject(self) -> None:
        """Reject it, with a reason."""
        from fleetprompt.tui.deciding_many import decide_runs

        if self.settled("reject"):
            await decide_runs(self.app, await self.chosen(), "rejected")


def _nothing(filter_: str, esc: str) -> tuple[Part, ...]:
    if filter_:
        return (("no run matches ", "dim"), (inert(filter_), ""), (f" — esc {esc}", "dim"))
    return (("there are no runs yet", "strong"), (" — g w shows the workflows, and starts one", "dim"))
