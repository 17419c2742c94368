"""Decisions: approvals, one or many. What is decided is what was shown, read again before it is sent, and sent once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from fleetprompt.client.deciding import DIGEST
from fleetprompt.client.forms import form_fields
from fleetprompt.client.protocol import Console, why_queued
from fleetprompt.client.wording import GLYPHS, count, short, sign
from fleetprompt.engine.core.errors import FleetError, Refused
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Page, RunHead
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.state.approval_preview import Line, briefly, preview
from fleetprompt.tui.state.approvals import Look, Standing, look_at, same, standing
from fleetprompt.tui.state.form import Filled

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

Decision = Literal["approved", "rejected"]
VERBS: dict[Decision, str] = {"approved": "approve", "rejected": "reject"}
SHOWN_ONE_BY_ONE = 3
"""Refusals that are told one by one; the others are among the messages."""
MOST = 1_000
"""Approvals of marked runs that are decided in one go."""
CHANGED = "it has changed since it was shown; look at it again"


class Vote(Struct, frozen=True):
    """A decision about an approval as it was shown."""

    approval: Approval
    decision: Decision
    comment: str = ""
    values: dict[str, Any] = {}


async def pending_of(console: Console, heads: Sequence[RunHead]) -> list[Approval]:
    """What runs ask, the oldest first."""
    runs = [head.id for head in heads if head.finished_at is None]
    found: list[Approval] = []
    for at in range(0, len(runs), 50):
        rows, _ = await console.approvals(
            f"run:{','.join(runs[at : at + 50])} status:pending", Page(limit=MOST, oldest_first=True)
        )
        found += rows
    return sorted(found, key=lambda approval: approval.requested_at)[:MOST]


# ---------------------------------------------------------------- the four verbs


async def approve(app: FleetConsole, approvals: Sequence[Approval], *, seen: bool = False) -> None:
    """Approve. `seen`: the only one is on the screen as a whole, as it was given here; else it is shown first."""
    await _decide(app, approvals, "approved", seen=seen)


async def reject(app: FleetConsole, approvals: Sequence[Approval], *, seen: bool = False) -> None:
    """Reject, with a reason that is asked for."""
    await _decide(app, approvals, "rejected", seen=seen)


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
            send(app, [Vote(look.approval, "approved", text)])

    lines = _named_one(look.approval) if seen else _shown(app, look)
    app.push_screen(Ask("approve with a comment", lines, "approve", placeholder="comment", needed=True), given)


async def edit(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Fill in the form, and approve with what it holds then."""
    if not approval.form:
        app.say("info", "there is no form to fill in; c approves with a comment")
        return
    look = await _fresh(app, approval, "approved")
    if look is not None:
        _fill(app, look, seen=seen, comment="")


async def _decide(app: FleetConsole, approvals: Sequence[Approval], decision: Decision, *, seen: bool) -> None:
    verb = VERBS[decision]
    if not app.may_change(verb):
        return
    if not approvals:
        app.say("warning", f"there is nothing to {verb}")
    elif len(approvals) == 1:
        look = await _fresh(app, approvals[0], decision)
        if look is not None:
            _decide_one(app, look, decision, seen=seen)
    else:
        await _decide_many(app, approvals, decision)


async def _fresh(app: FleetConsole, approval: Approval, decision: Decision) -> Look | None:
    """The approval as it is now, if it is what was shown and this operator may decide about it; else they are told."""
    console = app.client
    if console is None or not app.may_change(VERBS[decision]):
        return None
    if _key(approval) in app.voting:
        return None
    try:
        look = await look_at(console, approval.id)
    except FleetError as error:
        app.say("error", f"not {decision}: {error.message}")
        return None
    problem = _why_not(app, look, approval)
    if problem:
        app.say("warning", f"not {decision}: {problem}")
        return None
    return look


def _why_not(app: FleetConsole, look: Look, shown: Approval) -> str:
    now = look.approval
    state = _standing(app, look)
    if now.status != "pending":
        return f"it is already {now.status}"
    if not same(shown, now):
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


def _decide_one(app: FleetConsole, look: Look, decision: Decision, *, seen: bool) -> None:
    approval = look.approval
    lines = _named_one(approval) if seen else _shown(app, look)
    if decision == "rejected":

        def reason(text: str | None) -> None:
            if text is not None:
                send(app, [Vote(approval, "rejected", text)])

        app.push_screen(Ask("reject?", lines, "reject", placeholder="reason", needed=True, danger=True), reason)
    elif form_problem(approval.form, {}):
        _fill(app, look, seen=seen)
    elif seen:
        send(app, [Vote(approval, "approved")])
    else:

        def answered(yes: bool | None) -> None:
            if yes:
                send(app, [Vote(approval, "approved")])

        app.push_screen(Confirm("approve this?", lines, "approve", danger=False), answered)


def _fill(app: FleetConsole, look: Look, *, seen: bool, comment: str | None = None) -> None:
    approval = look.approval

    def filled(answer: Filled | None) -> None:
        if answer is not None:
            send(app, [Vote(approval, "approved", answer.comment, answer.values)])

    lines = _named_one(approval) if seen else _shown(app, look)
    fields = form_fields(approval.form)
    app.push_screen(
        FormDialog("approve with these values", lines, fields, "approve", values=look.values, comment=comment), filled
    )


# ---------------------------------------------------------------- many


