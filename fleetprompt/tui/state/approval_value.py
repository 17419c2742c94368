"""Values that are decided about, line by line: texts as they are, the rest so that it can be read. PURE.

What is long is made inert piece by piece, as it is read.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from fleetprompt.client.forms import Field
from fleetprompt.client.values import diff_style, is_diff, one_line_json
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.json_text import JsonText, TextLine
from fleetprompt.tui.state.lines import CONTINUED, Part

Line = tuple[Part, ...]
PIECE = 400
"""Characters of a text that are made inert at a time."""
DEEPEST = 40
"""Spaces before what is nested from which on it is shown as plain JSON."""
FLAT = 60
"""Characters of a small value that stands beside its name."""
COMMANDS = ("argv", "command", "run", "script", "code", "sql", "query", "patch", "diff")
"""Fields whose text is looked at as it is."""


def value_lines(value: Any, space: str) -> Iterator[Line]:
    """A value, indented by `space`."""
    if isinstance(value, str):
        yield from text_lines(value, space)
    elif len(space) > DEEPEST:
        yield from _json(value, space)
    elif isinstance(value, dict) and value:
        # As the author wrote it: what matters most stands first.
        for key, item in value.items():
            yield from member_lines(str(key), item, space)
    elif isinstance(value, list) and value and any(map(_many_lines, value)):
        for item in value:
            first, *rest = list(value_lines(item, f"{space}  "))
            yield ((f"{space}- ", "punctuation"), *_cut(first, len(space) + 2))
            yield from rest
    else:
        yield from _json(value, space)


def member_lines(key: str, item: Any, space: str) -> Iterator[Line]:
    """A value behind its name; a command as one would type it."""
    name: Line = ((space, ""), (inert(key), "key"), (": ", "punctuation"))
    if key == "argv" and isinstance(item, list) and item and all(isinstance(part, str) for part in item):
        first, *rest = shlex.join(item).split("\n")
        yield from long_line((*name, ("$ ", "punctuation")), first, "code")
        for line in rest:
            yield from long_line(((f"{space}  ", ""),), line, "code")
    elif isinstance(item, str) and "\n" not in item:
        plain = _plain(item)
        style = "code" if key in COMMANDS and plain else "string"
        yield from long_line(name, item if plain else one_line_json(item), style)
    elif not isinstance(item, (str, dict, list)) or not item:
        yield (*name, scalar(item))
    elif not _many_lines(item) and len(one_line_json(item)) <= FLAT:
        yield (*name, *_on_one_line(JsonText(item)))
    else:
        yield name
        yield from value_lines(item, f"{space}  ")


def _many_lines(value: Any) -> bool:
    """Whether there is text in it that is more than a line: as JSON nobody could read it."""
    if isinstance(value, str):
        return "\n" in value
    if isinstance(value, dict):
        return any(map(_many_lines, value.values()))
    return isinstance(value, list) and any(map(_many_lines, value))


def _plain(text: str) -> bool:
    """Whether a text cannot be taken for anything else than a text."""
    return Field(name="").text(text) == text and text == text.strip() != ""


def scalar(value: Any) -> Part:
    """A single value."""
    if isinstance(value, str):
        return (inert(value if _plain(value) else one_line_json(value)), "string")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (inert(one_line_json(value)), "number" if is_number else "literal")


def text_lines(text: str, space: str) -> Iterator[Line]:
    """Text as it is: a command, code, a diff."""
    lines = text.split("\n")
    style = diff_style if is_diff(lines) else _code_style
    for line in lines:
        yield from long_line(((space, ""),), line, style(line))


def long_line(before: Line, text: str, style: str) -> Iterator[Line]:
    """A line that ends with a text of any length: what is long is made inert piece by piece, as it is read."""
    yield (*before, (inert(text[:PIECE]), style))
    for at in range(PIECE, len(text), PIECE):
        yield (CONTINUED, (inert(text[at : at + PIECE]), style))


def _code_style(line: str) -> str:
    return "code"


def _json(value: Any, space: str) -> Iterator[Line]:
    text = JsonText(value)
    for number in range(len(text)):
        line = text.line(number)
        yield (CONTINUED if line.continued else (space, ""), *_parts(line))


def _on_one_line(text: JsonText) -> Line:
    """A small value on one line, coloured."""
    parts: list[Part] = []
    for number in range(len(text)):
        line = text.line(number)
        stripped = len(line.text) - len(line.text.lstrip())
        parts += _cut(_parts(line), stripped)
        if line.text.rstrip().endswith(","):
            parts.append((" ", ""))
    return tuple(parts)


def _parts(line: TextLine) -> Line:
    parts: list[Part] = []
    at = 0
    for start, stop, kind in line.spans:
        if start > at:
            parts.append((line.text[at:start], ""))
        parts.append((line.text[start:stop], kind))
        at = stop
    if at < len(line.text):
        parts.append((line.text[at:], ""))
    return tuple(parts)


def _cut(line: Line, most: int) -> Line:
    """A line without its first characters."""
    parts: list[Part] = []
    for text, style in line:
        if most >= len(text):
            most -= len(text)
            continue
        parts.append((text[most:], style))
        most = 0
    return tuple(parts)
