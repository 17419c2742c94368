"""What a stream tells of each fact: server-sent events in the words of the API. PURE.

The position of a fact in the journal is the id of the last event that it is told in, `<position>.<k>` that of the
events before: whoever was cut off anywhere goes on exactly there (`Last-Event-ID`, WHATWG HTML 9.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.daemon.records import failure, plain, reference
from fleetprompt.engine.core import facts as f
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import Piece, Stored

KINDS = frozenset(
    {"connected", "status", "step_start", "step_complete", "delta", "tool_call", "tool_result", "error", "complete"}
)
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Position(Struct, frozen=True, order=True):
    """How far somebody has read: all facts before `seq`, and `part` events of that fact."""

    seq: int = 0
    part: int = 0

    @classmethod
    def read(cls, text: str) -> Position:
        """The position after the event of an id. Raises `InvalidInput`."""
        seq, dot, part = text.partition(".")
        if not (seq.isdecimal() and (part.isdecimal() if dot else True) and len(text) < 40):
            raise InvalidInput(f"`{text[:40]}` is no event id", hint="send the id of the last event as it was received")
        return cls(int(seq), int(part)) if dot else cls(int(seq) + 1)

    @property
    def after(self) -> int:
        """Position of the last fact that was read whole."""
        return self.seq - 1 if self.seq else 0


BEGINNING = Position()
"""Nothing has been read."""


def frame(event: str, data: Any, id_: str = "") -> bytes:
    """An event as it goes over the wire. JSON has no line breaks, so that the data is one line."""
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {event}\ndata: ".encode() + _encode(data) + b"\n\n"


def frames(stored: Stored) -> list[tuple[str, str, bytes]]:
    """The events of a fact in order: name, id, and as they go over the wire."""
    told = list(events(stored))
    last = len(told)
    ids = [str(stored.seq) if k == last else f"{stored.seq}.{k}" for k in range(1, last + 1)]
    return [(event, id_, frame(event, data, id_)) for (event, data), id_ in zip(told, ids, strict=True)]


def unread(stored: Stored, position: Position) -> list[tuple[str, str, bytes]]:
    """Those that somebody has not read who was at a position."""
    found = frames(stored)
    return found[position.part :] if stored.seq == position.seq else found


def events(stored: Stored) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is told of a fact: names and data of events."""
    fact, run = stored.fact, {"execution_id": stored.run}
    match fact:
        case f.RunCreated():
            yield "status", run | {"status": "pending", "step": None, "workflow_id": fact.workflow}
        case f.RunStarted() | f.RunResumed():
            yield "status", run | {"status": "running", "step": None}
        case f.RunPaused():
            yield "status", run | {"status": "waiting", "step": None, "waiting_on": "paused"}
        case f.RunCancelRequested():
            yield "status", run | {"status": "running", "step": None, "ends_as": fact.status, "reason": fact.reason}
        case f.RunFinished():
            if fact.error is not None:
                yield (
                    "error",
                    run | {"step": fact.error.path or None, "error": fact.error.message, "code": fact.error.code},
                )
            yield "complete", run | {"status": fact.status, "result": _result(fact), "error": failure(fact.error)}
        case f.StepStarted():
            yield "step_start", run | {"step": fact.path, "attempt": fact.attempt, "role": fact.role}
        case f.StepNoted():
            yield from _noted(fact, run)
        case f.StepWaiting():
            until = {"until": fact.until} if fact.until is not None else {}
            yield "status", run | {"status": "waiting", "step": fact.path, "waiting_on": fact.on} | until
        case f.StepInDoubt():
            yield (
                "status",
                run | {"status": "waiting", "step": fact.path, "waiting_on": "in_doubt", "reason": fact.reason},
            )
        case f.ApprovalRequested():
            asked = {"approval_id": fact.id, "message": fact.message}
            yield "status", run | {"status": "waiting", "step": fact.path, "waiting_on": "approval"} | asked
        case f.ApprovalDecided():
            decided = {"approval_id": fact.id, "decision": fact.decision, "by": list(fact.by)}
            yield "status", run | {"status": "running", "step": fact.path} | decided
        case f.StepSucceeded():
            yield "step_complete", run | {"step": fact.path, "status": "completed", "result": _result(fact)}
        case f.StepResolved():
            yield "status", run | {"status": "running", "step": fact.path, "answer": fact.answer, "by": fact.by}
        case f.StepFailed():
            yield from _failed(fact, run)
        case f.StepSkipped():
            yield "step_complete", run | {"step": fact.path, "status": "skipped", "result": None, "reason": fact.reason}
        case f.StepCancelled():
            yield (
                "step_complete",
                run | {"step": fact.path, "status": "cancelled", "result": None, "reason": fact.reason},
            )
        case _:
            return


def _failed(fact: f.StepFailed, run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    error = fact.error
    retry = {"retry_at": fact.retry_at} if fact.retry_at is not None else {}
    yield "error", run | {"step": fact.path, "error": error.message, "code": error.code} | retry
    if fact.retry_at is None:
        status = "timeout" if error.code == "TIMEOUT" else "failed"
        yield "step_complete", run | {"step": fact.path, "status": status, "result": None, "error": failure(error)}


def _noted(fact: f.StepNoted, run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    value = mapping(fact.value)
    here = run | {"step": fact.path, "call": fact.key}
    match fact.kind:
        case "tool.proposed" if not value.get("problem"):
            yield "tool_call", here | {"tool": str(value.get("tool", "")), "arguments": value.get("arguments")}
        case "tool.completed" | "tool.reconciled":
            result = reference(fact.blob) if fact.blob is not None else value.get("output")
            yield "tool_result", here | {"tool": str(value.get("tool", "")), "result": result}
        case "tool.failed" | "tool.broken_off":
            error = mapping(value.get("error")) or {"message": str(value.get("reason", ""))}
            yield "tool_result", here | {"tool": str(value.get("tool", "")), "result": None, "error": error}
        case _:
            return


def _result(fact: f.RunFinished | f.StepSucceeded) -> Any:
    return reference(fact.blob) if fact.blob is not None else plain(fact.output)


def deltas(run: str, pieces: Iterable[Piece]) -> bytes:
    """What models are just saying, without ids: it is not kept, and comes whole with the facts."""
    told = b""
    for piece in pieces:
        if piece.kind == "end":
            continue
        data = {"execution_id": run, "content": piece.text, "step": piece.path, "key": piece.key}
        told += frame("delta", data | ({"kind": piece.kind} if piece.kind != "text" else {}))
    return told
