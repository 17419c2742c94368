"""What expressions of other systems are read as: values, paths, and what names mean at a place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

EACH: Final = "*"
"""A member of a path that stands for every item: `[*]`."""
IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")


class Name(str):
    """A member that is called so, as opposed to `EACH`."""


class Part(str):
    """A member that stands for some of the items: `1:3`."""


Path = Sequence[Any]
"""A root name and members: `Name`, a position, `Part` or `EACH`."""


class Untranslatable(Exception):
    """There is no such expression here; says why."""


class Unknown(Exception):
    """Nothing is called so; says what."""


class Operand(NamedTuple):
    """A translated value."""

    text: str
    simple: bool = True
    """It needs no brackets whatever is around it."""

    @property
    def bound(self) -> str:
        return self.text if self.simple else f"({self.text})"


class Scope(Protocol):
    """What names mean at a place of the file."""

    @property
    def roots(self) -> Sequence[str]:
        """Names that do not look like names, such as `step-1`, the longest first."""
        ...

    def knows(self, root: str) -> bool:
        """Whether something is called so."""
        ...

    def resolve(self, path: Path) -> Operand:
        """What a path is here. Raises `Unknown`, `Untranslatable`."""
        ...

    def word(self, text: str) -> None:
        """A bare word was taken for text."""
        ...


def quoted(text: str) -> str:
    """A text as a literal of the language."""
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + plain.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def bound(part: str | Operand) -> str:
    """A part of a text as an operand."""
    return quoted(part) if isinstance(part, str) else part.bound
