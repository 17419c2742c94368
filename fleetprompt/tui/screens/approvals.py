"""The inbox: what waits for a decision, and exactly what would be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize

from fleetprompt.client.wording import count, glyph
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.tui import deciding
from fleetprompt.tui.screens.base import QUIET, ConsoleScreen
from fleetprompt.tui.state.approval_preview import Line, closing, matter, opening
from fleetprompt.tui.state.approvals import Inbox, Look, Steady, look_at
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.bars import spread
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import Approval
    from fleetprompt.tui.actions import Action

SEVERAL = ("approval.approve", "approval.reject")
VOTES = (*SEVERAL, "approval.edit", "approval.comment")
BESIDE = 140
"""Columns from which list and preview stand side by side."""


class ApprovalLines(Lines):
    """The list of approvals."""

    source: Inbox


class ApprovalsScreen(ConsoleScreen):
    """Everything that waits for a decision, the oldest first."""

    PLACES: ClassVar = ("approvals",)
    NAME: ClassVar = "approvals"
    DEFAULT_CSS = """
    ApprovalsScreen .parts { layout: vertical; height: 1fr; }
    ApprovalsScreen .listed { height: 2fr; min-height: 4; }
    ApprovalsScreen TextPane { height: 3fr; }
    ApprovalsScreen.-beside .parts { layout: horizontal; }
    ApprovalsScreen.-beside .listed { height: 1fr; width: 5fr; }
    ApprovalsScreen.-beside TextPane { height: 1fr; width: 6fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.inbox: Inbox | None = None
        self.look: Look | None = None
        """What is shown below the list."""
        self._wanted = ""
        """The approval that the cursor is to stand on."""
        self._opening: list[Line] = []
        self._matter: list[Line] = []
        self._steady = Steady()
        self._by_hand = 0

    def body(self) -> ComposeResult:
        yield FilterBar(APPROVAL_FIELDS, self._about, self._values)
        with Container(classes="parts"):
            with Vertical(classes="listed"):
                yield Heading()
            yield TextPane()

    @property
    def lines(self) -> ApprovalLines | None:
        """The list, once the store is open."""
        found = self.query(ApprovalLines)
        return found.first() if found else None

    @property
    def pane(self) -> TextPane:
        """What is decided about."""
        return self.query_one(TextPane)

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width >= BESIDE, "-beside")

    async def opened(self, console: Console) -> None:
        """Show the list."""
        app = self.app
        self.inbox = Inbox(console, app.now, who=app.who, groups=app.groups)
        lines = ApprovalLines(self.inbox)
        self.query_one(Heading).watch_lines(lines)
        await self.query_one(".listed").mount(lines)
        lines.focus()
        await self._load()

    async def _values(self, name: str) -> Sequence[tuple[str, int]]:
        return self.inbox.values(name) if self.inbox is not None else ()

    def footer(self) -> Sequence[Action]:
        """What can be done now."""
        return [action for action in super().footer() if self._is_offered(action.id)]

    def _is_offered(self, id_: str) -> bool:
        if id_ not in VOTES:
            return True
        look, inbox, lines = self.look, self.inbox, self.lines
        if look is None or inbox is None or lines is None:
            return False
        if id_ in SEVERAL and lines.selection.marks:
            return True
        possible = look.approval.status == "pending" and inbox.standing(look.approval).may
        return possible and (id_ != "approval.edit" or bool(look.approval.form))

    # ------------------------------------------------------------ what is said about the list

    def _about(self, width: int) -> list[Part]:
        inbox = self.inbox
        text = self.query_one(FilterBar).text
        left: list[Part] = [("/ ", "accent"), (inert(text), "") if text else ("everything that waits", "dim")]
        if self.error is not None:
            return [*left, (f"  {inert(self.error.message)}", "error")]
        if inbox is None or not inbox.loaded:
            return spread(left, [("loading…", "dim")], width)
        right: list[Part] = []
        lines = self.lines
        if lines is not None and lines.selection.marks:
            right.append((f"{len(lines.selection.marks):,} marked  ", "accent"))
        more = "+" if inbox.more else ""
        if inbox.waiting == inbox.count:
            right.append((f"{inbox.count:,}{more} waiting", ""))
        else:
            right.append((f"{count(inbox.count, 'approval')}{more}, {inbox.waiting:,} waiting", ""))
        right.append((" · oldest first" if inbox.oldest_first else " · latest first", "dim"))
        return spread(left, right, width)

    def failed(self, error: FleetError) -> None:
        """Say why there is nothing."""
        super().failed(error)
        self.query_one(FilterBar).redraw()

    # ------------------------------------------------------------ reading

    async def _load(self) -> None:
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        try:
            await inbox.load()
            self.error = None
        except FleetError as error:
            self.error = error
        lines.empty = _nothing(inbox.filter)
        lines.renew()
        self._go_to_wanted()
        self.query_one(FilterBar).redraw()
        await self._look(by_hand=False)
        await self._fetch()

    def _go_to_wanted(self) -> None:
        inbox, lines = self.inbox, self.lines
        at = inbox.find(self._wanted) if inbox is not None and self._wanted else None
        if lines is not None and at is not None:
            self._wanted = ""
            lines.go(at)

    async def _fetch(self) -> None:
        inbox, lines = self.inbox, self.lines
        while inbox is not None and lines is not None and inbox.missing():
            if not await inbox.fetch():
                return
            lines.renew()
            self.query_one(FilterBar).redraw()

    def on_lines_shown(self) -> None:
        """Other lines are looked at: get what is missing of them."""
        if self.inbox is not None and self.inbox.loaded and self.inbox.missing():
            self.run_worker(self._fetch(), group="rows", exclusive=True)

    async def on_lines_moved(self) -> None:
        """Another approval: show it."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        by_hand = lines.moved_by_hand != self._by_hand
        self._by_hand = lines.moved_by_hand
        if inbox.keep(lines.key):
            lines.renew()
        self.query_one(FilterBar).redraw()
        await self._look(by_hand=by_hand)

    def on_lines_marked(self) -> None:
        self.query_one(FilterBar).redraw()
        self.refresh_bars()

    async def _look(self, *, by_hand: bool) -> None:
        """Read and show the approval at the cursor."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        before = self.look
        listed = inbox.approval(lines.key)
        try:
            self.look = await look_at(self.client, listed.id) if listed is not None else None
        except NotFound:
            self.look = None
        except FleetError as error:
            self.look = None
            self.app.say("error", error.message)
        look = self.look
        self._steady.show(look.identity if look is not None else b"", self.app.now(), by_hand=by_hand)
        if look is not None:
            inbox.note(look)
            lines.repaint_keys([look.approval.id])
        self._matter = matter(look) if look is not None else []
        same_one = before is not None and look is not None and before.approval.id == look.approval.id
        self._draw(keep=same_one)
        self.refresh_bars()

    def _draw(self, *, keep: bool) -> None:
        pane, look, inbox = self.pane, self.look, self.inbox
        pane.display = look is not None
        if look is None or inbox is None:
            return
        approval = look.approval
        times, now = self.app.times, self.app.now()
        self._opening = opening(look, inbox.standing(approval), times, now)
        pane.show(self._opening, self._matter, closing(look, times, now), keep=keep)
        status = "waiting" if approval.status == "pending" else approval.status
        pane.entitle(f"{glyph(status)} {approval.id}", pressing=approval.status == "pending")

    async def changed(self, change: Change) -> None:
        """Approvals have come, gone, or moved on."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None or not inbox.loaded:
            return
        # What the cursor is on stays there, also where the list has not been told yet that it has moved.
        inbox.kept = lines.key
        if await inbox.apply(change):
            for key in [key for key in lines.selection.marks if inbox.find(key) is None]:
                del lines.selection.marks[key]
            lines.renew()
            self._go_to_wanted()
            self.query_one(FilterBar).redraw()
            await self._look(by_hand=False)
            self.on_lines_shown()
        elif change.signals and self.look is not None and self.look.approval.status == "pending":
            # A vote that no engine has carried out yet is no fact.
            await self._look(by_hand=False)

    async def reload(self) -> None:
        """Read everything again."""
        await self._load()

    def tick(self) -> None:
        """Times go on."""
        inbox, lines, look = self.inbox, self.lines, self.look
        if inbox is None or lines is None:
            return
        seen = lines.visible_range
        lines.repaint(inbox.moved_on(seen.start, seen.stop))
        if look is not None:
            now = opening(look, inbox.standing(look.approval), self.app.times, self.app.now())
            if now != self._opening:
                self._draw(keep=True)

    # ------------------------------------------------------------ filter

    async def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Another filter: the cursor goes to the top."""
        await self.apply_filter(event.text)

    async def apply_filter(self, text: str) -> None:
        """Show the approvals that match."""
        bar = self.query_one(FilterBar)
        if bar.text != text:
            bar.set(text)
            return
        inbox = self.inbox
        if inbox is None:
            return
        inbox.filter = text
        inbox.loaded = False
        inbox.keep(None)
        await self._load()

    async def seek(self, approval: Approval) -> None:
        """Put the cursor on an approval; one that waits no more is looked for by its id."""
        self._wanted = approval.id
        await self.apply_filter("" if approval.status == "pending" else f"{approval.id} status:{approval.status}")
        self._go_to_wanted()

    def on_filter_bar_closed(self) -> None:
        if self.lines is not None:
            self.lines.focus()

    def do_filter_edit(self) -> None:
        self.query_one(FilterBar).edit()

    def do_filter_clear(self) -> None:
        self.query_one(FilterBar).set("")

    def step_back(self) -> bool:
        """Esc goes back to the list, takes away marks, then the filter."""
        lines = self.lines
        if lines is not None and self.pane.has_focus:
            lines.focus()
            return True
        if lines is not None and (lines.selection.marks or lines.selection.ranging):
            lines.do_list_unmark_all()
            return True
        if self.query_one(FilterBar).text:
            self.do_filter_clear()
            return True
        return False

    # ------------------------------------------------------------ deciding

    async def on_lines_opened(self) -> None:
        """Enter: the run that asks."""
        await self.do_approval_run()

    async def do_approval_run(self) -> None:
        if self.look is not None:
            approval = self.look.approval
            await self.app.go_to(f"run {approval.run} {approval.path}")

    def do_approval_down(self) -> None:
        self.pane.action_scroll_by(max(1, self.pane.size.height // 2))

    def do_approval_up(self) -> None:
        self.pane.action_scroll_by(-max(1, self.pane.size.height // 2))

    def do_approval_read(self) -> None:
        """Into the preview, and back to the list."""
        if self.pane.has_focus and self.lines is not None:
            self.lines.focus()
        else:
            self.pane.focus()

    def settled(self, what: str) -> bool:
        """Whether what is shown has been there long enough to be meant, and is what the cursor is on."""
        lines, look = self.lines, self.look
        if look is None or lines is None:
            self.app.say("warning", f"{what}: nothing waits here")
        elif look.approval.id != lines.key:
            self.app.say("warning", f"{what}: it is not shown yet; look at it first")
        elif not self._steady.settled(self.app.now(), QUIET):
            self.app.say("warning", f"{what}: what is shown has just changed; look again")
        else:
            return True
        return False

    async def _several(self) -> list[Approval]:
        """The marked approvals as they are listed; those that are not listed any more as they are now."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return []
        found: list[Approval] = []
        for key in lines.selection.marks:
            listed = inbox.approval(str(key))
            try:
                found.append(listed or (await self.client.approval(str(key)))[0])
            except NotFound:
                continue
        return found

    def _whole(self) -> bool:
        """All that is decided about can be seen, or was read to its end."""
        pane = self.query_one(TextPane)
        return pane.size.height > 0 and pane.size.width > 0 and not pane.below

    async def do_approval_approve(self) -> None:
        if not self.settled("approve"):
            return
        if marked := await self._several():
            await deciding.approve(self.app, marked)
        elif self.look is not None:
            await deciding.approve(self.app, [self.look.approval], seen=self._whole())

    async def do_approval_reject(self) -> None:
        if not self.settled("reject"):
            return
        if marked := await self._several():
            await deciding.reject(self.app, marked)
        elif self.look is not None:
            await deciding.reject(self.app, [self.look.approval], seen=self._whole())

    async def do_approval_edit(self) -> None:
        if self.settled("edit") and self.look is not None:
            await deciding.edit(self.app, self.look.approval, seen=self._whole())

    async def do_approval_comment(self) -> None:
        if self.settled("comment") and self.look is not None:
            await deciding.comment(self.app, self.look.approval, seen=self._whole())


def _nothing(filter_: str) -> tuple[Part, ...]:
    if filter_:
        return (("no approval matches ", "dim"), (inert(filter_), ""), (" — esc shows all that wait", "dim"))
    return (("nothing waits for a decision", "strong"), (" — /status:approved shows what was decided", "dim"))
