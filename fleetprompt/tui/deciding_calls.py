"""What more can be decided about what an agent asks: allow every such call, end the agent, hand the question on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from fleetprompt.client.deciding import brief
from fleetprompt.client.protocol import why_queued
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval
from fleetprompt.tui.deciding import fresh, named_one, read_first
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.state.approval_call import hands_on_to, such_calls
from fleetprompt.tui.state.approval_value import Line
from fleetprompt.tui.state.look import Look
from fleetprompt.tui.voting import Vote, named, send

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

Scope = Literal["run", "workflow"]
ONE_BY_ONE = "that is decided one by one: U takes the marks away"
_LASTS: dict[Scope, str] = {
    "run": "They are not asked about any more for the rest of this run.",
    "workflow": "They are not asked about any more in any run of this workflow; `fleet grants revoke` takes it back.",
}


async def grant(app: FleetConsole, approval: Approval, scope: Scope, *, seen: bool = False) -> None:
    """Approve a call, and every call like it: the call is shown first, and what is allowed with it always asked."""
    verb = f"allow in {scope}"
    if approval.about != "tool":
        app.say("warning", f"{verb}: only a call of a tool can be allowed for later ones, too")
        return
    look = await fresh(app, approval, "approved")
    if look is None:
        return
    if form_problem(look.approval.form, {}):
        app.say("warning", f"{verb}: the form has to be filled in first")
        return
    short_one = brief(look.approval)

    def answered(yes: bool | None) -> None:
        if yes:
            send(app, [Vote(short_one, "approved", grant=scope)])

    def ask() -> None:
        lines: list[Line] = [
            *named_one(short_one, look.approval.message),
            (),
            (("and each later call that is exactly this:", ""),),
        ]
        lines += [*such_calls(look.approval), (), ((_LASTS[scope], "warning"),)]
        title = f"approve, and allow such calls in this {scope}?"
        app.push_screen(Confirm(title, lines, f"approve and allow them in this {scope}"), answered)

    read_first(app, look, verb, ask, seen=seen)


async def end(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Reject, and let the agent not go on."""
    del seen
    if not approval.call:
        app.say("warning", "end the agent: no agent asks this; r rejects it, x ends the run")
        return
    look = await fresh(app, approval, "rejected")
    if look is None:
        return

    def reason(text: str | None) -> None:
        if text is not None:
            send(app, [Vote(brief(look.approval), "rejected", text, ends=True)])

    lines: list[Line] = [*named_one(brief(look.approval), look.approval.message), ()]
    lines.append((("The agent does not go on: its step fails, and what the workflow does then follows.", "warning"),))
    does = "reject, and end the agent"
    app.push_screen(Ask("end the agent?", lines, does, placeholder="reason", needed=True, danger=True), reason)


async def escalate(app: FleetConsole, approval: Approval, *, seen: bool = False) -> None:
    """Hand the question on to whom it names next."""
    del seen
    if approval.level or (approval.call and not hands_on_to(approval)):
        app.say("warning", "hand on: it names nobody who could be asked next")
        return
    look = await fresh(app, approval, "rejected")
    if look is None:
        return

    def given(text: str | None) -> None:
        if text is not None:
            app.run_worker(partial(_hand_on, app, look, text), group="votes")

    to = inert(hands_on_to(look.approval)) or "whom the workflow names next"
    lines: list[Line] = [*named_one(brief(look.approval), look.approval.message), ((f"goes on to {to}", ""),)]
    app.push_screen(Ask("hand on?", lines, "hand on", placeholder="comment"), given)


async def _hand_on(app: FleetConsole, look: Look, comment: str) -> None:
    console, approval = app.client, look.approval
    if console is None or not app.may_change("hand on"):
        return
    about = named(brief(approval))
    try:
        result = await console.escalate(approval.id, by=app.who, comment=comment)
    except FleetError as error:
        app.say("error", f"not handed on: {about}: {error.message}")
        return
    if result.status == "refused":
        app.say("error", f"not handed on: {about}: {result.reason}")
        return
    queued = why_queued(result)
    app.say("info", f"handed on: {about}" + (f"; {queued}" if queued else ""))


async def one_by_one(app: FleetConsole, ids: object, *, shown: object) -> None:
    """What is never decided about many at once."""
    del ids, shown
    app.say("warning", ONE_BY_ONE)
