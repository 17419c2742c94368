"""`fleet approvals`, `fleet approve`, `fleet reject`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import typer

from fleetprompt.cli.commands import ListGroup
from fleetprompt.cli.completion import complete_approvals_term
from fleetprompt.cli.options import FILTERED, ApprovalId, Comment, Json, Limit, Yes

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.ports import Approval, Vote

app = typer.Typer(rich_markup_mode=None)
approvals = typer.Typer(
    cls=ListGroup,
    rich_markup_mode=None,
    help="List what waits for a decision: fleet approvals [FILTER]... [--all] [--limit N] [--json]. Or show one.",
    subcommand_metavar="[FILTER]... | COMMAND ID",
)
app.add_typer(approvals, name="approvals")
Votes = dict[str, "list[Vote]"]
"""By approval: of those about which several people decide."""


@approvals.command("list", context_settings=FILTERED, hidden=True)
def list_(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILTER", help="Such as wf:deploy age>1h.", autocompletion=complete_approvals_term),
    ] = None,
    limit: Limit = 50,
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    json: Json = False,
) -> int:
    """List what waits for a decision."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.client.deciding import PENDING, waiting
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)
    if not everything:
        text = waiting(text)

    async def look(console: Console) -> tuple[list[Approval], Votes, dict[str, str]]:
        found, _ = await console.approvals(text, Page(limit=limit))
        several = [approval.id for approval in found if approval.quorum > 1]
        modes = {run: (await console.run(run)).mode for run in dict.fromkeys(approval.run for approval in found)}
        return found, {id_: (await console.approval(id_))[1] for id_ in several}, modes

    found, votes, modes = front.ask(look)
    if json:
        front.terminal.json(
            [
                approval_object(each) | {"agreed": _agreed(each, votes), "mode": modes[each.run] or None}
                for each in found
            ]
        )
    elif not found:
        front.terminal.say("nothing waits for a decision" if text == PENDING else "no approval matches")
    else:
        _print_table(front, found, votes, modes)
    return 0


def _agreed(approval: Approval, votes: Votes) -> int | None:
    """How many agree so far; None where one vote decides."""
    from fleetprompt.client.deciding import agreeing

    return agreeing(approval, votes[approval.id]) if approval.id in votes else None


def _print_table(front: Front, found: list[Approval], votes: Votes, modes: dict[str, str]) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago, mode_label, rough, short

    now, labelled = time.time(), any(map(mode_label, modes.values()))
    columns = [
        Column("APPROVAL"),
        Column("WORKFLOW", flexible=True, drop=2),
        Column("RUN", drop=4),
        Column("STEP", flexible=True, drop=3),
        Column("ASKED", right=True, drop=5),
        Column("LEFT", right=True, drop=6),
        *([Column("VOTES", right=True)] if votes else []),
        *([Column("MODE")] if labelled else []),
        Column("MESSAGE", flexible=True),
    ]
    rows = [
        [
            marked("waiting" if approval.status == "pending" else approval.status).append(
                f" {approval.id}", style="cyan"
            ),
            approval.workflow,
            short(approval.run),
            approval.path,
            ago(now - approval.requested_at),
            rough(approval.until - now) if approval.until is not None and approval.status == "pending" else "-",
            *([f"{_agreed(approval, votes)} of {approval.quorum}" if approval.quorum > 1 else "-"] if votes else []),
            *([Text(mode_label(modes[approval.run]) or "-", style="bold yellow")] if labelled else []),
            approval.message.splitlines()[0] if approval.message else "",
        ]
        for approval in found
    ]
    front.terminal.table(columns, rows)


