"""The pieces of a streamed answer put together. PURE: plain values in, deltas and an answer out.

Providers differ in what they call a piece of a tool call: some number every call, some send all of them as number 0,
some send no number, some no id. A call begins where a different id, or a name after whole arguments, says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from fleetprompt.engine.ports.model import Delta, Finish, ToolCall

BYTES_PER_TOKEN: Final = 3
"""Of English and code it is about four: an estimate from above."""
_FINISHES: Final[dict[str, Finish]] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"),
        "content_filter",
    ),
}


class CallPiece(Struct, frozen=True):
    """A piece of a tool call, as it was sent."""

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: str = ""


class Assembled(Struct, frozen=True):
    """A whole answer."""

    text: str
    reasoning: str
    calls: tuple[ToolCall, ...]
    finish: Finish


class _Slot:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, piece: CallPiece) -> None:
        self.id = piece.id
        self.index = piece.index
        self.name = ""
        self.arguments: list[str] = []

    def is_whole(self) -> bool:
        """It has arguments, and they are JSON: what comes with a name begins another call."""
        if not self.arguments:
            return False
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True


class Assembler:
    """What was received of one answer so far."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._slots: list[_Slot] = []
        self._held = {"text": "", "reasoning": ""}
        """Half a character: some servers cut an escaped one between two chunks."""
        self.size = 0
        """Characters that came, of every kind."""

    @property
    def begun(self) -> bool:
        """Something of the answer came."""
        return self.size > 0 or bool(self._slots)

    @property
    def tokens(self) -> int:
        """Tokens that came, estimated from above."""
        return estimate_tokens(
            "".join([*self._text, *self._reasoning, *(part for s in self._slots for part in s.arguments)])
        )

    def add(self, text: str = "", reasoning: str = "", calls: Iterable[CallPiece] = ()) -> Iterator[Delta]:
        """Take what one chunk brought; yields what there is to show of it."""
        if reasoning and (shown := self._whole("reasoning", reasoning)):
            self._reasoning.append(shown)
            yield Delta("reasoning", shown)
        if text and (shown := self._whole("text", text)):
            self._text.append(shown)
            yield Delta("text", shown)
        for piece in calls:
            yield from self._call(piece)

    def end(self, finish: str) -> Assembled:
        """The whole answer, with the finish reason that really came."""
        calls = tuple(self._calls())
        reason = _FINISHES.get(finish, "stop")
        if calls and reason == "stop":
            reason = "tool_calls"
        text = joined([*self._text, self._held["text"]])
        return Assembled(text, joined([*self._reasoning, self._held["reasoning"]]), calls, reason)

    def _whole(self, kind: str, piece: str) -> str:
        self.size += len(piece)
        piece = self._held[kind] + piece
        self._held[kind] = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            self._held[kind] = piece[-1]
            piece = piece[:-1]
        return joined([piece]) if piece else ""

    def _call(self, piece: CallPiece) -> Iterator[Delta]:
        slot = self._slot(piece)
        if slot is None:
            slot = _Slot(piece)
            self._slots.append(slot)
        at = self._slots.index(slot)
        slot.id = slot.id or piece.id
        if piece.name and not slot.name:
            slot.name = piece.name
            self.size += len(piece.name)
            yield Delta("tool_name", piece.name, at)
        if piece.arguments:
            slot.arguments.append(piece.arguments)
            self.size += len(piece.arguments)
            yield Delta("tool_args", joined([piece.arguments]), at)

    def _slot(self, piece: CallPiece) -> _Slot | None:
        """The call that a piece belongs to; None: it begins a new one."""
        last = self._slots[-1] if self._slots else None
        if piece.id:
            for slot in reversed(self._slots):
                if slot.id == piece.id and (piece.index is None or slot.index in (None, piece.index)):
                    return slot
            # Its id came late: the name was sent before it.
            return (
                last if last is not None and not last.id and last.index == piece.index and not last.arguments else None
            )
        if piece.index is not None:
            last = next((slot for slot in reversed(self._slots) if slot.index == piece.index), None)
        if last is None or (piece.name and last.name and last.is_whole()):
            return None
        return last

    def _calls(self) -> Iterator[ToolCall]:
        taken: set[str] = set()
        for at, slot in enumerate(self._slots):
            id_ = slot.id or f"call_{at}"
            while id_ in taken:
                id_ += f"_{at}"
            taken.add(id_)
            yield ToolCall(name=slot.name, arguments=joined(slot.arguments) or "{}", id=id_)


def joined(parts: Iterable[str]) -> str:
    """The text of pieces; a character whose two halves came apart is one again, half a one is replaced."""
    text = "".join(parts)
    if any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else False:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated from above."""
    size = len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)
