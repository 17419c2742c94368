"""What expressions see at a place in a run: only the names they refer to are gathered.

Steps of the own and of enclosing blocks are visible; of a composite, from outside, only its output.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.expr import NotLoaded
from fleetprompt.engine.core.expr_values import TooLarge
from fleetprompt.engine.core.facts import Blob, LargeBlob
from fleetprompt.engine.core.program import Compiled
from fleetprompt.engine.core.state import Run, Scope, Step

HYDRATE_BYTES = 1024 * 1024
"""A blob up to this size is loaded for expressions that refer to it; of a larger one they see `ref` and `size`."""


def names(run: Run, scope: Scope, compiled: Compiled, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Values of the names that `compiled` refers to, as seen from inside `scope`."""
    found: dict[str, Any] = {}
    for root in compiled.roots:
        if extra is not None and root in extra:
            found[root] = extra[root]
            continue
        match root:
            case "inputs":
                found[root] = inputs(run)
            case "steps":
                found[root] = {id_: view(run, step) for id_ in compiled.steps if (step := visible(scope, id_))}
            case "vars":
                found[root] = run.vars
            case "trigger":
                found[root] = run.created.trigger if run.created else None
            case "run":
                found[root] = about(run)
            case "last_run":
                found[root] = run.created.last_run if run.created else None
            case _:
                _loop_name(run, scope, root, found)
    return found


def value_of(run: Run, value: Any) -> Any:
    """A value, or what stands for one that was spilled: the loaded value, a marker to load it, or its reference."""
    if not isinstance(value, Blob):
        return value
    if value.digest in run.blobs:
        return run.blobs[value.digest]
    if value.size > HYDRATE_BYTES:
        return {"ref": value.digest, "size": value.size}
    return NotLoaded(value.digest, value.size)


def seen(run: Run, value: Any) -> Any:
    """A value as expressions see it: of one that is too large, they can read its small members and the reference."""
    if isinstance(value, Blob) and value.size > HYDRATE_BYTES and value.digest not in run.blobs:
        return TooLarge(value.digest, value.size, value.head if isinstance(value, LargeBlob) else {})
    return value_of(run, value)


def is_reference(value: Any) -> bool:
    """Whether this is what stands for a value that is too large, passed on."""
    known = mapping(value)
    return known.keys() == {"ref", "size"} and len(str(known["ref"])) == 64


def inputs(run: Run) -> Any:
    """The run's inputs, as expressions see them."""
    created = run.created
    if created is None:
        return {}
    return seen(run, created.blob) if created.blob else created.inputs


def visible(scope: Scope, id_: str) -> Step | None:
    """The step of that id in this block or an enclosing one."""
    place: Scope | None = scope
    while place is not None:
        index = place.block.ids.get(id_)
        if index is not None:
            return place.steps[index]
        place = place.owner.scope if place.owner else None
    return None


def view(run: Run, step: Step) -> dict[str, Any]:
    """A step as expressions see it."""
    # The error of an earlier attempt is history: what completed has none.
    error = step.error if step.status != "completed" else None
    return {
        "output": seen(run, step.blob or step.output),
        "status": step.status,
        "error": msgspec.to_builtins(error) if error else None,
        "port": step.port,
        "attempt": step.attempt,
        "values": step.gate.values if step.gate else None,
    }


RUN_MEMBERS = (
    "id", "workflow", "tenant", "root", "parent", "retry_of", "owner", "project", "session", "correlation", "labels",
    "created_at", "started_at", "mode", "commit", "error",
)  # fmt: skip
"""What `about` tells."""
LAST_RUN_MEMBERS = ("id", "output", "finished_at")


def about(run: Run) -> dict[str, Any]:
    """The run as expressions see it."""
    created = run.created
    if created is None:
        return {}
    return {
        "id": created.run,
        "workflow": created.workflow,
        "tenant": created.tenant,
        "root": created.root or created.run,
        "parent": created.parent or None,
        "retry_of": created.retry_of or None,
        "owner": created.owner,
        "project": created.project,
        "session": created.session,
        "correlation": created.correlation,
        "labels": created.labels,
        "created_at": created.at,
        "started_at": run.started_at,
        "mode": run.mode,
        "commit": created.source.commit,
        "error": _why_it_ends(run),
    }


def _why_it_ends(run: Run) -> Any:
    failure = run.verdict[1] if run.verdict else run.root and run.root.failure
    return msgspec.to_builtins(failure) if failure else None


def item_of(run: Run, scope: Scope) -> Any:
    """The item of a loop's iteration; None in a `while` loop."""
    if not isinstance(scope.item, Blob):
        return scope.item
    found = value_of(run, scope.item)
    if isinstance(found, NotLoaded):
        return found
    known = items(found)
    return known[scope.index] if scope.index < len(known) else None


def _loop_name(run: Run, scope: Scope, root: str, found: dict[str, Any]) -> None:
    place: Scope | None = scope
    while place is not None:
        owner = place.owner
        loop = owner.program.node.loop if owner is not None else None
        if owner is not None and loop is not None and place.index >= 0:
            if root == loop.name:
                found[root] = item_of(run, place)
                return
            if root == "index":
                found[root] = place.index
                return
            if root == "loop":
                found[root] = _loop(run, owner, place)
                return
        place = owner.scope if owner else None


def _loop(run: Run, owner: Step, place: Scope) -> dict[str, Any]:
    inner = owner.inner
    total = (
        inner.total if inner is not None and owner.program.node.loop and owner.program.node.loop.test is None else None
    )
    previous = inner.previous if inner is not None else None
    return {"previous": seen(run, previous), "index": place.index, "first": place.index == 0, "length": total}
