"""Values of users: shown folded and inert, read from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.client.definitions import inert
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.facts import Blob

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


def pair(text: str, what: str) -> tuple[str, str]:
    """`NAME=VALUE`. Raises `InvalidInput`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInput(f"{what} is written NAME=VALUE, not {inert(text)!r}")
    return name, value


def read_json(text: str, what: str) -> Any:
    """JSON given as text, as `@FILE`, or as `-` for standard input. Raises `InvalidInput`."""
    where = ""
    data = text.encode()
    if text == "-":
        where, data = "standard input", sys.stdin.buffer.read()
    elif text.startswith("@"):
        where = text[1:]
        data = read_file(Path(where))
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{what} is not JSON: {error}", where=where, hint="text needs quotes: '\"text\"'") from None


def read_mapping(text: str, what: str) -> dict[str, Any]:
    """A JSON object from a file, or from standard input for `-`. Raises `InvalidInput`."""
    value = read_json("-" if text == "-" else f"@{text}", what)
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} are a JSON object of names and values")
    return value


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises `InvalidInput`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or 'unknown error').lower()}") from None