@approvals.command("show")
def show(ctx: typer.Context, approval: ApprovalId, json: Json = False) -> int:
    """Show the whole question, as who decides sees it; nothing is decided by that."""
    from fleetprompt.cli.question import question_lines
    from fleetprompt.cli.render import plain
    from fleetprompt.client.deciding import agreeing
    from fleetprompt.client.wording import decided_by

    front: Front = ctx.obj

    async def look(console: Console) -> tuple[Approval, list[Vote], str]:
        found, votes = await console.approval(await _find(console, approval))
        return found, votes, (await console.run(found.run)).mode

    found, votes, mode = front.ask(look)
    if json:
        agreed = agreeing(found, votes) if found.quorum > 1 else None
        front.terminal.json(approval_object(found, votes) | {"agreed": agreed, "mode": mode or None})
        return 0
    now = time.time()
    front.terminal.print(*question_lines(found, votes, front.terminal.times, now, most=None, mode=mode))
    if found.status != "pending":
        at = f" {front.terminal.times.moment(found.decided_at, now)}" if found.decided_at is not None else ""
        why = decided_by((), found.reason)
        front.terminal.print(plain(f"  {found.status}{at}{why}", "bold"))
    return 0


def approval_object(approval: Approval, votes: list[Vote] | None = None) -> dict[str, Any]:
    """An approval for machines: always the same keys; its votes where they were asked for."""
    from fleetprompt.client.wording import rfc3339

    found: dict[str, Any] = {
        "id": approval.id,
        "status": approval.status,
        "run": approval.run,
        "workflow": approval.workflow,
        "step": approval.path,
        "message": approval.message,
        "show": approval.show,
        "digest": approval.digest,
        "form": approval.form,
        "approvers": list(approval.approvers),
        "barred": list(approval.barred),
        "quorum": approval.quorum,
        "level": approval.level,
        "requested_at": rfc3339(approval.requested_at),
        "expires_at": rfc3339(approval.until),
        "on_timeout": approval.on_timeout,
        "decided_at": rfc3339(approval.decided_at),
        "reason": approval.reason,
    }
    if votes is not None:
        found["votes"] = [
            {
                "by": vote.by,
                "decision": vote.decision,
                "at": rfc3339(vote.at),
                "level": vote.level,
                "comment": vote.comment,
                "values": vote.values,
                "via": vote.via,
            }
            for vote in votes
        ]
    return found


@app.command("approve")
def approve(
    ctx: typer.Context,
    approval: ApprovalId,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field of the form; may be repeated.")
    ] = None,
    comment: Comment = "",
    for_run: Annotated[
        bool, typer.Option("--for-run", help="Do not ask again in this run about calls that are exactly what is shown.")
    ] = False,
    for_workflow: Annotated[
        bool, typer.Option("--for-workflow", help="The same for every run of the workflow, until it is taken back.")
    ] = False,
    yes: Yes = False,
) -> int:
    """Approve; shows what is approved first, and asks on a terminal."""
    front: Front = ctx.obj
    more: More = {"grant": "workflow" if for_workflow else "run"} if for_run or for_workflow else {}
    return front.ask(lambda console: _decide(front, console, approval, "approved", comment, values or [], yes, more))


@app.command("reject")
def reject(
    ctx: typer.Context,
    approval: ApprovalId,
    comment: Annotated[
        str, typer.Option("--comment", "--reason", "-m", metavar="TEXT", help="Why; it is recorded.")
    ] = "",
    end: Annotated[bool, typer.Option("--end", help="The agent that asks does not go on; its step fails.")] = False,
    yes: Yes = False,
) -> int:
    """Reject; shows what is rejected first, and asks on a terminal."""
    front: Front = ctx.obj
    more: More = {"ends": True} if end else {}
    return front.ask(lambda console: _decide(front, console, approval, "rejected", comment, [], yes, more))


@app.command("escalate")
def escalate(ctx: typer.Context, approval: ApprovalId, comment: Comment = "") -> int:
    """Hand an approval on to whom it names next."""
    front: Front = ctx.obj

    async def hand_on(console: Console) -> int:
        from fleetprompt.client.protocol import why_queued
        from fleetprompt.engine.core.errors import Refused

        found = await _find(console, approval)
        result = await console.escalate(found, by=front.me, comment=comment)
        if result.status == "refused":
            raise Refused(result.reason, where=f"approval {found}")
        front.terminal.say(f"{found} handed on by {front.me}")
        if why := why_queued(result):
            front.terminal.say(why)
        return 0

    return front.ask(hand_on)


