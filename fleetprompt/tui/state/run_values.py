"""The values of a step and of a run: what went in, what came out, what was noted; large ones are loaded when wanted."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.client.protocol import Console
from fleetprompt.client.values import preview
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.facts import Blob, LargeBlob, RunFinished
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.tui.state.tree_index import Attempt


class Held(Struct, frozen=True):
    """A value with its name."""

    name: str
    value: Any = None
    """The value; of one that is kept apart what is known of it: its small members, or nothing."""
    blob: Blob | None = None
    """Where a large value is kept."""

    @property
    def line(self) -> str:
        """The value on one line, inert."""
        return preview(self.blob if self.blob is not None and self.value is None else self.value)


async def load(console: Console, held: Held) -> Any:
    """The whole value. Raises `NotFound` when it was pruned, and `FleetError`."""
    if held.blob is None:
        return held.value
    found = await console.value(RunFinished(status="completed", blob=held.blob))
    if found is None:
        raise NotFound(f"the value of {held.name} is no longer in the store")
    return found


def step_values(step: Step) -> list[Held]:
    """What there is to see of a step, in the order in which it came to be."""
    found: list[Held] = []
    if step.input is not None or step.input_blob is not None:
        found.append(_held("input", step.input, step.input_blob))
    if step.secrets:
        found.append(Held("secrets", {where: _names(parts) for where, parts in step.secrets.items()}))
    if step.gate is not None:
        found.append(Held("approval", _approval(step)))
    if step.notes:
        found.append(Held("notes", [_note(note) for note in step.notes]))
    if step.output is not None or step.blob is not None:
        found.append(_held("output", step.output, step.blob))
    if step.error is not None:
        found.append(Held("error", msgspec.to_builtins(step.error)))
    inner = step.inner
    if inner is not None and step.program.node.loop is not None and inner.items is not None:
        found.append(_held("items", None if isinstance(inner.items, Blob) else inner.items, inner.items))
    return found


def attempt_values(attempt: Attempt) -> list[Held]:
    """What there is to see of an attempt that is over."""
    return [Held("error", msgspec.to_builtins(attempt.error))]


def run_values(run: Run) -> list[Held]:
    """What there is to see of a run as a whole."""
    found: list[Held] = []
    created = run.created
    if created is not None:
        found.append(_held("inputs", created.inputs, created.blob))
        if created.trigger is not None:
            found.append(Held("trigger", created.trigger))
        if created.labels:
            found.append(Held("labels", created.labels))
    if run.vars:
        found.append(Held("vars", {name: _shown(value) for name, value in run.vars.items()}))
    if run.output is not None or run.output_blob is not None:
        found.append(_held("output", run.output, run.output_blob))
    if run.error is not None:
        found.append(Held("error", msgspec.to_builtins(run.error)))
    return found


def _held(name: str, value: Any, blob: Any) -> Held:
    if isinstance(blob, LargeBlob):
        return Held(name, blob.head, blob)
    return Held(name, value, blob if isinstance(blob, Blob) else None)


def _shown(value: Any) -> Any:
    return {"ref": value.digest, "size": value.size} if isinstance(value, Blob) else value


def _note(note: tuple[str, str, Any, int]) -> dict[str, Any]:
    kind, key, value, attempt = note
    told = {"kind": kind, "key": key, "attempt": attempt, "value": _shown(value)}
    return {name: each for name, each in told.items() if each != "" and each is not None}


def _names(parts: list[Any]) -> list[str]:
    """Names of the secrets among the parts of a text."""
    return [str(part["secret"]) for part in parts if isinstance(part, dict) and "secret" in part]


def _approval(step: Step) -> dict[str, Any]:
    gate = step.gate
    assert gate is not None
    votes = [
        {"by": by, "decision": decision, "comment": comment, "values": values}
        for by, (decision, comment, values, _) in gate.votes.items()
    ]
    return {
        "id": gate.id,
        "message": gate.message,
        "digest": gate.digest,
        "approvers": list(gate.approvers),
        **({"not": list(gate.barred)} if gate.barred else {}),
        "quorum": gate.quorum,
        "form": gate.form,
        "decision": gate.decision or None,
        "votes": votes,
        "values": gate.values,
    }
