"""A step of a foreign file that is being made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from fleetprompt.engine.definition.importers._draft import Draft, Scope
from fleetprompt.engine.definition.importers._flow import Node
from fleetprompt.engine.definition.importers._given import Found, Given, kind_of
from fleetprompt.engine.definition.importers._terms import Operand
from fleetprompt.engine.definition.problems import Pointer, ProblemCode


class Making(Struct):
    """A step that is being made."""

    draft: Draft
    node: Node
    given: Given
    """Where its parameters stand."""
    scope: Scope
    local: dict[str, tuple[Operand, Pointer]]
    """What the step maps to names of its own."""

    def lost(self, pointer: Pointer, message: str, hint: str = "") -> None:
        self.draft.report.lost(pointer, message, hint)

    def unused(self) -> dict[str, Operand]:
        """Names of its own that nothing has read; they count as read then."""
        found = {name: value for name, (value, _) in self.local.items() if name not in self.scope.used}
        self.scope.used.update(found)
        return found

    def text(self, found: Found) -> str:
        """A text with placeholders that has to be one when it is filled in."""
        value = found.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            message = f"`{found.pointer[-1]}` must be text, it is {kind_of(value)}"
            self.draft.report.wrong(found.pointer, ProblemCode.WRONG_TYPE, message)
            return ""
        return self.scope.text(value, found.pointer, only_text=True)


Maker = Callable[[Making], dict[str, Any]]


def is_one_expression(text: str) -> bool:
    """Whether a text is nothing but one expression, so that it becomes whatever that is."""
    return text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1
