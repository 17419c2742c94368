"""Decisions about one approval: what is decided about is what was shown, read again before the question is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fleetprompt.client.deciding import DIGEST, Brief, brief, fingerprint
from fleetprompt.client.edited_call import changes
from fleetprompt.client.forms import form_fields
from fleetprompt.client.values import preview as on_one_line
from fleetprompt.client.wording import count
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.gate import form_problem, whom
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.state.approval_call import changed_matter
from fleetprompt.tui.state.approval_preview import bounded, closing, matter, preview, question, terms
from fleetprompt.tui.state.approval_value import Line
from fleetprompt.tui.state.form import Filled
from fleetprompt.tui.state.look import Look, Standing, look_at, standing
from fleetprompt.tui.voting import CHANGED, ON_ITS_WAY, VERBS, Decision, Vote, named, send

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole


async def approve(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Approve. `seen`: it is on the screen as a whole, as it was given here; else it is shown first."""
    look = await fresh(app, approval, "approved")
    if look is None:
        return
    fill = partial(_fill, app, look)
    corrects = standing_of(app, look).corrects
    if corrects and not look.approval.form:
        app.say("warning", f"not approved: {_has_voted(standing_of(app, look))}")
    elif corrects or form_problem(look.approval.form, {}):
        read_first(app, look, "fill in the form", fill, seen=seen)
    else:
        vote = Vote(brief(look.approval), "approved")
        edits = fill if look.approval.form else None
        read_first(app, look, "approve", partial(send, app, [vote]), seen=seen, edits=edits)


async def reject(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Reject, with a reason that is asked for."""
    look = await fresh(app, approval, "rejected")
    if look is None:
        return

    def reason(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(brief(look.approval), "rejected", text)])

    if seen:
        lines = [*named_one(brief(look.approval), look.approval.message), *instead_of(app, look)]
    else:
        lines = bounded(preview(look, standing_of(app, look), app.times, app.now(), still=True))
    app.push_screen(Ask("reject?", lines, "reject", placeholder="reason", needed=True, danger=True), reason)


async def comment(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Approve with a comment."""
    look = await fresh(app, approval, "approved")
    if look is None:
        return
    if form_problem(look.approval.form, {}):
        read_first(app, look, "fill in the form", partial(_fill, app, look), seen=seen)
        return

    def given(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(brief(look.approval), "approved", text)])

    def ask() -> None:
        lines = [*named_one(brief(look.approval), look.approval.message), *instead_of(app, look)]
        app.push_screen(Ask("approve with a comment", lines, "approve", placeholder="comment", needed=True), given)

    read_first(app, look, "write a comment", ask, seen=seen)


