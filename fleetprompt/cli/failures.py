"""What a person sees when something goes wrong: a message, the place, a hint. Never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetprompt.cli.terminal import Terminal, is_terminal
from fleetprompt.client.definitions import InvalidFile, render
from fleetprompt.engine.core.errors import FleetError, Refused
from fleetprompt.engine.core.inert import inert

USAGE = 2
CRASHED = 70
UNWRITTEN = 74


def explain(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong on standard error; returns the exit code."""
    error = leaf(error)
    if isinstance(error, InvalidFile) and error.problems:
        return _file(error)
    if isinstance(error, FleetError):
        return _expected(error)
    if hasattr(error, "format_message"):
        return _usage(error)
    if type(error).__name__ == "Abort":
        return 130
    if isinstance(error, OSError) and (code := _surroundings(error)):
        return code
    return _crash(error, arguments)


def leaf(error: BaseException) -> BaseException:
    """The error itself, where tasks that ran side by side have wrapped it."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        known = [found for found in error.exceptions if isinstance(found, FleetError)]
        error = known[0] if known else error.exceptions[0]
    return error


def _surroundings(error: OSError) -> int:
    """What is wrong with where we are, and not with us; 0 for anything else."""
    match error:
        case OSError(filename=None, errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):
            sys.stderr.write(f"fleet: the output cannot be written: {os.strerror(error.errno or 0).lower()}\n")
            return UNWRITTEN
        case PermissionError(filename=str() as file):
            hint = "check who owns it, and the folders above it"
            return _expected(Refused("permission denied", where=file, hint=hint))
        case FileNotFoundError(filename=None):
            return _expected(Refused("the folder you are in is gone", hint="go to another, or give one with -C DIR"))
        case _:
            return 0


def _expected(error: FleetError) -> int:
    from rich.text import Text

    first, *rest = (error.message or "something went wrong").splitlines()
    lines = [Text("fleet: ", style="bold red").append(inert(first), style="bold")]
    lines += [Text(inert(line)) for line in rest]
    if error.where:
        lines.append(Text("  in ", style="dim").append(inert(error.where)))
    if error.hint:
        lines.append(Text("  hint: ", style="cyan").append(inert(error.hint)))
    Terminal().say(*lines)
    return USAGE


def _file(error: InvalidFile) -> int:
    from rich.text import Text

    terminal = Terminal()
    color = terminal.err.color_system is not None
    for problem in error.problems:
        sys.stderr.write(render(problem, color) + "\n")
    errors = sum(problem.severity == "error" for problem in error.problems)
    text = f"{errors} {'problem' if errors == 1 else 'problems'} to fix"
    terminal.say(Text("fleet: ", style="bold red").append(text, style="bold"))
    return USAGE


def _usage(error: Any) -> int:
    """A mistake in the command line itself, as typer found it."""
    from rich.text import Text

    terminal = Terminal()
    # What checks a value names itself before it says what is wrong.
    message = str(error.format_message()).replace(": Value error, ", ": ", 1)
    first = message[:1].lower() + message[1:]
    terminal.say(Text("fleet: ", style="bold red").append(inert(first.rstrip(".")), style="bold"))
    context = getattr(error, "ctx", None)
    if context is not None:
        terminal.say(Text("  hint: ", style="cyan").append(f"`{inert(context.command_path)} --help` shows how"))
    return USAGE


def _crash(error: BaseException, arguments: Sequence[str]) -> int:
    kind = type(error).__name__
    path = _write_log(error, arguments)
    where = f"; the details are in {path}, please report them" if path else ""
    said = inert(str(error).splitlines()[0]) if str(error) else ""
    sys.stderr.write(f"fleet: internal error: {kind}{': ' + said if said else ''}{where}\n")
    return CRASHED


def _write_log(error: BaseException, arguments: Sequence[str]) -> Path | None:
    import platform
    import tempfile
    import traceback
    from datetime import UTC, datetime

    from fleetprompt import __version__
    from fleetprompt.settings import STATE, find_root

    now = datetime.now(UTC)
    lines = [
        f"fleet {__version__}, Python {platform.python_version()}, {platform.platform()}, {now.isoformat()}",
        f"terminal: {is_terminal(sys.stdout)}",
        # Values of inputs and data may be confidential: only the command is told.
        f"command: {next((argument for argument in arguments if not argument.startswith('-')), '')}",
        "",
        *traceback.format_exception(error),
    ]
    folders = [Path(tempfile.gettempdir())]
    try:
        state = find_root(Path.cwd()) / STATE
        if state.is_dir():
            folders.insert(0, state)
    except OSError:
        pass
    for folder in folders:
        path = folder / f"crash-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write("\n".join(lines))
        except OSError:
            continue
        return path
    return None
