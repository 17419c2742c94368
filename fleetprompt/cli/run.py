"""`fleet run` and `fleet recover`: start or take up runs, and wait for them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_file_or_workflow, complete_run
from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetprompt.cli.front import Front
    from fleetprompt.cli.tree import Tree
    from fleetprompt.cli.watching import Ending, Manner, Watch
    from fleetprompt.client.protocol import Console, StartRun
    from fleetprompt.engine.ports import RunHead

app = typer.Typer(rich_markup_mode=None)
MESSAGES = 5
"""How much is told at the end of what the engine complains about, and of runs that need somebody."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no output; errors only.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Stop when nothing is active any more; exit code 3.")]


@app.command("run")
def run(
    ctx: typer.Context,
    workflow: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A workflow file, or the name of one.", autocompletion=complete_file_or_workflow
        ),
    ],
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input; may be repeated.")
    ] = None,
    inputs_file: Annotated[
        str, typer.Option("--inputs", metavar="FILE.json|-", help="Inputs as a JSON object, from a file or stdin.")
    ] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label; may be repeated.")
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", metavar="N", help="Runs with a higher number get places first.")
    ] = 0,
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The same key starts the same run only once.")] = "",
    no_wait: NoWait = False,
    json: Json = False,
    quiet: Quiet = False,
    approve_as: Annotated[str, typer.Option("--approve-as", hidden=True)] = "",
) -> int:
    """Run a workflow and watch it. On a terminal approvals are asked for in place; Ctrl-C twice parks the run."""
    from fleetprompt.cli.values import pair, read_mapping
    from fleetprompt.cli.watching import Manner
    from fleetprompt.client.files import load_files
    from fleetprompt.client.protocol import StartRun
    from fleetprompt.engine.core.errors import Refused

    front: Front = ctx.obj
    file, name = find_workflow(front, workflow)
    if approve_as and not _is_example(file):
        raise Refused("--approve-as is for the demo only", hint="`fleet approve` decides as yourself")
    request = StartRun(
        files=load_files(Path(file), front.project.workflows, front.names) if file else (),
        workflow=name,
        inputs=read_mapping(inputs_file, "inputs") if inputs_file else {},
        texts=dict(pair(text, "an input") for text in inputs or ()),
        labels=dict(pair(text, "a label") for text in label or ()),
        priority=priority,
        key=key,
        by=front.me,
    )
    manner = Manner(quiet=quiet, json=json, wait=not no_wait, approve_as=approve_as)
    return front.run(start_and_wait(front, request, manner))


def _is_example(file: str) -> bool:
    from fleetprompt.demo.examples import EXAMPLES

    return Path(file).stem in EXAMPLES


def find_workflow(front: Front, text: str) -> tuple[str, str]:
    """The file that a word means, or else the name. Raises `NotFound`."""
    from fleetprompt.engine.core.errors import NotFound

    path = front.here / text
    if path.is_file():
        return str(path), ""
    if path.suffix in (".yaml", ".yml") or "/" in text:
        hint = f"{text} is a folder: name a file in it" if path.is_dir() else "give the path of a workflow file"
        raise NotFound(f"there is no file {text}", hint=hint)
    # A name means what it means where it is asked.
    for suffix in (".yaml", ".yml") if front.elsewhere is None else ():
        known = front.project.workflows / f"{text}{suffix}"
        if known.is_file():
            return str(known), ""
    front.require_store()
    return "", text


async def start_and_wait(front: Front, request: StartRun, manner: Manner) -> int:
    """Start a run in this process if no other holds the engine, and wait for it."""
    from fleetprompt.client.starting import given_inputs, refused_inputs

    if request.files:
        # What is refused leaves no store behind.
        file = request.files[0]
        _, problems = given_inputs(file.plan, request)
        if problems:
            raise refused_inputs(file.plan, problems, file.text, file.named)
    console = await front.open("prefer", what="fleet run")
    try:
        run_id = await console.start(request)
        _tell_about_others(front, console, manner)
    except BaseException:
        await console.close()
        raise
    return await _wait(front, console, [run_id], manner)


