"""`fleet demo`: a small shop with a real fault, and the workflow that finds it, asks, repairs it and reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console
    from fleetprompt.demo.world import World

app = typer.Typer(rich_markup_mode=None)
WORKFLOW = "incident-triage.yaml"
OPERATOR = "demo-operator"


@app.command("demo")
def demo(
    ctx: typer.Context,
    approve_as: Annotated[
        str, typer.Option("--approve-as", metavar="NAME", help="Approve the repair as this operator, without asking.")
    ] = "",
    directory: Annotated[str, typer.Option("--directory", metavar="DIR", help="Where the shop lives meanwhile.")] = "",
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Follow it line by line, without the console.")] = False,
) -> int:
    """Watch a real incident being handled: faults, a question, a repair, a report. Needs no network and no keys."""
    from rich.text import Text

    front: Front = ctx.obj
    terminal = front.terminal
    if not approve_as and not (terminal.interactive or (json and sys.stdin.isatty())):
        approve_as = OPERATOR
    if approve_as and not quiet:
        terminal.say(
            Text(
                f"NOBODY IS ASKED: the repair will be approved as `{approve_as}`, because ", style="bold yellow"
            ).append("there is no terminal" if approve_as == OPERATOR else "of --approve-as", style="bold yellow")
        )
    file = find_workflow(Path.cwd())
    folder = Path(directory) if directory else front.project.state / "demo"
    if terminal.interactive and not (approve_as or json or quiet or plain):
        return _run_in_console(front, file, folder)
    return _run(front, file, folder, approve_as, json, quiet)


def find_workflow(here: Path) -> Path:
    """The workflow of the demo: beside the current folder, or the packaged one. Raises `NotFound`."""
    import fleetprompt
    from fleetprompt.engine.core.errors import NotFound

    package = Path(fleetprompt.__file__).parent
    places = [here / "workflows", package / "demo" / "workflows", package.parent / "workflows"]
    for place in places:
        if (place / WORKFLOW).is_file():
            return place / WORKFLOW
    raise NotFound(f"the workflow of the demo, {WORKFLOW}, is not installed", hint="install fleetprompt again")


def _run(front: Front, file: Path, folder: Path, approve_as: str, json: bool, quiet: bool) -> int:
    from fleetprompt.cli.outcome import EXIT_CODES
    from fleetprompt.cli.run import start_and_wait
    from fleetprompt.cli.watching import Manner
    from fleetprompt.client.files import load_files
    from fleetprompt.client.opening import make_state
    from fleetprompt.client.protocol import StartRun

    make_state(front.project.state)
    files = load_files(file, file.parent)
    world = _start(front, folder, quiet)
    over = True
    try:
        request = StartRun(files=files, inputs=world.inputs(), labels={"demo": "incident"}, by=front.me)
        code = front.run(start_and_wait(front, request, Manner(quiet=quiet, json=json, approve_as=approve_as)))
        over = code in EXIT_CODES.values()
    finally:
        if over:
            world.stop()
    if not quiet:
        _tell(front, world, over)
    return code


def _run_in_console(front: Front, file: Path, folder: Path) -> int:
    """The console, opened on the incident; it is over when the operator leaves and the run is."""
    from fleetprompt.cli.console import open_in_terminal
    from fleetprompt.client.files import load_files
    from fleetprompt.client.opening import make_state
    from fleetprompt.client.protocol import StartRun

    make_state(front.project.state)
    files = load_files(file, file.parent)
    world = _start(front, folder, quiet=False)
    started: list[str] = []
    over = True

    async def start_it(console: Console) -> str:
        request = StartRun(files=files, inputs=world.inputs(), labels={"demo": "incident"}, by=front.me)
        started.append(await console.start(request))
        return f"run {started[0]}"

    try:
        code = open_in_terminal(front, first=start_it)
        over = not started or front.ask(lambda console: _is_over(console, started[0]))
    finally:
        if over:
            world.stop()
    _tell(front, world, over)
    return code


async def _is_over(console: Console, run: str) -> bool:
    return (await console.run(run)).finished_at is not None


def _start(front: Front, folder: Path, quiet: bool) -> World:
    from fleetprompt.demo.world import Taken, start
    from fleetprompt.engine.core.errors import Refused

    if not quiet:
        front.terminal.say(f"starting a shop in {_near(folder)}, and waiting until customers complain…")
    try:
        return start(folder)
    except Taken as error:
        raise Refused(str(error), hint="wait until it is over, or choose another folder: --directory DIR") from None
    except RuntimeError as error:
        raise Refused(str(error), hint=f"see {folder / 'supervisor.log'}") from None
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise Refused(f"the shop cannot live in {folder}: {why}", hint="choose a folder: --directory DIR") from None


def _tell(front: Front, world: World, over: bool) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.wording import rough
    from fleetprompt.demo.supervisor import LINGER
    from fleetprompt.engine.core.inert import inert

    report = world.report_path
    if not over:
        front.terminal.say(f"the shop stays open for {rough(LINGER)}, or until the run is over: `fleet recover`")
        return
    if not report.is_file():
        front.terminal.say("there is no report: the run did not get that far")
        return
    lines = [line for line in report.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    front.terminal.say(Text())
    front.terminal.say(*(Text(inert(line.strip("#* ")), style="bold") for line in lines[:2]))
    front.terminal.say(Text("the whole report: ", style="dim").append_text(plain(_near(report), "cyan")))


def _near(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
