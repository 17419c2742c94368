"""Values of users as people see them: folded, and inert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetprompt.engine.core.facts import Blob
from fleetprompt.engine.core.inert import inert

PREVIEW = 200
"""Characters of a value on one line."""


def preview(value: Any, most: int = PREVIEW) -> str:
    """A value on one line, inert, cut where it is long."""
    if isinstance(value, Blob):
        return f"{value.size:,} bytes, kept apart ({value.digest[:12]})"
    text = value if isinstance(value, str) else one_line_json(value)
    return cut(inert(" ↵ ".join(text.strip().splitlines()) if "\n" in text else text), most)


def one_line_json(value: Any) -> str:
    """A value as JSON that a person can read on one line."""
    import json

    try:
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return repr(value)


def cut(text: str, most: int) -> str:
    """At most so many characters, the last one telling that there were more."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def block(value: Any, most: int = 30) -> list[str]:
    """A value on several lines: text as it is, the rest as indented JSON. Inert, and folded after `most` lines."""
    import json

    if isinstance(value, str):
        lines = value.splitlines() or [""]
    elif isinstance(value, Blob):
        lines = [preview(value)]
    else:
        built = msgspec.to_builtins(value)
        flat = json.dumps(built, ensure_ascii=False, default=str)
        long = len(flat) > 100
        lines = json.dumps(built, ensure_ascii=False, indent=2, default=str).splitlines() if long else [flat]
    shown = [inert(line) for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"… {len(lines) - most} more lines")
    return shown


def is_diff(lines: Sequence[str]) -> bool:
    """Whether lines are a unified diff."""
    return any(line.startswith("@@ ") for line in lines) and any(line.startswith(("--- ", "diff ")) for line in lines)


def diff_style(line: str) -> str:
    """What a line of a diff is: `strong` for names of files, `hunk`, `added`, `removed`, or nothing of these."""
    for start, style in (("+++", "strong"), ("---", "strong"), ("diff ", "strong"), ("@@", "hunk")):
        if line.startswith(start):
            return style
    return "added" if line.startswith("+") else "removed" if line.startswith("-") else ""
