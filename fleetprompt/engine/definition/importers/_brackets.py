"""Brackets and what is between them, past texts in quotes."""

from __future__ import annotations

import re
from typing import Final

from fleetprompt.engine.definition.importers._terms import Untranslatable

STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def closing_braces(source: str, at: int) -> int:
    """Where the `}}` is that closes what begins at a place. Raises `Untranslatable`."""
    while at < len(source):
        if source.startswith("}}", at):
            return at
        text = STRING.match(source, at)
        at = text.end() if text is not None else at + 1
    raise Untranslatable("`{{` is never closed")


def closing(source: str, at: int) -> int:
    """Where the bracket is that closes the one at a place."""
    depth = 0
    while at < len(source):
        text = STRING.match(source, at)
        if text is not None:
            at = text.end()
            continue
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if depth <= 0:
            return at
        at += 1
    raise Untranslatable("a bracket is never closed")


def split(source: str) -> list[str]:
    """The arguments of a call."""
    found: list[str] = []
    start = at = depth = 0
    while at < len(source):
        text = STRING.match(source, at)
        if text is not None:
            at = text.end()
            continue
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if source[at] == "," and depth == 0:
            found.append(source[start:at])
            start = at + 1
        at += 1
    return [*found, source[start:]] if source.strip() else found
