"""What becomes of errors: those that are meant for people are told and everything goes on; of any other the operator
sees one line, the log of the engine the rest, and nobody a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetprompt.engine.core.errors import FleetError

if TYPE_CHECKING:
    from textual.message import Message

FATAL = 70
"""Exit code after a mistake of ours (`EX_SOFTWARE` of sysexits.h)."""


def explained(error: FleetError) -> str:
    """An error on one line: what happened, where, and what can be done."""
    where = f" ({error.where})" if error.where and error.where not in error.message else ""
    hint = f" — {error.hint}" if error.hint else ""
    return f"{error.message}{where}{hint}"


class Tells:
    """A node of Textual that survives what went wrong while it did what it was asked for."""

    async def _dispatch_message(self, message: Message) -> None:
        # Textual ends the node whose handler raises, and with it the screen.
        node: Any = self
        try:
            await super()._dispatch_message(message)  # type: ignore[misc]
        except FleetError as error:
            node.app.say("error", explained(error))
