"""The inbox: what waits for a decision, and exactly what would be done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.timer import Timer

from fleetprompt.client.deciding import fingerprint
from fleetprompt.client.wording import count, glyph
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.tui import deciding, deciding_calls, deciding_many
from fleetprompt.tui.actions import BY_ID
from fleetprompt.tui.screens.base import QUIET
from fleetprompt.tui.screens.filtered import FilteredScreen
from fleetprompt.tui.state.approval_call import CORRECTING, can_be
from fleetprompt.tui.state.approval_preview import closing, matter, question, same_matter, terms
from fleetprompt.tui.state.approval_value import Line
from fleetprompt.tui.state.approvals import KINDS, Inbox
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.look import Look, look_at
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.heading import Heading
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Change, Console
    from fleetprompt.engine.ports import Approval
    from fleetprompt.tui.actions import Action
    from fleetprompt.tui.app import FleetConsole

APPROVE = "approval.approve"
VOTES = (APPROVE, "approval.reject", "approval.edit", "approval.comment")
CALLS = ("approval.grant_run", "approval.grant_workflow", "approval.end", "approval.escalate")
LEAST_SECONDS = 0.2
"""How often it is looked whether what is marked still waits, at most."""
SHARE = 10
"""And not again for so many times what looking has taken."""
BESIDE = 140
"""Columns from which list and preview stand side by side."""


class One(Protocol):
    """Decides about an approval that was shown."""

    async def __call__(self, app: FleetConsole, approval: Approval, *, seen: bool = False) -> None: ...


class Many(Protocol):
    """Decides about approvals by their ids, of which these fingerprints were shown."""

    async def __call__(self, app: FleetConsole, ids: Sequence[str], *, shown: Mapping[str, bytes]) -> None: ...


class ApprovalLines(Lines):
    """The list of approvals. All that match can be marked, also those that were not read yet."""

    source: Inbox

    async def listed(self) -> Iterable[object]:
        return await self.source.everything()

    async def do_list_mark_all(self) -> None:
        self.mark(await self.source.everything())


class ApprovalsScreen(FilteredScreen[ApprovalLines]):
    """Everything that waits for a decision, the oldest first."""

    PLACES: ClassVar = ("approvals",)
    NAME: ClassVar = "approvals"
    EVERYTHING: ClassVar = "everything that waits"
    ONE: ClassVar = "approval"
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
        self._looks = 0
        self._chosen: object | None = None
        """The approval to which the operator has moved the cursor, until it is shown."""
        self._terms: list[Line] = []
        self._question: Iterable[Line] = ()
        self._matter: Iterable[Line] = ()
        self._due: Timer | None = None
        self._took = 0.0

    def body(self) -> ComposeResult:
        yield FilterBar(APPROVAL_FIELDS, self.about, self._values)
        with Container(classes="parts"):
            with Vertical(classes="listed"):
                yield Heading()
            yield TextPane()

    @property
    def pane(self) -> TextPane:
        """What is decided about."""
        return self.query_one(TextPane)

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width >= BESIDE, "-beside")

    async def opened(self, console: Console) -> None:
        """Show the list."""
        app = self.app
        self.inbox = Inbox(console, app.now, who=app.who, groups=app.groups, voting=app.voting)
        lines = ApprovalLines(self.inbox)
        self.query_one(Heading).watch_lines(lines)
        await self.query_one(".listed").mount(lines)
        self.lines = lines
        lines.focus()
        await self._load()

    async def _values(self, name: str) -> Sequence[tuple[str, int]]:
        return self.inbox.values(name) if self.inbox is not None else ()

    def footer(self) -> Sequence[Action]:
        """What can be done now, and whether it is done at once."""
        offered = [action for action in super().footer() if self._is_offered(action.id)]
        at_once = self._approves_at_once()
        return [replace(each, label="approve now") if at_once and each.id == APPROVE else each for each in offered]

    def _approves_at_once(self) -> bool:
        """No question comes after the key, for there is nothing to fill in and all of it is in sight."""
        look, lines = self.look, self.lines
        if look is None or lines is None or lines.selection.marks or form_problem(look.approval.form, {}):
            return False
        return self.pane.ended

    def on_text_pane_read(self) -> None:
        """The end of what is decided about has come into sight, or has gone out of it."""
        self.refresh_bars()

    def _is_offered(self, id_: str) -> bool:
        if id_ not in VOTES and id_ not in CALLS:
            return True
        look, inbox, lines = self.look, self.inbox, self.lines
        if look is None or inbox is None or lines is None or self.app.votes_not_why:
            return False
        if lines.selection.marks:
            return id_ in VOTES
        state = inbox.standing(look.approval)
        possible = state.may or (state.corrects and id_ in CORRECTING)
        return look.approval.status == "pending" and possible and can_be(id_, look.approval)

    # ------------------------------------------------------------ what is said about the list

    def said(self) -> Sequence[Part] | None:
        """How many there are, and how many of them wait."""
        inbox = self.inbox
        if inbox is None or not inbox.loaded:
            return None
        more = "+" if inbox.more else ""
        if inbox.waiting == inbox.count:
            said = f"{inbox.count:,}{more} waiting"
        else:
            said = f"{count(inbox.count, 'approval')}{more}, {inbox.waiting:,} waiting"
        return [(said, ""), (" · oldest first" if inbox.oldest_first else " · latest first", "dim")]

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
        self.bar.redraw()
        self._prune_soon()
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
            self.bar.redraw()

    def on_lines_shown(self) -> None:
        """Other lines are looked at: get what is missing of them."""
        if self.inbox is not None and self.inbox.loaded and self.inbox.missing():
            self.run_worker(self._fetch, group="rows", exclusive=True)

    async def on_lines_moved(self) -> None:
        """Another approval: show it."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        by_hand = lines.moved_by_hand != self._by_hand
        self._by_hand = lines.moved_by_hand
        if inbox.keep(lines.key):
            lines.renew()
        self.bar.redraw()
        await self._look(by_hand=by_hand)

    def on_lines_marked(self) -> None:
        # Beside what all lists do then: Textual asks each class for itself.
        self.refresh_bars()

    async def _look(self, *, by_hand: bool) -> None:
        """Read and show the approval at the cursor."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        if by_hand:
            self._chosen = lines.key
        self._looks += 1
        current = self._looks
        look = await self._read(inbox.approval(lines.key))
        if current != self._looks:
            # A later look is on its way, of which this one must not take the place.
            return
        before, self.look = self.look, look
        chosen, self._chosen = self._chosen, None
        identity, at = (look.identity, look.approval.id) if look is not None else (b"", None)
        self.steady.show(identity, self.app.now(), by_hand=at is not None and at == chosen)
        if look is not None:
            if inbox.note(look):
                lines.renew()
            else:
                lines.repaint_keys([look.approval.id])
        if look is not None and not (before is not None and same_matter(before, look)):
            self._question, self._matter = question(look), matter(look)
        same_one = before is not None and look is not None and before.approval.id == look.approval.id
        self._draw(keep=same_one)
        self.refresh_bars()

    async def _read(self, listed: Approval | None) -> Look | None:
        try:
            return await look_at(self.client, listed.id, self.look) if listed is not None else None
        except NotFound:
            return None
        except FleetError as error:
            self.app.say("error", error.message)
            return None

    def _draw(self, *, keep: bool) -> None:
        pane, look, inbox = self.pane, self.look, self.inbox
        pane.display = look is not None
        if look is None or inbox is None:
            return
        approval = look.approval
        times, now = self.app.times, self.app.now()
        self._terms = self._terms_of(look, inbox)
        edit = self.app.keymap.shown(BY_ID["approval.edit"]) if approval.status == "pending" else ""
        pane.show(self._question, self._terms, self._matter, closing(look, times, now, edit), keep=keep)
        status = "waiting" if approval.status == "pending" else approval.status
        pane.entitle(f"{glyph(status)} {approval.id}", pressing=approval.status == "pending")

    def _terms_of(self, look: Look, inbox: Inbox) -> list[Line]:
        approval = look.approval
        state, deciding = inbox.standing(approval), inbox.is_deciding(approval)
        return terms(look, state, self.app.times, self.app.now(), deciding=deciding)

    def voting_changed(self) -> None:
        """What is decided about says so until the answer is there."""
        lines = self.lines
        if lines is not None:
            lines.refresh()
            self._draw(keep=True)

    # ------------------------------------------------------------ marks

    def _prune_soon(self) -> None:
        """Take marks away from what waits no more: it may have been decided elsewhere."""
        lines = self.lines
        if self._due is None and lines is not None and lines.selection.marks:
            self._due = self.set_timer(max(LEAST_SECONDS, self._took * SHARE), self._prune)

    async def _prune(self) -> None:
        self._due = None
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        lines.unmark(await inbox.outlived(lines.selection.marks))
        self._took = loop.time() - began

    async def changed(self, change: Change) -> None:
        """Approvals have come, gone, or moved on."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None or not inbox.loaded:
            return
        # What the cursor is on stays there, also where the list has not been told yet that it has moved.
        inbox.kept = lines.key
        if change.lost or KINDS & change.kinds:
            self._prune_soon()
        if await inbox.apply(change):
            lines.renew()
            self._go_to_wanted()
            self.bar.redraw()
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
        if look is not None and self._terms_of(look, inbox) != self._terms:
            self._draw(keep=True)

    # ------------------------------------------------------------ filter

    async def filter(self, text: str) -> None:
        """List the approvals that match, the cursor at the top."""
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

    def leave_details(self) -> bool:
        """Back from what is decided about."""
        inside = self.pane.has_focus
        if inside and self.lines is not None:
            self.lines.focus()
        return inside

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
        elif not self.steady.settled(self.app.now(), QUIET):
            self.app.say("warning", f"{what}: what is shown has just changed; look again")
        else:
            return True
        return False

    async def _marked(self) -> tuple[list[str], dict[str, bytes]] | None:
        """What is marked and still waits, and what of it was shown; None, and the operator is told, where marks were
        all that was meant and nothing is left of it. Without marks it is empty."""
        inbox, lines = self.inbox, self.lines
        if inbox is None or lines is None or not lines.selection.marks:
            return [], {}
        await self._prune()
        marks = [str(key) for key in lines.selection.marks]
        if not marks:
            self.app.say("warning", "nothing that was marked waits any more")
            return None
        listed = (inbox.approval(key) for key in marks)
        return marks, {row.id: fingerprint(row) for row in listed if row is not None}

    async def do_approval_approve(self) -> None:
        await self._decide("approve", deciding.approve, partial(deciding_many.decide, decision="approved"))

    async def do_approval_reject(self) -> None:
        await self._decide("reject", deciding.reject, partial(deciding_many.decide, decision="rejected"))

    async def do_approval_edit(self) -> None:
        await self._decide("edit", deciding.edit, deciding_many.edit)

    async def do_approval_comment(self) -> None:
        await self._decide("comment", deciding.comment, deciding_many.comment)

    async def do_approval_grant_run(self) -> None:
        await self._decide("allow in run", partial(deciding_calls.grant, scope="run"), deciding_calls.one_by_one)

    async def do_approval_grant_workflow(self) -> None:
        grant = partial(deciding_calls.grant, scope="workflow")
        await self._decide("allow in workflow", grant, deciding_calls.one_by_one)

    async def do_approval_end(self) -> None:
        await self._decide("end the agent", deciding_calls.end, deciding_calls.one_by_one)

    async def do_approval_escalate(self) -> None:
        await self._decide("hand on", deciding_calls.escalate, deciding_calls.one_by_one)

    async def _decide(self, what: str, one: One, many: Many) -> None:
        """Decide about what is marked, or else about what is shown."""
        inbox = self.inbox
        if inbox is None or not self.settled(what):
            return
        marked = await self._marked()
        if marked is None:
            return
        ids, shown = marked
        listed = inbox.approval(ids[0]) if len(ids) == 1 else None
        if listed is not None:
            await one(self.app, listed)
        elif ids:
            await many(self.app, ids, shown=shown)
        elif self.look is not None:
            await one(self.app, self.look.approval, seen=self.pane.ended)


def _nothing(filter_: str) -> tuple[Part, ...]:
    if filter_:
        return (("no approval matches ", "dim"), (inert(filter_), ""), (" — esc shows all that wait", "dim"))
    return (("nothing waits for a decision", "strong"), (" — /status:approved shows what was decided", "dim"))
