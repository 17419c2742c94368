"""A run as plain data, so that two can be compared."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core.state import Gate, Inner, Meter, Run, Scope, Step
from fleetprompt.engine.core.timers import timer_holds


def snapshot(run: Run) -> dict[str, Any]:
    """Everything about a run that decides what comes next, or that anyone can see. Caches are left out."""
    paths = {id(step): path for path, step in run.steps.items()}
    return {
        "status": run.status,
        "waiting_on": run.waiting_on,
        "wants_slot": run.wants_slot,
        "plain": {name: getattr(run, name) for name in _PLAIN},
        "agenda": [(step.path, int(todo)) for step, todo in run.agenda.items()],
        "pending": list(run.pending),
        "waiting": dict(+run.waiting),
        "wanted": list(run.wanted),
        "held": sorted(run.held),
        "undo": [step.path for step in run.undo],
        "compensating": run.compensating and run.compensating.path,
        "last": run.last and run.last.path,
        "timers": sorted({(at, int(why), _name(run, subject)) for at, _, why, subject in _holding(run)}),
        "meter": _meter(run.meter),
        "root": _scope(run.root) if run.root else None,
        "steps": {path: _step(step) for path, step in run.steps.items()},
        "known": len(paths),
    }


_PLAIN = (
    "n", "at", "started_at", "finished_at", "end_status", "output", "output_blob", "error", "vars", "deadline",
    "paused", "slotted", "generation", "verdict", "ending", "abort", "compensate", "finish", "steps_done",
    "cost_nano", "tokens", "ignored",
)  # fmt: skip
_STEP = (
    "path", "status", "attempt", "tries", "generation", "input", "input_blob", "secrets", "output", "blob", "error",
    "port", "reason", "started_at", "finished_at", "wake", "why", "on", "ref", "until", "slot", "notes", "role",
)  # fmt: skip
_SCOPE = (
    "prefix", "name", "index", "item", "met", "lost", "unsettled", "settled", "live", "closing", "failure", "done",
)  # fmt: skip
_INNER = (
    "total", "opened", "done", "ok", "failed", "items", "results", "previous", "error", "closing", "taken",
)  # fmt: skip


def _holding(run: Run) -> list[Any]:
    return [timer for timer in run.timers if timer_holds(run, timer)]


def _name(run: Run, subject: Any) -> str:
    if isinstance(subject, Step):
        return subject.path
    return "run" if subject is run or subject.step is None else f"meter of {subject.step.path}"


def _meter(meter: Meter | None) -> Any:
    return meter and (meter.limit, meter.used, meter.active, meter.since, meter.wake)


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        **{name: getattr(scope, name) for name in _SCOPE},
        "met": list(scope.met),
        "lost": list(scope.lost),
        "active": [step.path for step in scope.active],
        "steps": [step.path for step in scope.steps],
        "meters": [_meter(meter) for meter in scope.meters],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **{name: getattr(step, name) for name in _STEP},
        "notes": list(step.notes or ()),
        "inner": _inner(step.inner) if step.inner else None,
        "gate": _gate(step.gate) if step.gate else None,
        "scope": step.scope.prefix,
    }


def _inner(inner: Inner) -> dict[str, Any]:
    return {
        **{name: getattr(inner, name) for name in _INNER},
        "results": dict(inner.results),
        "open": [_scope(scope) for scope in inner.open.values()],
        "meter": _meter(inner.meter),
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {name: getattr(gate, name) for name in Gate.__slots__ if name != "votes"} | {"votes": dict(gate.votes)}


def difference(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two snapshots differ."""
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [line for key in keys for line in difference(one.get(key), other.get(key), f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in difference(a, b, f"{path}/{i}")]
    return [f"{path}: {one!r} and {other!r}"]
