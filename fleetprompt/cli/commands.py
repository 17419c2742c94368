"""The commands: known here by name and purpose, imported when they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Literal

import typer
from typer.core import TyperGroup

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Workflows": {
        "init": ("project", "Make a project here: .fleet/, fleet.toml, a first workflow."),
        "run": ("run", "Run a workflow and watch it."),
        "recover": ("run", "Go on with what a crash or a Ctrl-C interrupted, and wait for it."),
        "validate": ("project", "Check workflow files: every problem, at its place."),
        "import": ("importing", "Translate a workflow of another system into a workflow file."),
        "schema": ("project", "Print the JSON Schema of workflow files, for editors."),
        "agents": ("agents", "List agents with what they have done; show one, check their files."),
        "memory": ("memory", "List and search what agents remember; add to it, have some forgotten."),
        "chat": ("chat", "Talk to an agent, or to a workflow that takes messages."),
        "workflows": ("workflows", "List workflows; pause, activate or archive one."),
        "triggers": ("triggers", "List what starts runs, and why a trigger has started none."),
        "schedules": ("schedules", "List schedules; fire, pause or resume one, show the next times."),
    },
    "Runs": {
        "runs": ("runs", "List runs."),
        "show": ("show", "Show one run: its steps, values, approvals and errors."),
        "logs": ("logs", "Show what the steps of a run have logged."),
        "facts": ("facts", "Show the journal of a run."),
        "record": ("record", "Write what models answered in a run to a file, for replay/FILE."),
        "cost": ("cost", "Show what was spent: by workflow, step, model, day or run."),
        "cancel": ("control", "End runs early."),
        "pause": ("control", "Start nothing new in runs until they are resumed."),
        "resume": ("control", "Let paused runs go on."),
        "retry": ("control", "Do finished runs again, from what went wrong or from a step."),
        "raise": ("control", "Let runs spend more than their guardrails say."),
        "resolve": ("control", "Answer for a step of which nobody knows whether it happened."),
    },
    "People and signals": {
        "approvals": ("approvals", "List what waits for a decision; show all of one."),
        "approve": ("approvals", "Approve one of them."),
        "reject": ("approvals", "Reject one of them."),
        "escalate": ("approvals", "Hand one of them on to whom it names next."),
        "token": ("token", "List, make or revoke tokens for those who come over the network."),
        "audit": ("audit", "List what operators changed and were refused; verify that nobody has changed the log."),
        "grants": ("grants", "List what was allowed for every run of a workflow; take it back."),
        "signal": ("signals", "Publish a signal."),
        "signals": ("signals", "List signals; show or replay some, list what came to nothing."),
    },
    "Upkeep": {
        "serve": ("serve", "Hold the engine, start what is due, and answer over HTTP."),
        "switch": ("switch", "Pause, drain or stop the whole fleet; let it go on."),
        "notify": ("notify", "List who is notified of what; try whether it works."),
        "db": ("database", "Upgrade, check, back up or prune the store."),
        "models": ("models", "List what the names of models stand for, and what they cost."),
        "tools": ("tools", "List the tools that agents can be given; accept an MCP server."),
        "doctor": ("doctor", "Check that everything is in order here."),
        "demo": ("demo", "Watch a real incident being handled: faults, an approval, a repair."),
    },
}
EngineChoice = Literal["embedded", "process", "none"]
HIDDEN = {"engine": ("engine", "Hold the engine without a face.")}
"""Commands for other programs: not in the help, but with a help of their own."""
GLOBAL = {
    "--utc": False,
    "--db": True,
    "--chdir": True,
    "-C": True,
    "--tenant": True,
    "--connect": True,
    "--token-file": True,
    "--ca-file": True,
}
"""Options of `fleet` itself that may stand anywhere, and whether they take a value."""
COMPLETION = {
    "--install-completion": "Install completion for the current shell, or for the one that is named after it.",
    "--show-completion": "Show the script of it, to copy it or to install it in another way.",
}
"""Options about completion, which typer has as flags, and their help."""


class LazyGroup(TyperGroup):
    """Knows its commands by the table above and imports one when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in the order of the help."""
        return [name for section in SECTIONS.values() for name in section]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, with its module imported; None when there is none."""
        if cmd_name not in self.commands:
            found = next((each[cmd_name] for each in (*SECTIONS.values(), HIDDEN) if cmd_name in each), None)
            if found is None:
                return None
            from fleetprompt.cli.examples import complete_help

            app: typer.Typer = import_module(f"fleetprompt.cli.{found[0]}").app
            loaded = typer.main.get_group(app).commands[cmd_name]
            loaded.short_help = found[1]
            complete_help(cmd_name, loaded)
            self.commands[cmd_name] = loaded
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class does it; for a name that does not exist, with those that it may have meant."""
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names and args[0] not in HIDDEN:
            from difflib import get_close_matches

            from fleetprompt.engine.core.errors import NotFound

            close = get_close_matches(args[0], names, n=1)
            hint = f"did you mean `fleet {close[0]}`?" if close else "`fleet --help` lists the commands"
            raise NotFound(f"there is no command `{args[0]}`", hint=hint)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class does it; what stands after an option about completion is the shell that is meant."""
        for at, argument in enumerate(args):
            option, _, shell = argument.partition("=")
            if option in COMPLETION and not ctx.resilient_parsing:
                from fleetprompt.cli.completion import script

                script(ctx, option, shell or next(iter(args[at + 1 :]), ""))
            if argument in self.list_commands(ctx):
                break
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The help, without importing a single command."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, purpose) for name, (_, purpose) in section.items()], col_max=12)


