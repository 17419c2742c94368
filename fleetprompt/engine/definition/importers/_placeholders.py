"""Texts with placeholders: `{{ expression }}`, `{name}`, and paths that begin with `$`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from fleetprompt.engine.definition.importers._brackets import closing_braces
from fleetprompt.engine.definition.importers._paths import json_path, members, odd_root, resolved
from fleetprompt.engine.definition.importers._terms import (
    IDENTIFIER,
    Name,
    Operand,
    Scope,
    Unknown,
    Untranslatable,
)

BRACES: Final = re.compile(r"\{\s*([A-Za-z_][\w.\-\[\]]*)\s*\}")
_TRIMMED: Final = re.compile(r"^-(?=\s)|(?<=\s)-$")
_MARKS: Final = re.compile(
    r"\{\{|\{%|\{(?=\s*[A-Za-z_])|\$(?=\.{1,2}[A-Za-z_]|\.{1,2}[*\[]|\[\s*(?:['\"?(*:]|-?\d))|^\s*\$(?=\s*$)"
)


class Left(NamedTuple):
    """A placeholder that stays as it is, and why."""

    text: str
    why: str


def filled(
    source: str,
    scope: Scope,
    translate: Callable[[str, Scope], Operand],
    *,
    braces: bool = True,
    paths: bool = True,
    left: list[Left] | None = None,
) -> list[str | Operand]:
    """See `pieces_of`; `translate` is for what stands between double braces."""
    parts: list[str | Operand] = []
    literal, at = "", 0
    while (mark := _MARKS.search(source, at)) is not None:
        start, kind = mark.start(), mark[0]
        literal += source[at:start]
        at = start
        found: Operand | None = None
        try:
            if kind == "{{":
                end = closing_braces(source, start + 2) + 2
                inside = _TRIMMED.sub("", source[start + 2 : end - 2])
                at = end
                found = translate(inside, scope)
            elif kind == "{%":
                at = end = start + 2
                raise Untranslatable("statements have no counterpart here")
            elif kind == "{":
                match = BRACES.match(source, start)
                at = end = match.end() if match is not None else start + 1
                if match is not None and braces:
                    found = named(match[1], scope)
            elif paths:
                path, end = json_path(source, start, scope)
                at = end
                if not scope.knows(str(path[0])):
                    raise Unknown(f"nothing is called `{path[0]}`")
                found = resolved(path, scope)
            else:
                at = start + 1
        except (Untranslatable, Unknown) as error:
            at = max(at, start + len(kind))
            if left is not None:
                left.append(Left(source[start:at], str(error)))
        if found is None:
            literal += source[start:at]
        else:
            if literal:
                parts.append(literal)
            parts.append(found)
            literal = ""
    literal += source[at:]
    return [*parts, literal] if literal or not parts else parts


def named(name: str, scope: Scope) -> Operand:
    """`{name}`, or `{name.member}`."""
    match = IDENTIFIER.match(name)
    root = odd_root(name, 0, scope) or (match[0] if match else name)
    path, end = members(name, len(root), [], lambda at: True)
    if end != len(name) or not scope.knows(root):
        raise Unknown(f"nothing is called `{name}`")
    return resolved([Name(root), *path], scope)
