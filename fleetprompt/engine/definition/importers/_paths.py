"""Paths: members and positions after a name, in bare expressions, in `{name}` and in JSONPath."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from fleetprompt.engine.core.expr import RESERVED
from fleetprompt.engine.definition.importers._terms import (
    EACH,
    Name,
    Operand,
    Part,
    Path,
    Scope,
    Untranslatable,
    quoted,
)

MEMBER: Final = re.compile(r"\??\.([A-Za-z_]\w*)")
_HYPHENED: Final = re.compile(r"-[A-Za-z_]\w*")
_INDEX: Final = re.compile(r"\[\s*(-?\d{1,9})\s*\]")
_KEY: Final = re.compile(r"""\[\s*(?:'([^'\\\n]*)'|"([^"\\\n]*)")\s*\]""")
_ALL: Final = re.compile(r"\[\s*\*\s*\]|\.\*")
_PATH_MEMBER: Final = re.compile(r"\.([A-Za-z_]\w*(?:-\w+)*)")
_PATH_START: Final = re.compile(r"\$(?=\.[A-Za-z_]|\[['\"])")
_PART: Final = re.compile(r"\[\s*(-?\d{0,9})\s*:\s*(-?\d{0,9})\s*:?\s*\]")
_BEYOND: Final = re.compile(r"\.\.(?=[A-Za-z_*\[])|\[(?=\s*[-\d:,'\"?(@*])|\(\)")
"""What goes on with a path and is more than a path here: a search, several members, every second one, a function."""
_ITEMS: Final = ("loop", "length")
"""A name of a loop's own."""
_INSIDE_WORD: Final = re.compile(r"[\w-]")


def chain(base: str, path: Path) -> Operand:
    """A value and its members, as an expression. Raises `Untranslatable`."""
    text = base
    for at, member in enumerate(path):
        if isinstance(member, int):
            text += f"[{member}]"
        elif isinstance(member, Part):
            text += f"[{member}]"
            return _each(text, path[at + 1 :])
        elif isinstance(member, Name):
            plain = re.fullmatch(r"[A-Za-z]\w*", member, re.ASCII) and member not in RESERVED
            text += f".{member}" if plain else f"[{quoted(member)}]"
        else:
            return _each(text, path[at + 1 :])
    return Operand(text)


def _each(base: str, rest: Path) -> Operand:
    if not rest:
        return Operand(base)
    if not all(isinstance(member, int) or (isinstance(member, Name) and "." not in member) for member in rest):
        raise Untranslatable("`*` can stand once in a path")
    return Operand(f"{base} | map(attribute={quoted('.'.join(map(str, rest)))})", simple=False)


def resolved(path: Path, scope: Scope) -> Operand:
    """What a path is at a place; `rows.length` is how many there are. Raises `Unknown`, `Untranslatable`."""
    if len(path) > 1 and path[-1] == "length" and isinstance(path[-1], Name) and tuple(path) != _ITEMS:
        return Operand(f"{scope.resolve(path[:-1]).bound} | length", simple=False)
    return scope.resolve(path)


def odd_root(source: str, at: int, scope: Scope) -> str:
    """The name that begins at a place and does not look like one; empty when there is none."""
    for root in scope.roots:
        if source.startswith(root, at) and not _INSIDE_WORD.match(source, at + len(root)):
            return root
    return ""


def members(source: str, at: int, path: list[Any], hyphened: Callable[[int], bool]) -> tuple[list[Any], int]:
    """The members that follow a name, and where they end. `hyphened`: whether what begins at a place, after a hyphen
    without spaces, belongs to the name of the member before it."""
    while True:
        if (found := _ALL.match(source, at)) is not None:
            path.append(EACH)
        elif (found := MEMBER.match(source, at)) is not None:
            end = found.end()
            while (more := _HYPHENED.match(source, end)) is not None and hyphened(end + 1):
                end = more.end()
            path.append(Name(source[found.start(1) : end]))
            at = end
            continue
        elif (found := _INDEX.match(source, at)) is not None:
            path.append(int(found[1]))
        elif (found := _KEY.match(source, at)) is not None:
            path.append(Name(found[1] if found[1] is not None else found[2]))
        else:
            return path, at
        at = found.end()


def json_path(source: str, at: int, scope: Scope) -> tuple[list[Any], int]:
    """The path that begins with `$` at a place, and where it ends. Raises `Unknown`, `Untranslatable`."""
    start = at
    if _PATH_START.match(source, at) is None:
        raise Untranslatable(f"`{source[at : at + 12].split()[0]}` does not begin as $.step.field does")
    at += 1
    path: list[Any] = []
    root = odd_root(source, at + 1, scope) if source.startswith(".", at) else ""
    if root:
        path.append(Name(root))
        at += 1 + len(root)
    while True:
        if (found := _ALL.match(source, at)) is not None:
            path.append(EACH)
        elif (found := _PATH_MEMBER.match(source, at)) is not None:
            path.append(Name(found[1]))
        elif (found := _INDEX.match(source, at)) is not None:
            path.append(int(found[1]))
        elif (found := _PART.match(source, at)) is not None and "-" not in (found[1], found[2]):
            path.append(Part(f"{found[1]}:{found[2]}"))
        elif (found := _KEY.match(source, at)) is not None:
            path.append(Name(found[1] if found[1] is not None else found[2]))
        else:
            break
        at = found.end()
    if (beyond := _BEYOND.match(source, at)) is not None:
        raise Untranslatable(f"`{source[start : beyond.end()]}…` searches, chooses or computes, and paths here do not")
    if not path or not isinstance(path[0], Name):
        raise Untranslatable("a path begins with a name")
    return path, at
