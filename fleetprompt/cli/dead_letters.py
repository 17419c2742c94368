"""`fleet signals dead`, `dismiss`, `replay`, `deliveries`: what came to nothing, and to have signals once more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_signal
from fleetprompt.cli.options import FILTERED, Json, Limit, Since, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console, Foreseen, Published, ReplayRange
    from fleetprompt.engine.core.dead_letter import DeadLetter
    from fleetprompt.engine.core.delivery import Delivery
    from fleetprompt.engine.core.signal import Result

commands = typer.Typer()
"""Verbs of `fleet signals`."""
MOST_TOLD = 10
"""Signals of a replay whose fate is told one by one; of more, only what is not as it should be."""


@commands.command("dead", context_settings=FILTERED)
def dead(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None, typer.Argument(metavar="FILTER", help="Such as wf:deploy or code:VALIDATION_ERROR.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dismissed.")] = False,
    limit: Limit = 30,
    json: Json = False,
) -> int:
    """List dead letters: signals that could not start a workflow, or be delivered to a subscription."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)
    asked = text if every or "status:" in text else f"status:dead {text}".strip()
    found, _ = front.ask(lambda console: console.dead_letters(asked, Page(limit=limit)))
    if json:
        front.terminal.json([letter_object(letter) for letter in found])
    elif not found:
        front.terminal.say("no dead letter matches" if text else "there are no dead letters")
    else:
        _print_letters(front, found)
    return 0


def _print_letters(front: Front, found: Sequence[DeadLetter]) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago

    now = time.time()
    columns = [
        Column("LETTER"),
        Column("TYPE", flexible=True),
        Column("FOR", flexible=True),
        Column("CODE", drop=4),
        Column("TRIED", right=True, drop=3),
        Column("AT", right=True, drop=2),
        Column("REASON", flexible=True, drop=1),
    ]
    marks = {"dead": "failed", "replayed": "completed", "dismissed": "skipped"}
    rows = [
        [
            marked(marks[letter.status]).append(f" {letter.id}", style="cyan"),
            letter.type,
            letter.place,
            letter.code,
            str(letter.attempts),
            ago(now - letter.at),
            plain(letter.reason),
        ]
        for letter in found
    ]
    front.terminal.table(columns, rows)


