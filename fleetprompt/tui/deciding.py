"""Decisions about one approval: what is decided about is what was shown, read again before the question is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetprompt.client.deciding import DIGEST, Brief, brief, fingerprint
from fleetprompt.client.forms import form_fields
from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval
from fleetprompt.tui.screens.dialog import Ask
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.state.approval_preview import Line, bounded, preview
from fleetprompt.tui.state.approvals import Look, Standing, look_at, standing
from fleetprompt.tui.state.form import Filled
from fleetprompt.tui.voting import CHANGED, ON_ITS_WAY, VERBS, Decision, Vote, named, send

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


async def approve(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Approve. `seen`: it is on the screen as a whole, as it was given here; else it is shown first."""
    look = await _fresh(app, approval, "approved")
    if look is None:
        return
    if form_problem(look.approval.form, {}):
        _fill(app, look, seen=seen)
    elif seen:
        send(app, [Vote(brief(look.approval), "approved")])
    else:

        def answered(yes: bool | None) -> None:
            if yes:
                send(app, [Vote(brief(look.approval), "approved")])

        lines = preview(look, _standing(app, look), app.times, app.now())
        app.push_screen(ConfirmShown("approve this?", lines, "approve"), answered)


async def reject(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Reject, with a reason that is asked for."""
    look = await _fresh(app, approval, "rejected")
    if look is None:
        return

    def reason(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(brief(look.approval), "rejected", text)])

    lines = _lines(app, look, seen=seen)
    app.push_screen(Ask("reject?", lines, "reject", placeholder="reason", needed=True, danger=True), reason)


async def comment(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Approve with a comment."""
    look = await _fresh(app, approval, "approved")
    if look is None:
        return
    if form_problem(look.approval.form, {}):
        _fill(app, look, seen=seen, comment="")
        return

    def given(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(brief(look.approval), "approved", text)])

    lines = _lines(app, look, seen=seen)
    app.push_screen(Ask("approve with a comment", lines, "approve", placeholder="comment", needed=True), given)


async def edit(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Fill in the form, and approve with what it holds then."""
    if not approval.form:
        app.say("info", "there is no form to fill in; c approves with a comment")
        return
    look = await _fresh(app, approval, "approved")
    if look is not None:
        _fill(app, look, seen=seen, comment="")


async def _fresh(app: FleetConsole, approval: Approval, decision: Decision) -> Look | None:
    """The approval as it is now, if it is what was shown and this operator may decide about it; else they are told."""
    console = app.client
    if not app.may_change(VERBS[decision]) or console is None:
        return None
    if (approval.id, approval.level) in app.voting:
        app.say("info", f"{VERBS[decision]}: {ON_ITS_WAY}")
        return None
    try:
        look = await look_at(console, approval.id)
    except FleetError as error:
        app.say("error", f"not {decision}: {error.message}")
        return None
    problem = why_not(app, look, fingerprint(approval))
    if problem:
        app.say("warning", f"not {decision}: {problem}")
        return None
    return look


def why_not(app: FleetConsole, look: Look, shown: bytes = b"") -> str:
    """Why this operator cannot decide about an approval, of which a version with the fingerprint `shown` was shown."""
    now = look.approval
    state = _standing(app, look)
    if now.status != "pending":
        return f"it is already {now.status}"
    if shown and shown != fingerprint(now):
        return CHANGED
    if look.missing:
        return "what would be executed is no longer in the store"
    if state.voted:
        return f"you have {state.voted} it already{_waits_for(state)}"
    if not state.may:
        return f"it is for {inert(', '.join(now.approvers))}, not for {inert(app.who)}"
    return ""


def _standing(app: FleetConsole, look: Look) -> Standing:
    return standing(look.approval, look.votes, app.who, app.groups)


def _waits_for(state: Standing) -> str:
    missing = state.quorum - len(state.agreed)
    return f"; it waits for {count(missing, 'more approval')}" if missing > 0 and state.voted == "approved" else ""


def _fill(app: FleetConsole, look: Look, *, seen: bool, comment: str | None = None) -> None:
    approval = look.approval

    def filled(answer: Filled | None) -> None:
        if answer is not None:
            send(app, [Vote(brief(approval), "approved", answer.comment, answer.values)])

    lines = _lines(app, look, seen=seen)
    fields = form_fields(approval.form)
    app.push_screen(
        FormDialog("approve with these values", lines, fields, "approve", values=look.values, comment=comment), filled
    )


def _lines(app: FleetConsole, look: Look, *, seen: bool) -> Sequence[Line]:
    """What a question says of what is decided about: all of it, unless it has been seen."""
    if seen:
        return named_one(brief(look.approval), look.approval.message)
    return bounded(preview(look, _standing(app, look), app.times, app.now()))


def named_one(approval: Brief, message: str) -> list[Line]:
    """Which one it is that was seen."""
    return [
        *[((inert(line), "strong"),) for line in message.splitlines()],
        ((f"{named(approval)}  digest {approval.digest[:DIGEST]}", "dim"),),
    ]
