"""Votes on their way: each is sent once, about exactly what was shown, and what came of it is told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from fleetprompt.client.deciding import DIGEST, Brief, fingerprint
from fleetprompt.client.edited_call import changes
from fleetprompt.client.protocol import UNCHECKED, why_queued
from fleetprompt.client.wording import short, sign
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.tui.sending import Answer, send_each, tell
from fleetprompt.tui.state.look import standing

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

Decision = Literal["approved", "rejected"]
VERBS: dict[Decision, str] = {"approved": "approve", "rejected": "reject"}
DOING: dict[Decision, str] = {"approved": "approving", "rejected": "rejecting"}
CHANGED = "it has changed since it was shown; look at it again"
ON_ITS_WAY = "a decision about it is on its way already"


class Vote(Struct, frozen=True):
    """A decision about an approval as it was shown."""

    approval: Brief
    decision: Decision
    comment: str = ""
    values: dict[str, Any] = {}
    grant: Literal["", "run", "workflow"] = ""
    """Calls like this one need not be asked about any more."""
    ends: bool = False
    """The agent that asks does not go on."""
    call: EditedCall | None = None
    """The call as the values change it, as it was shown."""


def named(approval: Brief) -> str:
    """An approval in a sentence."""
    return f"{inert(approval.workflow)}{sign(' → ')}{inert(approval.path)} run {short(approval.run)}"


def send(app: FleetConsole, votes: Sequence[Vote]) -> None:
    """Send votes, each by itself, and tell what came of them. What is on its way already is not sent again."""
    fresh = [vote for vote in votes if vote.approval.key not in app.voting]
    if len(fresh) < len(votes):
        app.say("info", f"{VERBS[votes[0].decision]}: {ON_ITS_WAY}")
    if fresh and app.may_change(VERBS[fresh[0].decision]):
        app.voting.update(vote.approval.key for vote in fresh)
        app.tell_voting()
        app.run_worker(partial(_send_all, app, fresh), group="votes")


async def _send_all(app: FleetConsole, votes: Sequence[Vote]) -> None:
    decision = votes[0].decision
    try:
        sent = await send_each(
            app,
            votes,
            partial(_send, app),
            lambda vote: named(vote.approval),
            doing=DOING[decision],
            thing="approval",
            marks=lambda vote: (vote.approval.id, vote.approval.run),
        )
    finally:
        app.voting.difference_update(vote.approval.key for vote in votes)
        app.tell_voting()
    tell(app, decision, "approval", sent)


async def _send(app: FleetConsole, vote: Vote) -> Answer:
    """What came of a vote that counts. Raises `FleetError`."""
    console, approval, call = app.client, vote.approval, vote.call
    assert console is not None
    try:
        found = await console.approvals_of([approval.id])
        if not found:
            raise NotFound("it is gone")
        ((now, _),) = found
        if now.status != "pending":
            raise Refused(f"it is already {now.status}")
        if fingerprint(now) != approval.print:
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
            grant=vote.grant,
            ends=vote.ends,
            edited=call.edited if call is not None else "",
            previewed=call.previewed if call is not None else "",
        )
        if result.status == "refused":
            raise Refused(result.reason)
        # The digest is that of the question: of a call that is changed it would tell what is not done.
        changed = inert(", ".join(changes(now, vote.values)))
        does = f", digest {call.previewed[:DIGEST]}" if call is not None and call.previewed else ""
        digest = f"digest {approval.digest[:DIGEST]}"
        said = f"{named(approval)}, " + (f"with another {changed}{does}" if changed else digest)
        if vote.grant:
            said += f", and for this {vote.grant} each call that is exactly {approval.covers}"
        if vote.ends:
            said += ", and its agent ended"
        if approval.quorum > 1:
            said += await _how_far(app, approval)
    finally:
        app.voting.discard(approval.key)
    queued = why_queued(result)
    return Answer(said, queued=UNCHECKED if queued and call is not None and call.unseen else queued)


async def _how_far(app: FleetConsole, approval: Brief) -> str:
    """Who has approved so far, where others have to."""
    console = app.client
    assert console is not None
    for after, votes in await console.approvals_of([approval.id]):
        if after.status == "pending":
            return f" — {standing(after, votes, app.who, app.groups).words}"
    return ""
