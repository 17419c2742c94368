"""`fleet demo`: a small shop with a real fault, and the example workflows at work in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.cli.watching import Manner
    from fleetprompt.client.protocol import Console
    from fleetprompt.demo.examples import Example
    from fleetprompt.demo.world import World

app = typer.Typer(rich_markup_mode=None)
OPERATOR = "demo-operator"
UP = "up"
"""In place of an example: only the shop."""
SERVICE_PORT, CONTROL_PORT = 8081, 8082
"""Where the examples look for it if they are not told."""


@app.command("demo")
def demo(
    ctx: typer.Context,
    example: Annotated[
        str,
        typer.Argument(
            metavar="[EXAMPLE|up]", help="Which example; `up`: only the shop, for `fleet run` in another terminal."
        ),
    ] = "incident-triage",
    approve_as: Annotated[
        str, typer.Option("--approve-as", metavar="NAME", help="Approve everything as this operator, without asking.")
    ] = "",
    directory: Annotated[
        str, typer.Option("--directory", metavar="DIR", help="Where the shop lives meanwhile, inside of the project.")
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="Only say which examples there are.")] = False,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Follow it line by line, without the console.")] = False,
) -> int:
    """Watch a real incident being handled, or another example. Needs no network and no keys: without a model that is
    configured, the words of agents are simulated, and nothing else is."""
    from rich.text import Text

    from fleetprompt.cli import colleague

    front: Front = ctx.obj
    terminal = front.terminal
    if listed:
        return _list(front, json)
    folder = _folder(front, directory)
    if example == UP:
        return _stay_open(front, folder)
    wanted = _example(example)
    why = "of --approve-as"
    if not approve_as and not (terminal.interactive or (json and sys.stdin.isatty())):
        approve_as, why = OPERATOR, "there is no terminal"
    if not quiet:
        second = f", and by `{colleague.NAME}` what takes two people" if wanted.people > 1 else ""
        if approve_as:
            said = f"NOBODY IS ASKED: everything will be approved as `{approve_as}`{second}, because {why}"
            terminal.say(Text(said, style="bold yellow"))
        elif second:
            said = f"this takes two people: once you have approved, `{colleague.NAME}` does, without looking"
            terminal.say(Text(said, style="bold yellow"))
    if approve_as:
        approve_as = f"{approve_as},{colleague.NAME}"
    file = find_workflow(Path.cwd(), wanted.name)
    if terminal.interactive and not (approve_as or json or quiet or plain):
        return _run_in_console(front, wanted, file, folder)
    from fleetprompt.cli import watching

    manner = watching.Manner(quiet=quiet, json=json, approve_as=approve_as, unasked=why)
    return _run(front, wanted, file, folder, manner)


def _list(front: Front, json: bool) -> int:
    from fleetprompt.demo.examples import EXAMPLES

    found = [(example, find_workflow(Path.cwd(), example.name)) for example in EXAMPLES.values()]
    if json:
        front.terminal.json([{"name": each.name, "about": each.about, "file": str(file)} for each, file in found])
        return 0
    from fleetprompt.cli.table import Column

    rows = [[each.name, each.about, _near(file)] for each, file in found]
    front.terminal.table([Column("EXAMPLE"), Column("WHAT HAPPENS", flexible=True), Column("FILE", drop=1)], rows)
    return 0


def find_workflow(here: Path, name: str) -> Path:
    """The file of an example: beside the current folder, or the packaged one. Raises `NotFound`."""
    import fleetprompt
    from fleetprompt.engine.core.errors import NotFound

    package = Path(fleetprompt.__file__).parent
    places = [here / "workflows", package / "demo" / "workflows", package.parent / "workflows"]
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    raise NotFound(f"the example {name}.yaml is not installed", hint="install fleetprompt again")


def _example(name: str) -> Example:
    from fleetprompt.demo.examples import EXAMPLES
    from fleetprompt.engine.core.closest import did_you_mean
    from fleetprompt.engine.core.errors import NotFound

    if name not in EXAMPLES:
        hint = did_you_mean(name, [*EXAMPLES, UP]) or f"examples are {', '.join(EXAMPLES)}"
        raise NotFound(f"there is no example `{name}`", hint=hint)
    return EXAMPLES[name]


def _folder(front: Front, directory: str) -> Path:
    """Where the shop lives: where the tools of agents reach. Raises `InvalidInput`."""
    from fleetprompt.engine.core.errors import InvalidInput

    root = front.project.root
    folder = (front.here / directory if directory else root / "demo").resolve()
    inside = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    if not inside or inside[0] == front.project.state.name:
        raise InvalidInput(
            f"the shop cannot live in {_near(folder)}: agents reach what is in the project's folder only",
            hint=f"choose a folder in {root}: --directory DIR",
        )
    return folder


def _run(front: Front, example: Example, file: Path, folder: Path, manner: Manner) -> int:
    from msgspec.structs import replace

    from fleetprompt.cli.colleague import agree
    from fleetprompt.cli.outcome import EXIT_CODES
    from fleetprompt.cli.run import start_and_wait
    from fleetprompt.client.files import load_files
    from fleetprompt.client.opening import make_state
    from fleetprompt.client.protocol import StartRun

    make_state(front.project.state)
    files = load_files(file, file.parent, front.names)
    world = _start(front, example, folder, manner.quiet)
    over = True
    try:
        request = StartRun(
            files=files, inputs=_inputs(front, example, world), labels={"demo": example.name}, by=front.me
        )
        if not manner.approve_as and example.people > 1:
            manner = replace(manner, beside=agree)
        code = front.run(start_and_wait(front, request, manner))
        over = code in EXIT_CODES.values()
    finally:
        if over:
            world.stop()
    if not manner.quiet:
        _tell(front, example, world, over)
    return code


def _run_in_console(front: Front, example: Example, file: Path, folder: Path) -> int:
    """The console, opened on the run; it is over when the operator leaves and the run is."""
    from fleetprompt.cli.colleague import agree
    from fleetprompt.cli.console import open_in_terminal
    from fleetprompt.client.files import load_files
    from fleetprompt.client.opening import make_state
    from fleetprompt.client.protocol import StartRun

    make_state(front.project.state)
    files = load_files(file, file.parent, front.names)
    world = _start(front, example, folder, quiet=False)
    started: list[str] = []
    over = True

    async def start_it(console: Console) -> str:
        inputs = _inputs(front, example, world)
        request = StartRun(files=files, inputs=inputs, labels={"demo": example.name}, by=front.me)
        started.append(await console.start(request))
        return f"run {started[0]}"

    async def second(console: Console) -> None:
        await agree(console, started[0])

    try:
        code = open_in_terminal(front, first=start_it, beside=second if example.people > 1 else None)
        over = not started or front.ask(lambda console: _is_over(console, started[0]))
    finally:
        if over:
            world.stop()
    _tell(front, example, world, over)
    return code


async def _is_over(console: Console, run: str) -> bool:
    return (await console.run(run)).finished_at is not None


def _inputs(front: Front, example: Example, world: World) -> dict[str, str]:
    return example.inputs(world, front.project.root)


def _stay_open(front: Front, folder: Path) -> int:
    """Only the shop, until Ctrl-C."""
    import signal

    from fleetprompt.cli.render import plain
    from fleetprompt.client.opening import make_state
    from fleetprompt.demo.examples import DEFAULT, EXAMPLES

    make_state(front.project.state)
    world = _start(front, EXAMPLES[DEFAULT], folder, False, _free(SERVICE_PORT), _free(CONTROL_PORT))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        say = front.terminal.say
        say("the shop is open; in another terminal:")
        for example in EXAMPLES.values():
            say(plain(f"  {_command(front, example, world)}", "cyan"), plain(f"      {example.about}", "dim"))
        say("Ctrl-C closes it")
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        world.stop()
    return 0


def _command(front: Front, example: Example, world: World) -> str:
    """What starts an example in this world: what is not the default of an input is given."""
    import shlex

    from fleetprompt.client.files import load_file

    file = find_workflow(Path.cwd(), example.name)
    defaults = load_file(file).plan.inputs
    given = _inputs(front, example, world).items()
    more = [f"-i {name}={shlex.quote(value)}" for name, value in given if defaults[name].default != value]
    return " ".join(["fleet run", _near(file), *more])


def _free(port: int) -> int:
    """That port if nobody listens there, else 0: any."""
    import socket

    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _start(
    front: Front, example: Example, folder: Path, quiet: bool, service_port: int = 0, control_port: int = 0
) -> World:
    from fleetprompt.demo.world import Taken, start
    from fleetprompt.engine.core.errors import Refused

    if not quiet:
        wait = ", and waiting until customers complain" if example.incident else ""
        front.terminal.say(f"starting a shop in {_near(folder)}{wait}…")
    try:
        return start(folder, service_port=service_port, control_port=control_port, incident=example.incident)
    except Taken as error:
        raise Refused(str(error), hint="wait until it is over, or choose another folder: --directory DIR") from None
    except RuntimeError as error:
        raise Refused(str(error), hint=f"see {folder / 'supervisor.log'}") from None
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise Refused(
            f"the shop cannot live in {_near(folder)}: {why}", hint="choose a folder: --directory DIR"
        ) from None


def _tell(front: Front, example: Example, world: World, over: bool) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.client.wording import rough
    from fleetprompt.demo.supervisor import LINGER
    from fleetprompt.engine.core.inert import inert

    if not over:
        front.terminal.say(f"the shop stays open for {rough(LINGER)}, or until the run is over: `fleet recover`")
        return
    if not example.report:
        return
    report = world.directory / example.report
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
