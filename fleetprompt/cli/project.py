"""`fleet init`, `fleet validate`, `fleet schema`: the files of a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.definitions import Checked

app = typer.Typer(rich_markup_mode=None)

SETTINGS = """\
# FleetPrompt: settings of this project. Every line shows a default; remove the # to change it.

# Path of the store, or postgresql://USER@HOST/DATABASE[?schema=NAME].
# The environment's FLEET_DATABASE_URL and --db come before it.
# database = ".fleet/fleet.db"

# Folder of the workflow files.
# workflows = "workflows"

# Runs that are active at a time in the whole fleet. Environment: FLEET_MAX_RUNS.
# max_runs = 50

# Threads for functions that block, and the seconds that work may take to finish when the engine closes.
# threads = 64
# grace = 10.0

# Finished runs and logs older than this are deleted by `fleet db prune`.
# retention_days = 90.0
# log_retention_days = 14.0

# Places of step pools by name: how many steps of a kind run at once.
# [pools]
# shell = 32
# http = 256

# What is checked and changed as signals come in, by patterns of their types (docs/signals.md).
# [signals."deploy.*"]
# schema = "schemas/deploy.json"    # JSON Schema that their data fits
# rate = "100/s"                    # per source and type
# redact = ["/card"]                # JSON pointers of what is masked before anything is stored

# Who is told of signals that leave runs, and of runs that are over: signed CloudEvents (docs/signals.md).
# [subscriptions.ops]
# url = "https://ops.example.com/fleet"
# types = ["deploy.*", "fleet.run.finished"]
# if = "data.status == 'failed'"
# secret = "OPS_HOOK"               # name of a secret: whsec_ and base64
# networks = []                     # private networks in which the receiver may be
# max_attempts = 10
# timeout = 15.0
# concurrency = 4

# How `fleet serve` listens, and whom it lets in (docs/serve.md).
# [serve]
# host = "127.0.0.1"
# port = 8377
# tls_cert = ""                     # needed, with tokens, to listen beyond this machine
# tls_key = ""
# local_role = "admin"              # of those who come from this machine without a token; none: they need one, too
# hosts = []                        # further names by which the daemon is called
# origins = []                      # pages that may call it from a browser

# Groups of operators, for `approvers: [group:oncall]` in workflow files.
# [groups]
# oncall = ["ana", "ben"]
"""
HELLO = """\
# yaml-language-server: $schema=../.fleet/workflow.schema.json
# Run it:   fleet run hello
# With:     fleet run hello -i name=Ada
name: hello
description: Greets, counts the letters, and asks before it says goodbye.
inputs:
  name: {type: string, default: world, description: Who is greeted}
steps:
  - id: greet
    type: shell
    argv: [echo, "Hello, ${{ inputs.name }}!"]
    repeat: safe
  - id: letters
    type: transform
    output: "${{ inputs.name | length }}"
  - id: gate
    type: approval
    message: "Say goodbye to ${{ inputs.name }}?"
    show: {greeting: "${{ steps.greet.output.stdout }}", letters: "${{ steps.letters.output }}"}
  - id: goodbye
    type: shell
    needs: [gate.approved]
    argv: [echo, "Goodbye, ${{ inputs.name }}."]
    repeat: safe
