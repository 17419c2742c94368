"""A run's journal as a recording: what its models answered, and how they failed. PURE.

Pictures and vectors are none of it: the journal keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.evolve_work import ANSWERED, FAILED, REQUESTED
from fleetprompt.engine.llm.recording import entry_of

ANSWER = ("text", "reasoning", "calls", "finish", "usage")
FAILURE = ("message", "kind", "code", "retryable", "retry_after", "status", "hint")
INTERRUPTED = "interrupted"
"""How requests end of which an engine has not heard: the model may well have answered."""
KINDS = (REQUESTED, ANSWERED, FAILED)


class Noted(NamedTuple):
    """A note of a step about a request."""

    path: str
    attempt: int
    kind: str
    key: str
    value: Mapping[str, Any]


def entries_of(notes: Iterable[Noted]) -> list[dict[str, Any]]:
    """What came of each request, in order."""
    asked: dict[tuple[str, int, str], Mapping[str, Any]] = {}
    entries: list[dict[str, Any]] = []
    for note in notes:
        at = (note.path, note.attempt, note.key)
        if note.kind == REQUESTED:
            asked[at] = note.value
            continue
        started = asked.pop(at, None)
        if started is None or note.value.get("kind") == INTERRUPTED:
            # It was never sent, or nobody knows.
            continue
        key = f"{note.path}/a{note.attempt}/{note.key}#{note.value.get('try', 0)}"
        model = str(started.get("model", ""))
        kind, what = ("answer", _answer(note.value)) if note.kind == ANSWERED else ("failure", _failure(note.value))
        entries.append(entry_of(kind, str(started.get("replay", "")), key, model, what))
    return entries


def _answer(value: Mapping[str, Any]) -> dict[str, Any]:
    what = {name: value[name] for name in ANSWER if value.get(name) is not None}
    return what | {"model": str(value.get("served_by") or "")}


def _failure(value: Mapping[str, Any]) -> dict[str, Any]:
    billed = mapping(mapping(value.get("settle")).get("uncertain"))
    sure = not any(billed.values()) and not value.get("uncertain_nano") and not value.get("uncertain_tokens")
    what = {name: value[name] for name in FAILURE if value.get(name) is not None}
    return {"message": "", "retryable": False} | what | {"spent": "nothing" if sure else "uncertain"}
