"""Values of users as they are given on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert


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