@commands.command("dismiss")
def dismiss(
    ctx: typer.Context,
    letters: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of dead letters, or a filter.")],
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Let dead letters be: nothing more is to come of them. A filter such as wf:old asks first."""
    front: Front = ctx.obj
    return front.ask(lambda console: _dismiss(front, console, letters, yes, json))


async def _dismiss(front: Front, console: Console, words: list[str], yes: bool, json: bool) -> int:
    from fleetprompt.cli.filters import joined
    from fleetprompt.client.letters import PREFIX
    from fleetprompt.client.protocol import why_queued
    from fleetprompt.client.wording import count

    ids = words
    if not all(word.startswith(PREFIX) for word in words):
        ids = await console.dead_letter_ids(f"status:dead {joined(words)}")
        if ids and not _agreed(front, f"dismiss {count(len(ids), 'dead letter')}", yes):
            return 1
    result = await console.dismiss_letters(ids, by=front.me)
    done = int((result.data or {}).get("dismissed", 0)) if not why_queued(result) else 0
    if json:
        front.terminal.json({"dismissed": done, "status": result.status, "reason": result.reason})
    else:
        front.terminal.say(why_queued(result) or f"dismissed: {count(done, 'dead letter')}")
    return 0 if result.status == "accepted" and (done == len(ids) or why_queued(result)) else 1


@commands.command("replay")
def replay(
    ctx: typer.Context,
    signal_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Id of a signal, or of a dead letter.", autocompletion=complete_signal),
    ] = "",
    since: Since = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Up to then.")] = "",
    type_: Annotated[str, typer.Option("--type", metavar="TYPES", help="Of this type, such as deploy.*")] = "",
    filter_: Annotated[str, typer.Option("--filter", metavar="FILTER", help="Those that match, too.")] = "",
    workflow: Annotated[str, typer.Option("--workflow", metavar="NAME", help="For this workflow alone.")] = "",
    deliver: Annotated[
        bool, typer.Option("--deliver", help="Subscriptions hear again of what the runs do that are started.")
    ] = False,
    key: Annotated[
        str, typer.Option("--key", metavar="KEY", help="Names the replay: within it, each signal counts once.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come of it.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Publish copies of signals as new ones: of one, of a range, or what a dead letter is about.

    They start what listens today, and say what they are a replay of; so do the runs. Webhooks are not called out again,
    unless --deliver says so. A range asks first; the same command says nothing twice, unless --key gives it a new name.
    """
    from fleetprompt.cli.signals import tell
    from fleetprompt.client.letters import PREFIX
    from fleetprompt.client.protocol import ReplayRange
    from fleetprompt.engine.core.errors import InvalidInput

    front: Front = ctx.obj
    parts = (filter_, type_ and f"type:{type_}", since and f"since:{since}", until and f"at<={until}")
    text = " ".join(part for part in parts if part)
    if signal_id and text:
        raise InvalidInput("give the id of a signal, or say which by --since, --type or --filter, not both")
    if signal_id.startswith(PREFIX):
        return front.ask(lambda console: _replay_letter(front, console, signal_id, json))
    wanted = ReplayRange(filter=text or f"/^{signal_id}$/", limit=limit, only=workflow, deliver=deliver, key=key)
    if signal_id and not dry_run:
        return tell(front, front.ask(lambda console: _replay_one(front, console, signal_id, wanted)), json)
    if not text and not signal_id:
        raise InvalidInput("which signals?", hint="give an id, or --since, --type or --filter; --dry-run only tells")
    return front.ask(lambda console: _replay_range(front, console, wanted, dry_run, yes, json))


async def _replay_one(front: Front, console: Console, id_: str, wanted: ReplayRange) -> Published:
    key = wanted.key and f"replay/{wanted.key}/{id_}"
    return await console.replay(id_, by=front.me, only=wanted.only, key=key, deliver=wanted.deliver)


async def _replay_letter(front: Front, console: Console, id_: str, json: bool) -> int:
    from fleetprompt.client.protocol import why_queued

    result = await console.replay_letter(id_, by=front.me)
    letter = await console.dead_letter(id_)
    if json:
        front.terminal.json({**letter_object(letter), "result": result_object(result)})
    elif result.status == "refused":
        front.terminal.say(f"{id_} failed again: {result.reason}")
    else:
        run = f", run {result.run}" if result.run else ""
        front.terminal.say(why_queued(result) or f"{id_} is under way to {letter.place}{run}")
    return 0 if result.status == "accepted" else 1


async def _replay_range(
    front: Front, console: Console, wanted: ReplayRange, dry_run: bool, yes: bool, json: bool
) -> int:
    from fleetprompt.client.wording import count

    foreseen = await console.foresee_replay(wanted)
    if dry_run:
        if json:
            front.terminal.json(foreseen_object(foreseen))
        else:
            _tell_foreseen(front, foreseen, wanted)
        return 0
    fresh = foreseen.signals - foreseen.before
    if not json:
        _tell_foreseen(front, foreseen, wanted)
    if not fresh:
        if json:
            front.terminal.json([])
        return 0
    if not _agreed(front, f"replay {count(fresh, 'signal')}", yes):
        return 1
    return await _say_again(front, console, wanted, fresh, json)


def _agreed(front: Front, what: str, yes: bool) -> bool:
    """Whether somebody has agreed to it. Raises `InvalidInput` where nobody can be asked."""
    from fleetprompt.engine.core.errors import InvalidInput

    if yes:
        return True
    if not front.terminal.interactive:
        raise InvalidInput(f"nobody can be asked whether to {what}", hint="--yes does so without asking")
    if front.terminal.confirm(f"{what}?"):
        return True
    front.terminal.say("nothing done")
    return False


async def _say_again(front: Front, console: Console, wanted: ReplayRange, fresh: int, json: bool) -> int:
    from fleetprompt.cli.signals import signal_object, tell

    said: list[Any] = []
    refused = new = 0
    async for published in console.replay_range(wanted, by=front.me):
        if published.duplicate:
            continue
        new += 1
        bad = any(result.status == "refused" for result in published.results)
        refused += bad
        if json:
            said.append(signal_object(published.signal, published.routed, published.results))
        elif bad or fresh <= MOST_TOLD:
            tell(front, published, json=False)
        elif new % 100 == 0:
            front.terminal.say(f"{new:,} of {fresh:,}")
    if json:
        front.terminal.json(said)
    else:
        front.terminal.say(f"replayed {new:,}" + (f", {refused:,} refused: `fleet signals dead`" if refused else ""))
    return 1 if refused else 0


def _tell_foreseen(front: Front, found: Foreseen, wanted: ReplayRange) -> None:
    from fleetprompt.client.wording import count

    terminal = front.terminal
    if not found.signals:
        terminal.say("no signal matches that can be replayed")
    else:
        listed = [f"{n:,} {type_}" for type_, n in list(found.types.items())[:MOST_TOLD]]
        terminal.say(f"{count(found.signals, 'signal')}: {', '.join(listed)}")
    for workflow, n in found.starts.items():
        terminal.say(f"  would start {workflow}: {count(n, 'run')}")
    for workflow, reason, n in found.problems[:MOST_TOLD]:
        terminal.say(f"  cannot start {workflow}, {n:,}×: {reason}")
    if found.wakes:
        terminal.say(f"  would reach {count(found.wakes, 'step')} that wait now")
    if found.silent:
        terminal.say(f"  {found.silent:,} would start nothing")
    if found.before:
        terminal.say(
            f"  {found.before:,} were said again by this replay before, and are not once more (--key renames it)"
        )
    if found.own or found.copies:
        terminal.say(f"  left out: {found.own:,} of the engine's own, {found.copies:,} replays")
    if found.signals and not wanted.deliver:
        terminal.say("  subscriptions do not hear of what these runs do (--deliver)")


@commands.command("deliveries", context_settings=FILTERED)
def deliveries(
    ctx: typer.Context,
    filter_: Annotated[
        list[str] | None, typer.Argument(metavar="FILTER", help="Such as status:pending or subscription:ops.")
    ] = None,
    limit: Limit = 30,
    json: Json = False,
) -> int:
    """List what is on its way to subscriptions, and what was delivered; the newest first."""
    from fleetprompt.cli.filters import joined
    from fleetprompt.engine.ports import Page

    front: Front = ctx.obj
    text = joined(filter_)
    found, _ = front.ask(lambda console: console.deliveries(text, Page(limit=limit)))
    if json:
        front.terminal.json([delivery_object(each) for each in found])
    elif not found:
        front.terminal.say("no delivery matches" if text else "nothing was to be delivered yet")
    else:
        _print_deliveries(front, found)
    return 0


def _print_deliveries(front: Front, found: Sequence[Delivery]) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.table import Column
    from fleetprompt.client.wording import ago

    now = time.time()
    columns = [
        Column("DELIVERY"),
        Column("TYPE", flexible=True),
        Column("SUBSCRIPTION", flexible=True),
        Column("TRIED", right=True, drop=3),
        Column("MADE", right=True, drop=2),
        Column("", flexible=True, drop=1),
    ]
    marks = {"delivered": "completed", "dead": "failed", "pending": "pending"}
    rows = [
        [
            marked(marks[each.status]).append(f" {each.id}", style="cyan"),
            each.type,
            each.subscription,
            str(each.attempts),
            ago(now - each.created_at),
            plain(f"{each.reason}, {_next(each, now)}" if each.status == "pending" and each.attempts else each.reason),
        ]
        for each in found
    ]
    front.terminal.table(columns, rows)


def _next(delivery: Delivery, now: float) -> str:
    from fleetprompt.client.wording import duration

    return f"again in {duration(delivery.due - now)}" if delivery.due > now else "due when an engine runs"


def delivery_object(delivery: Delivery) -> dict[str, Any]:
    """A delivery for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": delivery.id,
        "status": delivery.status,
        "subscription": delivery.subscription,
        "signal": delivery.signal,
        "type": delivery.type,
        "source": delivery.source,
        "attempts": delivery.attempts,
        "http": delivery.http or None,
        "code": delivery.code,
        "reason": delivery.reason,
        "made_at": rfc3339(delivery.created_at),
        "tried_at": rfc3339(delivery.at) if delivery.at else None,
        "due_at": rfc3339(delivery.due) if delivery.status == "pending" else None,
    }


def letter_object(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for machines: always the same keys."""
    from fleetprompt.client.wording import rfc3339

    return {
        "id": letter.id,
        "status": letter.status,
        "kind": letter.kind,
        "target": letter.target,
        "trigger": letter.trigger,
        "signal": letter.signal,
        "type": letter.type,
        "source": letter.source,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "at": rfc3339(letter.at),
        "settled_at": rfc3339(letter.settled_at) if letter.settled_at is not None else None,
        "by": letter.by,
    }


def result_object(result: Result) -> dict[str, str]:
    """What came of it, for machines."""
    return {"status": result.status, "run": result.run, "reason": result.reason}


def foreseen_object(found: Foreseen) -> dict[str, Any]:
    """What would come of a replay, for machines."""
    import msgspec

    return {
        **msgspec.to_builtins(found),
        "problems": [{"workflow": name, "reason": reason, "signals": n} for name, reason, n in found.problems],
    }
