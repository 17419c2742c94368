"""`fleet import`: workflows of other systems."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.completion import complete_format, complete_source
from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.definitions import Problem
    from fleetprompt.client.importing import Imported

app = typer.Typer(rich_markup_mode=None)

WORDS = {
    "unsupported": "left out",
    "differs": "different here",
    "assumed": "assumed",
    "suspicious": "to look at",
    "too-many": "more",
}
"""What the codes of losses mean in the sum at the end."""


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|-", help="JSON or YAML, or - for standard input.", autocompletion=complete_source),
    ],
    form: Annotated[
        str,
        typer.Option("--format", metavar="FORM", help="Its form; else by its shape.", autocompletion=complete_format),
    ] = "",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")] = "",
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: Json = False,
) -> int:
    """Translate a workflow of another system into a workflow file of this project: workflows/NAME.yaml.

    Whatever is not in the result, or works otherwise there, is listed with its place.
    """
    from fleetprompt.client.definitions import InvalidFile
    from fleetprompt.client.importing import check_imported, import_workflow, known_agents, read_source, target, write

    front: Front = ctx.obj
    prints = stdout or output == "-"
    source = sys.stdin.buffer.read() if file == "-" else read_source(front.here / file)
    named = "<stdin>" if file == "-" else file
    workflows = front.project.workflows
    agents = known_agents(front.project.root, workflows)
    imported = import_workflow(source, form or None, file=named, agents=agents)
    path: Path | None = None
    if not prints:
        path = front.here / output if output else target(imported, workflows, force=force)
        write(imported.text, path, force=force)
    try:
        names = front.names
    except InvalidFile:
        # What is wrong with the project's settings is no matter of this file.
        names = None
    place = path.parent if path is not None else workflows
    shown_as = _shown(path) if path is not None else f"{imported.name}.yaml"
    problems = check_imported(imported, shown_as, place, names)
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        _print_json(front, imported, path, problems, text=prints)
    else:
        _print(front, imported, path, problems, errors)
    return 2 if errors else 0


def _shown(path: Path) -> str:
    from fleetprompt.client.files import shown

    return shown(path)


def _print_json(
    front: Front, imported: Imported, path: Path | None, problems: tuple[Problem, ...], *, text: bool
) -> None:
    from fleetprompt.client.definitions import as_json

    found: dict[str, Any] = {
        "workflow": imported.name,
        "format": imported.format,
        "file": _shown(path) if path is not None else None,
        "losses": [as_json(loss) for loss in imported.losses],
        "problems": [as_json(problem) for problem in problems],
        "ids": imported.ids,
    }
    front.terminal.json(found | ({"text": imported.text} if text else {}))


def _print(front: Front, imported: Imported, path: Path | None, problems: tuple[Problem, ...], errors: int) -> None:
    from fleetprompt.cli.render import marked, plain
    from fleetprompt.cli.terminal import is_terminal
    from fleetprompt.client.definitions import render

    # The file is a result where it is printed, and what is said about it where it is not.
    stream = sys.stderr if path is None else sys.stdout
    if path is None:
        sys.stdout.write(imported.text)
        sys.stdout.flush()
    color = is_terminal(stream) and front.terminal.err.color_system is not None
    for problem in (*imported.losses, *problems):
        stream.write(render(problem, color) + "\n")
    stream.flush()
    line = marked("failed" if errors else "completed").append(" ")
    line.append_text(plain(_shown(path) if path is not None else imported.name))
    line.append_text(plain(f"  {_sum(imported, errors)}", "dim"))
    if path is None:
        front.terminal.say(line)
    else:
        front.terminal.print(line)


def _sum(imported: Imported, errors: int) -> str:
    from collections import Counter

    counts = Counter(WORDS.get(str(loss.code), "more") for loss in imported.losses)
    parts = [f"{number} {word}" for word, number in counts.items()] or ["everything is in it"]
    if errors:
        parts.append(f"{errors} {'error' if errors == 1 else 'errors'} to mend before it runs")
    return ", ".join(parts)