"""
SCHEMA_FILE = "workflow.schema.json"


@app.command("init")
def init(
    ctx: typer.Context,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where; made if it is not there.")] = "",
) -> int:
    """Make a project: .fleet/, fleet.toml, a first workflow, and the schema for editors. Nothing is overwritten."""
    from fleetprompt.client.opening import make_state
    from fleetprompt.engine.core.errors import InvalidInput
    from fleetprompt.settings import FILE, STATE, load_project

    front: Front = ctx.obj
    root = (front.here / directory).resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        new = not (root / STATE).exists()
        make_state(root / STATE)
        (root / STATE).chmod(0o700)
        _say(front, f"{STATE}/", new, "state of the project: not for version control")
        _say(front, FILE, _write_new(root / FILE, SETTINGS), "settings, all at their defaults")
        workflows = load_project(root).workflows
        name = f"{workflows.name}/hello.yaml"
        if workflows.is_dir() and any(workflows.glob("*.y*ml")):
            _say(front, f"{workflows.name}/", False, "has workflows")
        else:
            workflows.mkdir(parents=True, exist_ok=True)
            _say(front, name, _write_new(workflows / "hello.yaml", HELLO), "a first workflow: fleet run hello")
        path = root / STATE / SCHEMA_FILE
        changed = _write_schema(path)
        _say(front, f"{STATE}/{SCHEMA_FILE}", changed, "for editors that know yaml-language-server")
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InvalidInput(f"the project cannot be made: {reason}", where=str(error.filename or root)) from None
    return 0


def _write_new(path: Path, text: str) -> bool:
    """Write a file unless it is there; whether it was written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _write_schema(path: Path) -> bool:
    text = _schema_text()
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True


def _schema_text() -> str:
    import json

    from fleetprompt.client.definitions import schema

    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _say(front: Front, what: str, done: bool, purpose: str) -> None:
    from fleetprompt.cli.render import marked, plain

    line = marked("completed" if done else "skipped").append(" ").append_text(plain(f"{what:<28}"))
    line.append(f"  {'written' if done else 'is there'}").append_text(plain(f"  {purpose}", "dim"))
    front.terminal.print(line)


@app.command("schema")
def schema(
    ctx: typer.Context,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")] = "",
) -> int:
    """Print the JSON Schema of workflow files, for editors and other tools."""
    from fleetprompt.engine.core.errors import InvalidInput

    front: Front = ctx.obj
    text = _schema_text()
    if not output or output == "-":
        sys.stdout.write(text)
        return 0
    try:
        (front.here / output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {(error.strerror or '').lower()}") from None
    front.terminal.say(f"written to {output}")
    return 0


@app.command("validate")
def validate(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|DIR|-", help="Workflow files, folders, or - for standard input."),
    ] = None,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How problems are written.")] = "text",
) -> int:
    """Check workflow files: every problem of every file, at its place, with those of the agents, tools, models and
    workflows that they name, and whether the project's policy and its settings of tools can be used. Without a file
    also all else that is to be said of these."""
    from fleetprompt.client.definitions import check_files, check_settings, check_text, check_usable, find_files
    from fleetprompt.client.files import shown
    from fleetprompt.engine.core.errors import NotFound

    front: Front = ctx.obj
    project = front.tolerate()
    # With a policy or settings of tools that cannot be used none of them can do anything.
    look = check_usable if files or project.unread else check_settings
    checked = look(front.names, project.problems)
    # What only the settings say is not known where nobody can read them.
    known = None if project.unread else front.names
    given = files or [str(front.project.workflows)]
    places = [front.here / name for name in given if name != "-"]
    if "-" in given:
        checked.append(check_text(sys.stdin.buffer.read(), "<stdin>", front.here, known))
    try:
        found = find_files(places)
    except NotFound:
        if files or not checked:
            raise
        found = []
    checked += check_files((Path(shown(path)) for path in found), known)
    errors = sum(one.errors for one in checked)
    if form == "json":
        from fleetprompt.client.definitions import as_json

        front.terminal.json([as_json(problem) for one in checked for problem in one.problems])
    else:
        _print_problems(front, checked, errors)
    return 2 if errors else 0


def _print_problems(front: Front, checked: list[Checked], errors: int) -> None:
    from fleetprompt.cli.terminal import colored, is_terminal
    from fleetprompt.client.definitions import render
    from fleetprompt.client.wording import count, faults

    color = colored()
    for one in checked:
        for problem in one.problems:
            sys.stdout.write(render(problem, color) + "\n")
    sys.stdout.flush()
    warnings = sum(len(one.problems) for one in checked) - errors
    if errors or (is_terminal(sys.stdout) and is_terminal(sys.stderr)):
        good = sum(not one.errors for one in checked)
        said = f"{good} of {count(len(checked), 'file')} valid"
        front.terminal.say(", ".join(filter(None, (said, faults(errors, warnings)))))
