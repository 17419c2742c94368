"""Unified diffs that people decide about: whole where they are short, and honest about what they leave out."""

from __future__ import annotations

import difflib

from fleetprompt.engine.core.inert import inert

MOST_LINES = 600
LINE_CHARS = 500
MOST_COMPARED = 20_000
"""Lines of both sides together beyond which no line is compared: that would take seconds."""


def unified(path: str, before: str | None, after: str | None) -> str:
    """The difference between two texts of a file; None: there is no file."""
    old = (before or "").splitlines(keepends=True)
    new = (after or "").splitlines(keepends=True)
    name = inert(path)
    names = ("/dev/null" if before is None else f"a/{name}", "/dev/null" if after is None else f"b/{name}")
    if len(old) + len(new) > MOST_COMPARED:
        head = [f"--- {names[0]}\n", f"+++ {names[1]}\n", f"@@ {len(old)} lines before, {len(new)} after @@\n"]
        lines = [*head, *(f"-{line}" for line in old[:MOST_LINES]), *(f"+{line}" for line in new[:MOST_LINES])]
        return _bounded(lines, len(old) + len(new) + 3)
    lines = list(difflib.unified_diff(old, new, *names))
    return _bounded(lines, len(lines))


def _bounded(lines: list[str], count: int) -> str:
    shown = [_line(line) for line in lines[:MOST_LINES]]
    if count > MOST_LINES:
        shown.append(f"[… {count - MOST_LINES} more lines]")
    return "\n".join(shown)


def _line(line: str) -> str:
    whole = line.endswith("\n")
    text = inert(line.rstrip("\n"))
    if len(text) > LINE_CHARS:
        text = f"{text[:LINE_CHARS]} [… {len(text) - LINE_CHARS} more characters]"
    return text if whole else f"{text}\n\\ no line end at the end of the file"