class More(TypedDict, total=False):
    """What a decision says besides."""

    grant: Literal["", "run", "workflow"]
    ends: bool


async def _decide(
    front: Front,
    console: Console,
    text: str,
    decision: Literal["approved", "rejected"],
    comment: str,
    pairs: list[str],
    yes: bool,
    more: More,
) -> int:
    from rich.text import Text

    from fleetprompt.cli.question import ask_fields, grant_lines, question_lines, read_values
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.values import pair
    from fleetprompt.client.deciding import DIGEST
    from fleetprompt.client.edited_call import changes
    from fleetprompt.client.protocol import UNCHECKED, why_queued
    from fleetprompt.engine.core.errors import Refused
    from fleetprompt.engine.core.gate import entitled, is_barred, whom

    terminal = front.terminal
    approval, votes = await console.approval(await _find(console, text))
    if approval.status != "pending":
        raise Refused(f"the approval {approval.id} is already {approval.status}", where=f"run {approval.run}")
    if not entitled(approval.approvers, front.me, front.groups_of(front.me), approval.barred):
        people = whom(approval.approvers, approval.barred)
        hint = f"it is for {people}; who is in a group is written under [groups] in fleet.toml"
        if is_barred(approval.barred, front.me):
            hint = f"its workflow keeps these duties apart: it is for {people}"
        raise Refused(f"{front.me} may not decide this", where=f"approval {approval.id}", hint=hint)
    entered = [pair(text, "a field") for text in pairs]
    filled: list[tuple[str, str]] | None = []
    if decision == "approved" and not yes and terminal.interactive:
        mode = (await console.run(approval.run)).mode
        question = question_lines(approval, votes, terminal.times, time.time(), mode=mode)
        filled = ask_fields(terminal, approval, entered, comment, question)
        if filled is None:
            terminal.say(f"nothing done: {approval.id} still waits")
            return 1
        entered += filled
    values = read_values(approval, entered, comment) if decision == "approved" else {}
    call = await console.edited(approval.id, values) if changes(approval, values) else None
    mode = (await console.run(approval.run)).mode
    if call is not None or not filled:
        # Else it was shown above what was asked for just now.
        terminal.say(*question_lines(approval, votes, terminal.times, time.time(), values, call, mode=mode))
    if scope := more.get("grant"):
        terminal.say(*grant_lines(approval, scope, values, call))
    verb = "approve" if decision == "approved" else "reject"
    if not yes and terminal.interactive and not terminal.confirm(f"{verb} this?"):
        terminal.say(f"nothing done: {approval.id} still waits")
        return 1
    result = await console.vote(
        approval.id,
        decision,
        by=front.me,
        comment=comment,
        values=values,
        digest=approval.digest,
        level=approval.level,
        edited=call.edited if call is not None else "",
        previewed=call.previewed if call is not None else "",
        **more,
    )
    if result.status == "refused":
        raise Refused(result.reason, where=f"approval {approval.id}")
    why = why_queued(result)
    unchecked = bool(why and call is not None and call.unseen)
    line = marked("waiting" if unchecked else decision).append(f" {approval.id}", style="cyan")
    # The digest is that of the question: of a call that is changed it would tell what is not done.
    changed = ", ".join(changes(approval, values))
    does = f", digest {call.previewed[:DIGEST]}" if call is not None and call.previewed else ""
    told = f"with another {changed}{does}" if changed else f"digest {approval.digest[:DIGEST]}"
    said = f"recorded as {decision}" if unchecked else decision
    line.append_text(plain(f" {said} by {front.me}, {told}"))
    terminal.print(line)
    if why:
        terminal.say(Text(UNCHECKED if unchecked else why, style="yellow"))
    return 0


async def _find(console: Console, text: str) -> str:
    from fleetprompt.client.deciding import PENDING
    from fleetprompt.engine.core.errors import NotFound
    from fleetprompt.engine.ports import Page

    if text != "last":
        return text
    found, _ = await console.approvals(PENDING, Page(limit=1))
    if not found:
        raise NotFound("nothing waits for a decision", hint="`fleet approvals --all` lists those that are decided")
    return found[0].id
