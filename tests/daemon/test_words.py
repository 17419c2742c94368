"""What models say, told once and whole, whatever of it was missing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.daemon.step_ids import OWN
from fleetprompt.daemon.words import Words
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.ports import Piece

ANSWER = "There are files."


def piece(kind: str, text: str = "", key: str = "sre/llm/0") -> Piece:
    return Piece(path="say", key=key, kind=kind, text=text)


def note(kind: str, key: str = "sre/llm/0", **value: Any) -> StepNoted:
    return StepNoted(at=1.0, path="say", kind=kind, key=key, value=value)


def heard(wire: bytes) -> str:
    """The answer that somebody puts together of some events."""
    found = ""
    for frame in wire.decode().split("\n\n"):
        if frame.startswith("event: delta"):
            data = json.loads(frame.partition("data: ")[2])
            found = "" if data.get("kind") == "reset" else found + data["content"]
    return found


@given(st.integers(0, len(ANSWER)), st.integers(0, len(ANSWER)), st.booleans(), st.booleans())
def test_an_answer_is_told_once_and_whole_whenever_its_fact_comes(a: int, b: int, again: bool, late: bool) -> None:
    first, last = sorted((a, b))
    words = Words("r", OWN, frozenset())
    wire = words.recorded([note("llm.started")])
    if again:
        wire += words.said([piece("text", "It is"), piece("reset")])
    wire += words.said([piece("reasoning", "Hm."), piece("text", ANSWER[:first])])
    pieces = [piece("text", ANSWER[first:last]), piece("end")]
    recorded = [note("llm.completed", text=ANSWER)]
    wire += words.recorded(recorded) + words.said(pieces) if late else words.said(pieces) + words.recorded(recorded)
    assert heard(wire) == ANSWER
    # The next attempt at the step asks under the same key.
    wire = words.recorded([note("llm.started")]) + words.said([piece("text", "No.")])
    assert heard(wire + words.recorded([note("llm.completed", text="No.")])) == "No."


def test_only_what_is_wanted_is_told() -> None:
    words = Words("r", OWN, frozenset({"progress"}))
    wire = words.said([piece("text", "a"), piece("reasoning", "b")])
    wire += words.recorded([note("llm.completed", text="ac")])
    assert wire.count(b"event: ") == wire.count(b"event: progress") == 1