async def _decide_many(app: FleetConsole, approvals: Sequence[Approval], decision: Decision) -> None:
    console = app.client
    assert console is not None
    fitting: list[Approval] = []
    left: list[str] = []
    for approval in approvals[:MOST]:
        problem = await _why_not_among_many(app, console, approval, decision)
        if problem:
            left.append(f"{inert(approval.path)} of {inert(approval.workflow)}: {problem}")
        else:
            fitting.append(approval)
    if not fitting:
        app.say("warning", f"none of {count(len(approvals), 'approval')} can be {decision}: {left[0]}")
        return
    lines = [line for approval in fitting for line in _named(approval)]
    if left:
        lines += [(), ((f"{len(left):,} more cannot be {decision} and stay as they are:", "dim"),)]
        lines += [((f"  {text}", "dim"),) for text in left]
    title = f"{VERBS[decision]} {count(len(fitting), 'approval')}?"
    if decision == "approved":

        def answered(yes: bool | None) -> None:
            if yes:
                send(app, [Vote(approval, "approved") for approval in fitting])

        app.push_screen(Confirm(title, lines, "approve all of them", danger=False), answered)
        return

    def reason(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(approval, "rejected", text) for approval in fitting])

    app.push_screen(Ask(title, lines, "reject all of them", placeholder="reason", needed=True, danger=True), reason)


async def _why_not_among_many(app: FleetConsole, console: Console, approval: Approval, decision: Decision) -> str:
    if _key(approval) in app.voting:
        return "a decision is on its way"
    try:
        look = await look_at(console, approval.id)
    except FleetError as error:
        return error.message
    problem = _why_not(app, look, approval)
    if not problem and decision == "approved" and form_problem(approval.form, {}):
        return "its form has to be filled in (e)"
    return problem


# ---------------------------------------------------------------- sending


def _key(approval: Approval) -> tuple[str, int]:
    return approval.id, approval.level


def send(app: FleetConsole, votes: Sequence[Vote]) -> None:
    """Send votes, each by itself, and tell what came of them. What is on its way already is not sent again."""
    fresh = [vote for vote in votes if _key(vote.approval) not in app.voting]
    if fresh and app.may_change(VERBS[fresh[0].decision]):
        app.voting.update(_key(vote.approval) for vote in fresh)
        app.run_worker(_send_all(app, fresh), group="votes")


async def _send_all(app: FleetConsole, votes: Sequence[Vote]) -> None:
    console = app.client
    assert console is not None
    done: list[str] = []
    refused: list[str] = []
    queued = ""
    try:
        for vote in votes:
            approval = vote.approval
            name = f"{inert(approval.path)} of {inert(approval.workflow)} {short(approval.run)}"
            try:
                said, why = await _send(app, console, vote)
            except FleetError as error:
                refused.append(f"{name}: {error.message}")
            else:
                done.append(f"{name}{said}")
                queued = why or queued
            finally:
                app.voting.discard(_key(approval))
    finally:
        app.voting.difference_update(_key(vote.approval) for vote in votes)
    _tell(app, votes[0].decision, done, refused, queued)


async def _send(app: FleetConsole, console: Console, vote: Vote) -> tuple[str, str]:
    """What is said of a vote that counts, and why it is not carried out yet. Raises `FleetError`."""
    approval = vote.approval
    now, _ = await console.approval(approval.id)
    if now.status != "pending":
        raise Refused(f"it is already {now.status}")
    if not same(approval, now):
        raise Refused(CHANGED)
    result = await console.vote(
        approval.id,
        vote.decision,
        by=app.who,
        comment=vote.comment,
        values=vote.values,
        digest=approval.digest,
        level=approval.level,
        via="console",
    )
    if result.status == "refused":
        raise Refused(result.reason)
    after, votes = await console.approval(approval.id)
    state = standing(after, votes, app.who, app.groups)
    said = f", digest {approval.digest[:DIGEST]}"
    if after.status == "pending" and approval.quorum > 1:
        said += f" — {state.words}"
    return said, why_queued(result)


def _tell(app: FleetConsole, decision: Decision, done: list[str], refused: list[str], queued: str) -> None:
    if done:
        named = done[0] if len(done) == 1 else f"{len(done)} of {len(done) + len(refused)} approvals"
        app.say("warning" if queued else "info", f"{decision}: {named}{' — ' + queued if queued else ''}")
        for text in done if len(done) > 1 else ():
            app.say("info", f"{decision}: {text}", quiet=True)
    for text in refused[:SHOWN_ONE_BY_ONE]:
        app.say("error", f"not {decision}: {text}")
    if len(refused) > SHOWN_ONE_BY_ONE:
        app.say("error", f"not {decision}: {len(refused) - SHOWN_ONE_BY_ONE} more; see the messages (g m)")
        for text in refused[SHOWN_ONE_BY_ONE:]:
            app.say("error", f"not {decision}: {text}", quiet=True)


# ---------------------------------------------------------------- how they are named


def _shown(app: FleetConsole, look: Look) -> list[Line]:
    return preview(look, _standing(app, look), app.times, app.now())


def _named_one(approval: Approval) -> list[Line]:
    return [
        *[((inert(line), "strong"),) for line in approval.message.splitlines()],
        ((f"{inert(approval.path)} of {inert(approval.workflow)}  digest {approval.digest[:DIGEST]}", "dim"),),
    ]


def _named(approval: Approval) -> list[Line]:
    """An approval among others: which it is, what it asks, and the beginning of what it is about."""
    message = approval.message.strip().splitlines()
    lines: list[Line] = [
        (
            (f"{sign(GLYPHS['waiting'])} ", "waiting"),
            (f"{short(approval.run)}  ", "id"),
            (f"{inert(approval.workflow)} ", "strong"),
            (f"{inert(approval.path)}  ", "link"),
            (inert(message[0]) if message else "", ""),
        )
    ]
    what = briefly(approval)
    if what:
        lines.append(((f"    {what}", "dim"),))
    return lines