class ListGroup(TyperGroup):
    """A noun: alone, or with a filter, it lists; followed by one of its verbs it does that."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb `list` in front where there is none."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="A durable workflow engine and its command line, for fleets of AI agents.",
    epilog="Filters such as 'status:failed since:2h' work wherever FILTER stands; `fleet runs --help` shows how. "
    "Exit codes: 0 done, 1 not, 2 usage or validation, 130 stopped by Ctrl-C; `fleet run --help` has those of runs. "
    "NO_COLOR is respected, everything that lists takes --json.",
)


@app.callback()
def _fleet(
    ctx: typer.Context,
    utc: bool = typer.Option(False, "--utc", help="Show times in UTC."),
    db: str = typer.Option("", "--db", metavar="URL", help="Another store than the project's."),
    chdir: str = typer.Option("", "--chdir", "-C", metavar="DIR", help="Work as if started there."),
    tenant: str = typer.Option("", "--tenant", metavar="NAME", help="Whose runs and all else it is about."),
    connect: str = typer.Option(
        "", "--connect", metavar="URL", help="Ask the daemon there: https://HOST:8377 (or FLEET_CONNECT)."
    ),
    token_file: str = typer.Option(
        "", "--token-file", metavar="FILE", help="The token that it is shown (or FLEET_TOKEN_FILE)."
    ),
    ca_file: str = typer.Option(
        "", "--ca-file", metavar="FILE", help="Authorities to trust besides the system's, PEM (or FLEET_CA_FILE)."
    ),
    engine: EngineChoice = typer.Option("embedded", "--engine", help="Where the console's engine runs."),
    read_only: bool = typer.Option(False, "--read-only", help="A console that changes nothing."),
    link: str = typer.Option("", "--open", metavar="PLACE", help="Where the console opens: 'runs status:failed'."),
    version: bool = typer.Option(False, "--version", help="Show the version."),
) -> int | None:
    from fleetprompt.cli.connection import connection
    from fleetprompt.cli.front import Front

    if version:
        from fleetprompt import __version__

        print(f"fleet {__version__}")
        raise typer.Exit
    there = connection(ctx.invoked_subcommand, connect, token_file, ca_file, database=db)
    ctx.obj = Front(utc=utc, database=db, directory=chdir, tenant=tenant, connection=there)
    if ctx.invoked_subcommand is not None:
        return None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(ctx.get_help())
        return None
    from fleetprompt.cli.console import open_in_terminal

    return open_in_terminal(ctx.obj, engine, read_only=read_only, link=link)


def command() -> Any:
    """The whole command line, ready to be run."""
    found: Any = typer.main.get_command(app)
    for option in found.params:
        option.help = COMPLETION.get(option.opts[0], option.help)
    return found
