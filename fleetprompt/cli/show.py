"""`fleet show`: one run, now or at an earlier fact."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.options import Full, Json, RunId

if TYPE_CHECKING:
    from rich.text import Text

    from fleetprompt.cli.agent_work import Done
    from fleetprompt.cli.front import Front
    from fleetprompt.cli.tree import Tree
    from fleetprompt.client.protocol import Console
    from fleetprompt.engine.core.state import Step
    from fleetprompt.engine.ports import Approval, RunHead, Vote

app = typer.Typer(rich_markup_mode=None)


@app.command("show")
def show(
    ctx: typer.Context,
    run: RunId,
    at: Annotated[int | None, typer.Option("--at", metavar="N", min=1, help="As it was after so many facts.")] = None,
    full: Full = False,
    json: Json = False,
) -> int:
    """Show one run: its steps with what went in and came out, approvals, errors, and what can be done."""
    front: Front = ctx.obj
    front.ask(lambda console: _show_run(front, console, run, at, full, json))
    return 0


async def _show_run(front: Front, console: Console, text: str, at: int | None, full: bool, json: bool) -> None:
    from fleetprompt.cli.agent_work import Done

    head = await console.run(await console.find(text))
    done = Done()
    tree = await load_tree(console, head, at, done)
    approvals = await _approvals(console, head.id)
    if json:
        front.terminal.json(await _object(console, head, tree, done, approvals, at))
        return
    front.terminal.print(*await _lines(front, console, head, tree, done, approvals, at, full))


async def load_tree(console: Console, head: RunHead, at: int | None = None, done: Done | None = None) -> Tree:
    """A run folded from its journal. `done` is told what agents did in it."""
    from fleetprompt.cli.tree import Tree
    from fleetprompt.engine.core.program import Program

    tree = Tree(Program(await console.plan(head.plan), head.plan))
    for stored in await console.facts(head.id, upto=at):
        tree.apply(stored.fact)
        if done is not None:
            done.apply(stored.fact)
    return tree


async def _approvals(console: Console, run: str) -> list[tuple[Approval, list[Vote]]]:
    from fleetprompt.engine.ports import Page

    found, _ = await console.approvals(f"run:{run}", Page(limit=1000, oldest_first=True))
    return [await console.approval(approval.id) for approval in found]


async def _value(console: Console, value: Any, blob: Any, full: bool) -> Any:
    """A value; one that is kept elsewhere only when everything is wanted."""
    from fleetprompt.engine.core.facts import RunFinished

    if blob is None:
        return value
    return await console.value(RunFinished(status="completed", blob=blob)) if full else blob


# ---------------------------------------------------------------- for people


async def _lines(
    front: Front,
    console: Console,
    head: RunHead,
    tree: Tree,
    done: Done,
    approvals: list[tuple[Approval, list[Vote]]],
    at: int | None,
    full: bool,
) -> list[Text]:
    from rich.text import Text

    from fleetprompt.cli.outcome import next_lines, wrapped_up_lines
    from fleetprompt.cli.render import failure_lines, head_line, named_value
    from fleetprompt.cli.runs import halting

    run, created = tree.run, tree.created
    now = run.at if at is not None else time.time()
    halted = (await halting(console))(head) if at is None else ""
    lines = [head_line(tree, now, halted=halted), *_facts_about(front, head, tree, now, at)]
    inputs = await _value(console, created.inputs, created.blob, full) if created is not None else None
    if isinstance(inputs, dict) and inputs:
        lines.append(Text("  inputs", style="dim"))
        lines += [line for name, value in inputs.items() for line in named_value(name, value, full=full, indent=4)]
    lines.append(Text())
    lines += await _steps(front, console, tree, done, now, full)
    if approvals:
        lines += [Text(), *_approval_lines(front, approvals, now)]
    if run.error is not None:
        lines += [Text(), *failure_lines(run.error)]
    if found := wrapped_up_lines(tree.wrapped_up):
        lines += [Text(), *found]
    output = await _value(console, run.output, run.output_blob, full)
    if run.ended and output is not None:
        lines += [Text(), *named_value("output", output, full=full)]
    if at is None:
        doubts = [line for step in tree.doubtful() for line in doubt_lines(tree.id, step)]
        following = next_lines(tree, embedded=False, shown=True) if run.ended or tree.asking() or run.paused else []
        lines += [Text(), *doubts] if doubts else []
        lines += [Text(), *following] if following else []
    return lines


def _facts_about(front: Front, head: RunHead, tree: Tree, now: float, at: int | None) -> list[Text]:
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.wording import short

    times, created = front.terminal.times, tree.created
    lines: list[Text] = []

    def say(name: str, value: str) -> None:
        if value:
            lines.append(Text(f"  {name:<8}  ", style="dim").append_text(plain(value)))

    say("id", head.id)
    if at is not None:
        say("at", f"fact {tree.run.n} of {head.n}, {times.moment(tree.run.at, time.time())}")
    if created is None:
        return lines
    trigger = created.trigger if isinstance(created.trigger, dict) else {}
    who = created.owner or str(trigger.get("kind") or "")
    say("created", f"{times.moment(created.at, time.time())} by {who}")
    if tree.run.finished_at is not None:
        say("finished", times.moment(tree.run.finished_at, time.time()))
    source = created.source
    commit = f" at {source.commit[:10]}{', changed since' if source.dirty else ''}" if source.commit else ""
    say("file", f"{source.file}{commit}" if source.file else "")
    say("plan", created.plan[:12])
    say("parent", f"{short(created.parent)} {created.parent_path}" if created.parent else "")
    say("retry of", short(created.retry_of) if created.retry_of else "")
    say("labels", ", ".join(f"{key}={value}" for key, value in created.labels.items()))
    return lines


async def _steps(front: Front, console: Console, tree: Tree, done: Done, now: float, full: bool) -> list[Text]:
    from rich.text import Text

    from fleetprompt.cli.render import named_value, tree_lines

    rows = tree.rows(now, unfold=full)
    width = front.terminal.width
    lines: list[Text] = []
    for row, line in zip(rows, tree_lines(rows, width), strict=True):
        lines.append(line)
        step = tree.run.steps.get(row.path)
        if step is None or step.program.blocks:
            continue
        indent = 2 * row.depth + 6
        work = done.lines(step, indent, full=full)
        if not full and step.output is None and step.error is None:
            lines += work
            continue
        if full and step.input is not None:
            lines += named_value(
                "in ", await _value(console, step.input, step.input_blob, full), full=True, indent=indent
            )
        lines += work
        if step.error is not None and full:
            lines += named_value("err", step.error.message, full=True, indent=indent, style="red")
        elif step.output is not None or step.blob is not None:
            value = await _value(console, step.output, step.blob, full)
            lines += named_value("out", value, full=full, indent=indent)
    if width is not None and not full:
        for line in lines:
            line.truncate(width, overflow="ellipsis")
    return lines or [Text("  nothing has started", style="dim")]


def _approval_lines(front: Front, approvals: list[tuple[Approval, list[Vote]]], now: float) -> list[Text]:
    from rich.text import Text

    from fleetprompt.cli.question import vote_line
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.client.deciding import agreed
    from fleetprompt.client.wording import GLYPHS, decided_by

    lines = [Text("approvals", style="dim")]
    for approval, votes in approvals:
        status = approval.status if approval.status in GLYPHS else "waiting"
        status = "waiting" if status == "pending" else status
        line = Text("  ").append_text(marked(status)).append(f" {approval.id}  ", style="cyan")
        line.append_text(plain(approval.path, "bold")).append(f"  {approval.status}{decided_by((), approval.reason)}")
        line.append(f", {so_far}" if (so_far := agreed(approval, votes)) else "", style="yellow").append("  ")
        lines.append(line.append_text(plain(approval.message.splitlines()[0] if approval.message else "")))
        lines += [Text("    ").append_text(vote_line(vote, front.terminal.times, now)) for vote in votes]
    return lines


def doubt_lines(run: str, step: Step) -> list[Text]:
    """A step in doubt, with the four answers as commands."""
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.wording import short
    from fleetprompt.engine.core.evolve_work import doubted_call

    command = f"fleet resolve {short(run)} '{step.path}' --attempt {step.attempt}"
    answers = (
        ("it happened, with this result", f"{command} --happened '{{}}'"),
        ("it did not happen: run it", f"{command} --run"),
        ("never mind: skip it", f"{command} --skip"),
        ("abort the run and compensate", f"{command} --abort"),
    )
    tool = str(doubted_call(step).get("tool") or "")
    what = f"{tool} in {step.path}" if tool else step.path
    lines = [Text("? ", style="bold yellow").append_text(plain(f"{what} may or may not have happened", "bold"))]
    checks = [value for kind, _, value, _ in step.notes or () if kind == "reconcile"]
    lines += [Text("  ").append_text(plain(str(why), "dim")) for why in (step.reason, *checks[-1:])]
    return lines + [Text(f"  {what:<31}").append_text(plain(how, "cyan")) for what, how in answers]


# ---------------------------------------------------------------- for machines


async def _object(
    console: Console,
    head: RunHead,
    tree: Tree,
    done: Done,
    approvals: list[tuple[Approval, list[Vote]]],
    at: int | None,
) -> dict[str, Any]:
    import msgspec

    from fleetprompt.cli.approvals import approval_object
    from fleetprompt.cli.outcome import run_object
    from fleetprompt.cli.runs import halting, head_object

    run, created = tree.run, tree.created
    halted = (await halting(console))(head) if at is None else ""
    found = (head_object(head) if at is None else {}) | run_object(
        tree, await _value(console, None, run.output_blob, True), halted=halted
    )
    found["at"] = run.n
    found["facts"] = head.n
    found["inputs"] = await _value(console, created.inputs, created.blob, True) if created is not None else None
    found["source"] = msgspec.to_builtins(created.source) if created is not None else None
    found["steps"] = [await _step_object(console, step) | {"work": done.objects(step)} for step in run.steps.values()]
    found["approvals"] = [approval_object(approval, votes) for approval, votes in approvals]
    found["in_doubt"] = [step.path for step in tree.doubtful()]
    return found


async def _step_object(console: Console, step: Step) -> dict[str, Any]:
    from fleetprompt.cli.outcome import error_object, step_object
    from fleetprompt.client.wording import rfc3339

    return step_object(step, time.time()) | {
        "id": step.program.node.id,
        "type": step.program.node.type,
        "waiting_on": step.on,
        "reason": step.reason,
        "port": step.port,
        "started_at": rfc3339(step.started_at),
        "finished_at": rfc3339(step.finished_at),
        "input": await _value(console, step.input, step.input_blob, True),
        "output": await _value(console, step.output, step.blob, True),
        "error": error_object(step.error),
    }
