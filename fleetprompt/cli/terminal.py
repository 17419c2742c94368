"""Where output goes: results to standard output, everything else to standard error.

What came from outside is made inert before it gets here: as `Text`, never as markup.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

from fleetprompt.client.wording import Times, sign

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fleetprompt.cli.table import Cell, Column

_DANGEROUS = re.compile("[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""What JSON leaves as it is and a terminal does not: C1 controls, bidi marks, invisible characters."""


class Terminal:
    """The two streams, and how the reader's clock shows times."""

    def __init__(self, *, utc: bool = False) -> None:
        from datetime import UTC

        self.times = Times(UTC if utc else None)
        self.columns = _columns()

    @cached_property
    def out(self) -> Console:
        """For results."""
        return _console(sys.stdout, self.columns)

    @cached_property
    def err(self) -> Console:
        """For progress, notices and questions."""
        return _console(sys.stderr, self.columns)

    @property
    def width(self) -> int | None:
        """Cells in a line of standard output; None where nobody counts them."""
        return self.out.width if self.columns or is_terminal(sys.stdout) else None

    @property
    def interactive(self) -> bool:
        """A person reads the output and can answer."""
        return is_terminal(sys.stdin) and is_terminal(sys.stdout)

    def print(self, *lines: str | Text) -> None:
        """Write lines to standard output."""
        for line in lines:
            self.out.print(line if not isinstance(line, str) else sign(line), soft_wrap=True)

    def say(self, *lines: str | Text) -> None:
        """Write lines to standard error; on a terminal broken between words, and indented like their beginning."""
        from rich.text import Text

        from fleetprompt.cli.table import wrapped

        for line in lines:
            text = line if isinstance(line, Text) else Text(sign(line))
            for part in wrapped(text, self.err) if is_terminal(sys.stderr) else [text]:
                self.err.print(part, soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """Write a table to standard output."""
        from fleetprompt.cli.table import layout

        self.print(*layout(columns, rows, self.width))

    def json(self, value: Any) -> None:
        """Write a value as JSON, in which no string can do anything to a terminal."""
        sys.stdout.write(as_json(value) + "\n")
        sys.stdout.flush()

    def json_line(self, value: Any) -> None:
        """Write a value as one line of JSON."""
        sys.stdout.write(as_json(value, indent=None) + "\n")
        sys.stdout.flush()

    def confirm(self, question: str) -> bool:
        """Ask yes or no; anything but yes is no."""
        answer = self.ask(f"{question} [y/N] ")
        return answer.strip().lower() in ("y", "yes")

    def ask(self, question: str) -> str:
        """A line from the person at the terminal; what was typed before the question does not count."""
        forget_typed()
        sys.stderr.write(sign(question))
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
        return line.rstrip("\n")


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON text of plain values."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _DANGEROUS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can be written to freely."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:
        return False


def colored() -> bool:
    """Whether what is written to standard output is coloured, found out without loading the means to do it."""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")


def forget_typed() -> None:
    """Throw away what was typed ahead: an answer counts only when it was given to the question."""
    import termios

    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):
        return


def _columns() -> int | None:
    """What `COLUMNS` says; None where it says nothing."""
    text = os.environ.get("COLUMNS", "")
    return max(20, int(text)) if text.isdecimal() and int(text) else None


def _console(stream: TextIO, columns: int | None) -> Console:
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            # Not the end of the process, as rich has it: an engine has to be closed before that.
            self.quiet = True
            raise BrokenPipeError(errno.EPIPE, "the reader has gone")

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Output(
        file=stream,
        color_system=None if plain else "auto",
        width=columns if columns else None if is_terminal(stream) else 10_000,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
