"""What a stream tells of each fact: server-sent events in the words of the API. PURE.

The position of a fact in the journal is the id of the last event that it is told in, `<position>.<k>` that of the
events before: whoever was cut off anywhere goes on exactly there (`Last-Event-ID`, WHATWG HTML 9.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fleetprompt.client.wording import rfc3339
from fleetprompt.daemon.records import failure, outcome, reference
from fleetprompt.daemon.step_ids import OWN, Ids
from fleetprompt.engine.core import facts as f
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import Piece, Stored

KINDS = frozenset(
    {
        "connected",
        "reset",
        "status",
        "step_start",
        "step_complete",
        "delta",
        "progress",
        "tool_call",
        "tool_result",
        "error",
        "complete",
        "heartbeat",
    }
)
"""What somebody may say that they want; a `heartbeat` comes in any case."""
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


class Told(NamedTuple):
    """An event."""

    event: str
    """Its name."""
    wire: bytes
    """As it goes over the wire."""


def frames(stored: Stored, ids: Ids = OWN, wanted: frozenset[str] = frozenset()) -> list[Told]:
    """The events of a fact in order, or those of them that are wanted. `ids` are those of the steps of its run."""
    told = list(_events(stored, ids))
    last = len(told)
    return [
        Told(event, frame(event, data, str(stored.seq) if k == last else f"{stored.seq}.{k}"))
        for k, (event, data) in enumerate(told, start=1)
        if not wanted or event in wanted
    ]


def unread(stored: Stored, position: Position, ids: Ids = OWN) -> list[Told]:
    """Those that somebody has not read who was at a position."""
    found = frames(stored, ids)
    return found[position.part :] if stored.seq == position.seq else found


def _events(stored: Stored, ids: Ids) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is told of a fact: names and data of events."""
    fact, run, shown = stored.fact, {"execution_id": stored.run}, ids.shown
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
                    run
                    | {"step": shown(fact.error.path) or None, "error": fact.error.message, "code": fact.error.code},
                )
            yield "complete", run | {"status": fact.status, "result": outcome(fact), "error": failure(fact.error, ids)}
        case f.StepStarted():
            yield "step_start", run | {"step": shown(fact.path), "attempt": fact.attempt, "role": fact.role}
        case f.StepNoted():
            yield from _noted(fact, run | {"step": shown(fact.path)})
        case f.StepWaiting():
            until = {"until": rfc3339(fact.until)} if fact.until is not None else {}
            yield "status", run | {"status": "waiting", "step": shown(fact.path), "waiting_on": fact.on} | until
        case f.StepInDoubt():
            yield (
                "status",
                run | {"status": "waiting", "step": shown(fact.path), "waiting_on": "in_doubt", "reason": fact.reason},
            )
        case f.ApprovalRequested():
            asked = {"approval_id": fact.id, "message": fact.message}
            yield "status", run | {"status": "waiting", "step": shown(fact.path), "waiting_on": "approval"} | asked
        case f.ApprovalDecided():
            decided = {"approval_id": fact.id, "decision": fact.decision, "by": list(fact.by)}
            yield "status", run | {"status": "running", "step": shown(fact.path)} | decided
        case f.StepSucceeded():
            yield "step_complete", run | {"step": shown(fact.path), "status": "completed", "result": outcome(fact)}
        case f.StepResolved():
            yield "status", run | {"status": "running", "step": shown(fact.path), "answer": fact.answer, "by": fact.by}
        case f.StepFailed():
            yield from _failed(fact, run | {"step": shown(fact.path)}, ids)
        case f.StepSkipped():
            yield (
                "step_complete",
                run | {"step": shown(fact.path), "status": "skipped", "result": None, "reason": fact.reason},
            )
        case f.StepCancelled():
            ended = {"step": shown(fact.path), "status": "cancelled", "result": None}
            yield "step_complete", run | ended | {"reason": fact.reason}
        case _:
            return


def _failed(fact: f.StepFailed, here: dict[str, Any], ids: Ids) -> Iterator[tuple[str, dict[str, Any]]]:
    error = fact.error
    retry = {"retry_at": rfc3339(fact.retry_at)} if fact.retry_at is not None else {}
    yield "error", here | {"error": error.message, "code": error.code} | retry
    if fact.retry_at is None:
        status = "timeout" if error.code == "TIMEOUT" else "failed"
        yield "step_complete", here | {"status": status, "result": None, "error": failure(error, ids)}


def _noted(fact: f.StepNoted, step: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    value = mapping(fact.value)
    here = step | {"call": fact.key}
    match fact.kind:
        case "tool.proposed":
            yield (
                "tool_call",
                here | {"tool": str(value.get("tool", "")), "arguments": _arguments(value.get("arguments"))},
            )
        case "tool.completed" | "tool.reconciled":
            result = reference(fact.blob) if fact.blob is not None else value.get("output")
            yield "tool_result", here | {"tool": str(value.get("tool", "")), "result": result}
        case "tool.failed" | "tool.broken_off":
            error = mapping(value.get("error")) or {"message": str(value.get("reason", ""))}
            yield "tool_result", here | {"tool": str(value.get("tool", "")), "result": None, "error": error}
        case _:
            return


def _arguments(said: Any) -> Any:
    """Arguments as they were meant: of a call that could not be made they are as the model wrote them."""
    if not isinstance(said, str):
        return said
    try:
        return msgspec.json.decode(said)
    except ValueError:
        return said


def deltas(run: str, pieces: Iterable[Piece], ids: Ids = OWN) -> Iterator[Told]:
    """What models are just saying, without ids: it is not kept, and comes whole with the facts.

    The `content` of all deltas is the answer, as clients put it together; what is no part of it (reasoning, calls that
    are being written, what is done before the model is asked) is `progress`.
    """
    for piece in pieces:
        if piece.kind == "end":
            continue
        event = "delta" if piece.kind in ("text", "reset") else "progress"
        data = {"execution_id": run, "content": piece.text, "step": ids.shown(piece.path), "key": piece.key}
        yield Told(event, frame(event, data | ({"kind": piece.kind} if piece.kind != "text" else {})))
