"""The command line: `fleet`. One file per noun; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

GARBAGE = 50_000
"""Objects between two collections: imports make many and leave none behind, and looking for garbage among them is a
sixth of the start."""
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Whatever goes wrong, nobody sees a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(GARBAGE, *gc.get_threshold()[1:])
    try:
        _never_fail_to_print()
        code = _dispatch(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from fleetprompt.cli.failures import explain, leaf

        code = BROKEN_PIPE if isinstance(leaf(error), BrokenPipeError) else explain(error, given)
        with suppress(OSError, ValueError):
            # Python flushes once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _dispatch(arguments: list[str]) -> int:
    from fleetprompt.cli.commands import GLOBAL, command

    if "COMP_WORDS" in os.environ:
        from fleetprompt.cli.completion import after_a_mark

        after_a_mark()
    try:
        result = command().main(_global_first(arguments, GLOBAL), prog_name="fleet", standalone_mode=False)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        return ended.code if isinstance(ended.code, int) else 0
    return result if isinstance(result, int) else 0


def _global_first(arguments: list[str], takes_value: dict[str, bool]) -> list[str]:
    """Options of `fleet` itself may stand anywhere before `--`: they are moved to the front."""
    front: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        if argument == "--":
            rest += [argument, *queue]
            break
        name, equals, _ = argument.partition("=")
        if name not in takes_value:
            rest.append(argument)
            continue
        front.append(argument)
        if takes_value[name] and not equals and queue:
            front.append(queue.pop(0))
    return [*front, *rest]


def _never_fail_to_print() -> None:
    """A character that the terminal's encoding lacks is shown as an escape, a stream that is closed swallows it all."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # A file that is opened later must not get the number of a stream: what is printed would go there.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
