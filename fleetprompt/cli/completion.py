"""What the shell completes: runs, workflows, approvals, and the terms of filters. Never an error, whatever is there.

Zsh evaluates what it is offered: what could be a command there is not offered, or taken out of its description.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, NoReturn

import typer

from fleetprompt.engine.core.errors import InvalidInput

Item = tuple[str, str]
MOST = 50
MARKS = (":", "=", ">", "<", ">=", "<=")


_OFFERED = re.compile(r"[\w./:@%+=,~#\[\]<>-]+")
_NOT_SAID = re.compile(r"[^\w .,:;/@#+=<>()-]+")
Completer = Callable[[typer.Context, str], list[Item]]


def harmless(completer: Completer) -> Completer:
    """Only what no shell takes for anything but text."""

    @wraps(completer)
    def offered(ctx: typer.Context, incomplete: str) -> list[Item]:
        items = completer(ctx, incomplete)
        return [(value, _NOT_SAID.sub(" ", doc)) for value, doc in items if _OFFERED.fullmatch(value)]

    return offered


def script(ctx: typer.Context, option: str, shell: str) -> NoReturn:
    """Install or show what the shell needs; without one, for the shell that has called us."""
    from typer import completion
    from typer._completion_shared import Shells, _get_shell_name

    found = shell or _get_shell_name() or ""
    known = [each.value for each in Shells]
    if found not in known:
        what = f"there is no completion for `{found}`" if found else "nothing tells which shell this is"
        raise InvalidInput(what, hint=f"say for which, such as `fleet {option} bash`: {', '.join(known)}")
    act = completion.show_callback if option == "--show-completion" else completion.install_callback
    act(ctx, ctx.command.params[0], found)
    raise typer.Exit


@harmless
def complete_run(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Runs by the end of their id, newest first."""

    async def heads(console: Any) -> list[Item]:
        from fleetprompt.client.wording import short
        from fleetprompt.engine.ports import Page

        found, _ = await console.runs("", Page(limit=MOST))
        items = [(head.id if head.id.startswith(incomplete) and incomplete else short(head.id), head) for head in found]
        return [(id_, f"{head.workflow} {head.status}") for id_, head in items]

    return [("last", "the newest run"), *_asked(ctx, heads)]