async def edit(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Fill in the form, and approve with what it holds then."""
    if not approval.form:
        app.say("info", "there is no form to fill in; c approves with a comment")
        return
    look = await fresh(app, approval, "approved")
    if look is not None:
        read_first(app, look, "edit the values", partial(_fill, app, look), seen=seen)


async def fresh(app: FleetConsole, approval: Approval, decision: Decision) -> Look | None:
    """The approval as it is now, if it is what was shown and this operator may decide about it, be it once more; else
    they are told."""
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
    problem = why_not(app, look, fingerprint(approval), once=False)
    if problem:
        app.say("warning", f"not {decision}: {problem}")
        return None
    return look


def why_not(app: FleetConsole, look: Look, shown: bytes = b"", *, once: bool = True) -> str:
    """Why this operator cannot decide about an approval, of which a version with the fingerprint `shown` was shown.
    `once`: what they have said before stays as it is, though it could be corrected."""
    now = look.approval
    state = standing_of(app, look)
    if now.status != "pending":
        return f"it is already {now.status}"
    if shown and shown != fingerprint(now):
        return CHANGED
    if look.missing:
        return "what would be executed is no longer in the store"
    if state.voted and (once or not state.corrects):
        return _has_voted(state)
    if not state.may and not state.voted:
        return f"it is for {inert(whom(now.approvers, now.barred))}, not for {inert(app.who)}"
    return ""


def standing_of(app: FleetConsole, look: Look) -> Standing:
    return standing(look.approval, look.votes, app.who, app.groups)


def _has_voted(state: Standing) -> str:
    missing = state.quorum - len(state.agreed)
    waits = f"; it waits for {count(missing, 'more approval')}" if missing > 0 and state.voted == "approved" else ""
    return f"you have {state.voted} it already{waits}"


def instead_of(app: FleetConsole, look: Look) -> list[Line]:
    """What the decision takes the place of."""
    state = standing_of(app, look)
    return [((f"you have {state.voted} it: this takes the place of that", "warning"),)] if state.corrects else []


def read_first(
    app: FleetConsole,
    look: Look,
    does: str,
    then: Callable[[], None],
    *,
    seen: bool,
    edits: Callable[[], None] | None = None,
    title: str = "approve this?",
) -> None:
    """Go on once the whole of what would be approved has been in sight: it is shown unless it was `seen` already."""
    if seen:
        then()
        return

    def answered(yes: bool | None) -> None:
        if yes:
            then()

    asked, about = question(look), matter(look)

    def blocks() -> list[Iterable[Line]]:
        now = app.now()
        return [asked, terms(look, standing_of(app, look), app.times, now), about, closing(look, app.times, now)]

    app.push_screen(ConfirmShown(title, blocks, does, edits=edits), answered)


def _fill(app: FleetConsole, look: Look, values: Mapping[str, Any] | None = None) -> None:
    """Have the form filled in, and approve with what it holds then: of a call that is changed, what it does so is shown
    first. `values` are what somebody has filled in before."""
    approval = look.approval
    short_one, is_call = brief(approval), approval.about == "tool"

    def give(answer: Filled) -> None:
        send(app, [Vote(short_one, "approved", answer.comment, answer.values)])

    def filled(answer: Filled | None) -> None:
        if answer is None:
            return
        if not is_call:
            give(answer)
        elif changes(approval, answer.values):
            app.run_worker(partial(_as_changed, app, look, answer), group="deciding")
        else:
            app.push_screen(sure(answer), lambda yes: give(answer) if yes else None)

    def sure(answer: Filled) -> Confirm:
        lines = [*named_one(short_one, approval.message), (), *held(answer)]
        return Confirm("approve with these values?", lines, "approve", danger=False)

    title, fields = "approve with these values", form_fields(approval.form)
    lines = named_one(short_one, approval.message)
    does, question = ("look at the call", None) if is_call else ("approve", sure)
    values = look.values if values is None else values
    dialog = FormDialog(title, lines, fields, does, values=values, comment="", question=question)
    app.push_screen(dialog, filled)


async def _as_changed(app: FleetConsole, look: Look, answer: Filled) -> None:
    """Show what a call does with what was filled in, and approve that."""
    console, approval = app.client, look.approval
    if console is None:
        return
    short_one, again = brief(approval), partial(_fill, app, look, answer.values)
    try:
        call = await console.edited(approval.id, answer.values)
    except FleetError as error:
        app.say("error", f"not approved: {error.message}")
        again()
        return

    def answered(yes: bool | None) -> None:
        if yes:
            send(app, [Vote(short_one, "approved", answer.comment, answer.values, call=call)])

    title, about = (
        "approve the call as you have changed it?",
        [*named_one(short_one, approval.message), (), *held(answer), ()],
    )
    matter = changed_matter(call, approval) if call is not None else []
    app.push_screen(ConfirmShown(title, lambda: [about, matter], "approve", edits=again), answered)


def held(answer: Filled) -> list[Line]:
    """What a form holds, a value on each line."""
    lines: list[Line] = [
        ((f"{inert(name)}: ", "key"), (on_one_line(value), "string")) for name, value in answer.values.items()
    ]
    return [*lines, *([(("comment: ", "key"), (inert(answer.comment), ""))] if answer.comment else [])]


def named_one(approval: Brief, message: str) -> list[Line]:
    """Which one it is that was seen."""
    return [
        *[((inert(line), "strong"),) for line in message.splitlines()],
        ((f"{named(approval)}  digest {approval.digest[:DIGEST]}", "dim"),),
    ]
