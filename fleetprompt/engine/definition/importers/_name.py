"""Names that follow the rules here, as near to the foreign ones as can be: stable, readable, unique."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

STEP_ID = 64
WORKFLOW_NAME = 100
_WORKFLOW = re.compile(rf"[a-z][a-z0-9_-]{{0,{WORKFLOW_NAME - 1}}}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")


def slug(text: str, joint: str, length: int, otherwise: str) -> str:
    """The text as a name: lower case, words put together with `joint`; `otherwise` (and what is left) where it does not
    begin with a letter."""
    plain = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode()
    name = _OTHER.sub(joint, _HUMP.sub(joint, plain).lower()).strip(joint)
    if not name[:1].isalpha():
        name = f"{otherwise}{joint}{name}" if name else otherwise
    return name[:length].rstrip(joint)


def workflow_name(text: str) -> str:
    """A name of a workflow, as it is where it can be."""
    return text if _WORKFLOW.fullmatch(text) else slug(text, "-", WORKFLOW_NAME, "workflow")


def unique(name: str, joint: str, length: int, taken: Collection[str]) -> str:
    """The name, or the first of name_2, name_3 … that is free."""
    found, number = name, 1
    while found in taken:
        number += 1
        tail = f"{joint}{number}"
        found = name[: length - len(tail)].rstrip(joint) + tail
    return found


class Ids:
    """Ids of steps, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def make(self, text: str, otherwise: str = "step") -> str:
        """A free id that resembles the text."""
        name = slug(text, "_", STEP_ID, otherwise)
        found = name
        # A thousand steps of one name must not try a thousand numbers each.
        while found in self._taken:
            self._next[name] = self._next.get(name, 1) + 1
            tail = f"_{self._next[name]}"
            found = name[: STEP_ID - len(tail)].rstrip("_") + tail
        self._taken.add(found)
        return found