@harmless
def complete_approval(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Approvals that wait."""

    async def waiting(console: Any) -> list[Item]:
        from fleetprompt.engine.ports import Page

        found, _ = await console.approvals("status:pending", Page(limit=MOST))
        return [(approval.id, f"{approval.workflow} {approval.path}: {approval.message[:60]}") for approval in found]

    return [("last", "the newest one"), *_asked(ctx, waiting)]


@harmless
def complete_signal(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Signals, the newest first."""

    async def newest(console: Any) -> list[Item]:
        from fleetprompt.engine.ports import Page

        found, _ = await console.signals("", Page(limit=MOST))
        return [(signal.id, f"{signal.type} from {signal.source}") for signal in found]

    return _asked(ctx, newest)


@harmless
def complete_step(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Paths of the steps of the run that stands before."""
    return _steps(ctx, doubtful=False)


@harmless
def complete_doubtful_step(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Paths of the steps that are in doubt."""
    return _steps(ctx, doubtful=True)


def _steps(ctx: typer.Context, *, doubtful: bool) -> list[Item]:
    run = ctx.params.get("run") or next(iter(ctx.params.get("runs") or ()), "last")

    async def steps(console: Any) -> list[Item]:
        from fleetprompt.cli.show import load_tree

        tree = await load_tree(console, await console.run(await console.find(run)))
        found = (
            tree.doubtful() if doubtful else [step for step in tree.run.steps.values() if step.role != "compensation"]
        )
        return [(step.path, step.status) for step in found[:MOST]]

    return _asked(ctx, steps)


@harmless
def complete_workflow(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Workflows that the store knows."""

    async def known(console: Any) -> list[Item]:
        return [(workflow.name, workflow.status) for workflow in await console.workflows()]

    return _asked(ctx, known)


@harmless
def complete_agent(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Agents, by the files and workflows in which they are written."""

    async def known(console: Any) -> list[Item]:
        found = await console.agents()
        return [(each.name, each.agent.description if each.agent is not None else "cannot be used") for each in found]

    return _asked(ctx, known) or _agent_files(ctx)


def _agent_files(ctx: typer.Context) -> list[Item]:
    """Where nothing was run yet."""
    from fleetprompt.cli.front import Front
    from fleetprompt.client.agents import places

    try:
        front = Front(directory=ctx.find_root().params.get("chdir") or "")
        folders = places(front.project.root, inside=[front.project.workflows])
        return [(path.stem, "file") for folder in folders for path in sorted(folder.glob("*.yaml"))]
    except Exception:
        return []


@harmless
def complete_file_or_workflow(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Workflow files and folders here, and workflows that the store knows."""
    return [*_files(incomplete, (".yaml", ".yml")), *complete_workflow(ctx, incomplete)]


@harmless
def complete_source(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Files that may be workflows of other systems, and folders."""
    return _files(incomplete, (".json", ".yaml", ".yml"))


@harmless
def complete_format(ctx: typer.Context, incomplete: str) -> list[Item]:
    """The forms of workflows that can be imported."""
    from fleetprompt.client.importing import formats

    try:
        return list(formats().items())
    except Exception:
        return []


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[Item]:
    """Folders here, and files that are called so."""
    from pathlib import Path

    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    found: list[Item] = []
    try:
        for path in sorted(folder.iterdir())[:500]:
            text = str(path) if folder != Path() or not incomplete.startswith("./") else f"./{path}"
            if path.is_dir() and not path.name.startswith("."):
                found.append((text + "/", "folder"))
            elif path.suffix in suffixes:
                found.append((text, "file"))
    except OSError:
        pass
    return found


@harmless
def complete_run_filter(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Runs, and terms of a filter over them."""
    from fleetprompt.engine.core.query_fields import RUN_FIELDS

    plain = not any(mark in incomplete for mark in ":<>=")
    return [*_terms(ctx, incomplete, RUN_FIELDS), *(complete_run(ctx, incomplete) if plain else [])]


@harmless
def complete_runs_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Terms of a filter over runs."""
    from fleetprompt.engine.core.query_fields import RUN_FIELDS

    return _terms(ctx, incomplete, RUN_FIELDS)


@harmless
def complete_approvals_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Terms of a filter over approvals."""
    from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS

    return _terms(ctx, incomplete, APPROVAL_FIELDS)


@harmless
def complete_signals_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """What can be done with signals, and terms of a filter over them."""
    from fleetprompt.engine.core.query_fields import SIGNAL_FIELDS

    return _verbs(ctx) + _terms(ctx, incomplete, SIGNAL_FIELDS)


@harmless
def complete_workflows_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """What can be done with workflows, and terms of a filter over them."""
    from fleetprompt.engine.core.query_fields import WORKFLOW_FIELDS

    return _verbs(ctx) + _terms(ctx, incomplete, WORKFLOW_FIELDS)


@harmless
def complete_schedules_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """What can be done with schedules, and terms of a filter over them."""
    from fleetprompt.engine.core.query_fields import SCHEDULE_FIELDS

    return _verbs(ctx) + _terms(ctx, incomplete, SCHEDULE_FIELDS)


@harmless
def complete_firings_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Terms of a filter over firings."""
    from fleetprompt.engine.core.query_fields import FIRING_FIELDS

    return _terms(ctx, incomplete, FIRING_FIELDS)


@harmless
def complete_schedule(ctx: typer.Context, incomplete: str) -> list[Item]:
    """Schedules by their names."""

    async def known(console: Any) -> list[Item]:
        return [(state.name, f"{state.status} {state.rhythm}") for state in await console.schedules()]

    return _asked(ctx, known)


@harmless
def complete_agents_term(ctx: typer.Context, incomplete: str) -> list[Item]:
    """What can be done with agents, and terms of a filter over them."""
    from fleetprompt.engine.core.query_fields import AGENT_FIELDS

    return _verbs(ctx) + _terms(ctx, incomplete, AGENT_FIELDS)


def _verbs(ctx: typer.Context) -> list[Item]:
    """The commands that could stand where the first term does."""
    if ctx.params.get("filter_") or ctx.parent is None:
        return []
    commands = getattr(ctx.parent.command, "commands", {})
    return [(name, command.get_short_help_str()) for name, command in commands.items() if not command.hidden]


def _terms(ctx: typer.Context, incomplete: str, fields: Any) -> list[Item]:
    from fleetprompt.engine.core.query_complete import complete

    before = _cut_by_bash(ctx)
    text = before + incomplete

    def values(name: str) -> Iterable[str]:
        return _workflow_names(ctx) if name == "wf" else ()

    found = [(text[: item.start] + item.text, item.doc) for item in complete(text, len(text), fields, values)]
    # Bash replaces only what it takes for the last word: what is before a colon stays where it is.
    return [(whole[len(before) :], doc) for whole, doc in found if whole.startswith(before)]


def _cut_by_bash(ctx: typer.Context) -> str:
    """What bash has split off at a colon or an equals sign: `status:fa` comes as three words."""
    words = os.environ.get("COMP_WORDS", "")
    if not words or "COMP_CWORD" not in os.environ:
        return ""
    before = words.split()[: int(os.environ["COMP_CWORD"])]
    if len(before) > 1 and before[-1] in MARKS:
        return "".join(before[-2:])
    return ""


def after_a_mark() -> None:
    """Bash takes a mark that was typed last, as in `status:`, for the word to complete: what follows it is that."""
    words, at = os.environ.get("COMP_WORDS", "").split(), os.environ.get("COMP_CWORD", "")
    if at.isdecimal() and int(at) < len(words) and words[int(at)] in MARKS:
        os.environ["COMP_CWORD"] = str(int(at) + 1)


def _workflow_names(ctx: typer.Context) -> list[str]:
    return [name for name, _ in complete_workflow(ctx, "")]


def _asked(ctx: typer.Context, question: Callable[[Any], Coroutine[Any, Any, list[Item]]]) -> list[Item]:
    """What the store answers; nothing when there is none, or anything goes wrong: a shell shows no errors here."""
    from fleetprompt.cli.connection import connection
    from fleetprompt.cli.front import Front

    try:
        root = ctx.find_root().params
        given = {name: root.get(name) or "" for name in ("db", "chdir", "tenant", "connect", "token_file", "ca_file")}
        there = connection(ctx.info_name, given["connect"], given["token_file"], given["ca_file"], database=given["db"])
        front = Front(database=given["db"], directory=given["chdir"], tenant=given["tenant"], connection=there)
        return front.ask(question)
    except Exception:
        return []