def _tell_about_others(front: Front, console: Console, manner: Manner) -> None:
    from fleetprompt.cli.render import plain
    from fleetprompt.client.wording import count

    if manner.quiet:
        return
    others = console.taken_up.others
    if console.where == "attached":
        front.terminal.say(plain(f"the engine is in another process, {console.holder}: the run goes on there", "dim"))
    elif others:
        are, them = ("is", "it") if others == 1 else ("are", "them")
        text = f"{count(others, 'other run')} {are} interrupted: `fleet recover` goes on with {them}"
        front.terminal.say(plain(text, "yellow"))


@app.command("recover")
def recover(
    ctx: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Wait for these runs too.", autocompletion=complete_run),
    ] = None,
    no_wait: NoWait = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with everything that a crash or a Ctrl-C interrupted, and wait for it."""
    from fleetprompt.cli.watching import Manner

    front: Front = ctx.obj
    front.require_store()
    return front.run(_recover(front, runs or [], Manner(quiet=quiet, json=json, wait=not no_wait, listed=True)))


async def _recover(front: Front, names: list[str], manner: Manner) -> int:
    from fleetprompt.cli.render import plain
    from fleetprompt.client.opening import open_console
    from fleetprompt.client.wording import count

    opened = await open_console(front.place, "engine", what="fleet recover", recover=True)
    console = front.guarded(opened)
    try:
        wanted = [await console.find(name) for name in names]
        touched, refused = await _carried_out(console)
        roots = list(dict.fromkeys([*await _going_on(console, touched), *wanted]))
        for run in wanted:
            await opened.adopt(run)  # pyright: ignore[reportAttributeAccessIssue] mode `engine` gives an embedded one
        if not manner.quiet:
            if done := len(console.taken_up.signals) - len(refused):
                front.terminal.say(plain(f"{count(done, 'recorded signal')} carried out", "dim"))
            front.terminal.say(*(plain(text, "red") for text in refused))
    except BaseException:
        await console.close()
        raise
    if roots:
        return await _wait(front, console, roots, manner)
    waiting = await console.count("status:waiting")
    await console.close()
    if manner.json:
        front.terminal.json([])
    elif not manner.quiet:
        more = (
            f"; {count(waiting, 'run')} wait{'s' if waiting == 1 else ''}: fleet runs status:waiting" if waiting else ""
        )
        front.terminal.say(f"nothing is interrupted{more}")
    return 0


async def _carried_out(console: Console) -> tuple[list[str], list[str]]:
    """What came of the signals that were recorded: the runs that heard them, and words about those refused."""
    from fleetprompt.client.wording import short

    touched: list[str] = []
    refused: list[str] = []
    for id_ in console.taken_up.signals:
        signal, _, results = await console.signal(id_)
        for result in results:
            if result.status == "refused":
                about = short(result.run or signal.subject or id_)
                refused.append(f"{signal.type} {about} by {signal.by} was refused: {result.reason}")
            elif result.run:
                touched.append(result.run)
    return touched, refused


async def _going_on(console: Console, touched: list[str]) -> list[str]:
    """Runs at the top of their family that go on now, the oldest first; and those touched that are over already."""
    from fleetprompt.engine.ports import Page

    found = dict.fromkeys((*console.taken_up.runs, *console.taken_up.corrupt))
    heads, _ = await console.runs("status:pending,running", Page(limit=10_000, oldest_first=True))
    found |= dict.fromkeys(head.id for head in heads)
    known = {head.id: head for head in heads}
    # After the list: what is over before it is read would be in neither.
    for run in (*found, *touched):
        if run not in known:
            known[run] = await console.run(run)
    found |= dict.fromkeys(run for run in touched if known[run].finished_at is not None)
    for run in tuple(found):
        # Who waits for it goes on with it, and is what somebody has started.
        while (above := known[run].parent) and above not in found:
            if above not in known:
                known[above] = await console.run(above)
            if not _goes_on_with(known[above], known[run]):
                break
            found[above] = None
            run = above
    return [run for run in found if not known[run].parent or known[run].parent not in found]


def _goes_on_with(above: RunHead, child: RunHead) -> bool:
    """Whether a run waits for its child, or has done so until that was over."""
    if above.finished_at is None:
        return above.waiting_on == "child"
    return child.finished_at is not None and above.finished_at >= child.finished_at


# ---------------------------------------------------------------- waiting, and what is said at the end


async def _wait(front: Front, console: Console, roots: list[str], manner: Manner) -> int:
    from fleetprompt.cli.outcome import FAILED, exit_code
    from fleetprompt.cli.watching import Watch

    embedded = console.where == "embedded"
    watch = Watch(front, roots, manner)
    ending = await watch.wait(console)
    trees = [watch.following.trees[root] for root in roots if root in watch.following.trees]
    _report(front, watch, ending, manner, embedded)
    if ending == "stopped" and not watch.following.done:
        return watch.stopped_by
    return FAILED if ending == "held" else exit_code(trees, len(roots))


def _report(front: Front, watch: Watch, ending: Ending, manner: Manner, embedded: bool) -> None:
    from fleetprompt.cli.display import halted
    from fleetprompt.cli.outcome import final_lines, held_lines, next_lines, result_lines, run_object
    from fleetprompt.cli.render import head_line, plain
    from fleetprompt.client.wording import count

    terminal = front.terminal
    following = watch.following
    trees = [following.trees[root] for root in following.roots if root in following.trees]
    why = {tree.id: halted(tree, watch.display.position) for tree in trees}
    if manner.json:
        held = watch.held if ending == "held" else {}
        objects: list[Any] = [
            run_object(tree, watch.outputs.get(tree.id), held.get(tree.id, ""), why[tree.id]) for tree in trees
        ]
        terminal.json(objects if manner.listed or not objects else objects[0])
    if manner.quiet:
        if not manner.json:
            _complain(front, trees, watch.held if ending == "held" else {})
        return
    say = terminal.say if manner.json else terminal.print
    for tree in trees:
        if watch.drawing:
            one = len(trees) == 1
            head = [head_line(tree, time.time(), halted=why[tree.id])]
            say(*(final_lines(tree, terminal.width, halted=why[tree.id]) if one else head))
        if len(trees) == 1 and not manner.json:
            say(*result_lines(tree, watch.outputs.get(tree.id)))
    if ending == "stopped" and not following.done:
        text = "parked: nothing is lost" if embedded else "left; the run goes on in the other process"
        terminal.say(plain(text, "yellow"))
    if ending == "held":
        for run, why in watch.held.items():
            # Where lines are printed the engine's complaint is one of them.
            terminal.say(*held_lines(run, why if watch.drawing else "nothing is done for it any more"))
        return
    messages = list(dict.fromkeys(front.engine_messages[watch.told :]))
    for message in messages[:MESSAGES]:
        terminal.say(plain(f"engine: {message}", "yellow"))
    if len(messages) > MESSAGES:
        terminal.say(plain(f"and {len(messages) - MESSAGES} more in .fleet/engine.log", "yellow"))
    unhappy = [lines for tree in trees if (lines := next_lines(tree, embedded=embedded))]
    if not watch.drawing:
        # What the tree says where there is one: how things stand with what is not over.
        open_ = [tree for tree in trees[:MESSAGES] if not tree.run.ended]
        terminal.say(*(head_line(tree, time.time(), halted=why[tree.id]) for tree in open_))
    for lines in unhappy[:MESSAGES]:
        terminal.say(*lines)
    if len(unhappy) > MESSAGES:
        terminal.say(plain(f"  and {count(len(unhappy) - MESSAGES, 'more run')}: fleet runs", "dim"))
    # One that could not be started has no facts.
    children = [run for run in following.open if run not in following.roots and run in following.trees]
    if ending == "over" and children:
        terminal.say(
            plain(f"{count(len(children), 'run')} that it started: `fleet recover` goes on with them", "yellow")
        )


def _complain(front: Front, trees: list[Tree], held: Mapping[str, str]) -> None:
    """Say on standard error what went wrong: nobody has to guess from an exit code."""
    from fleetprompt.cli.outcome import held_lines
    from fleetprompt.cli.render import failure_lines, head_line, plain
    from fleetprompt.client.wording import count

    terminal = front.terminal
    bad = [tree for tree in trees if tree.run.ended and tree.run.status != "completed"]
    for tree in bad[:MESSAGES]:
        error = tree.run.error
        if len(trees) > 1 or error is None:
            terminal.say(head_line(tree, time.time()))
        if error is not None:
            terminal.say(*failure_lines(error))
    if len(bad) > MESSAGES:
        terminal.say(plain(f"and {count(len(bad) - MESSAGES, 'more run')}: fleet runs", "dim"))
    for run, why in held.items():
        terminal.say(*held_lines(run, why))
