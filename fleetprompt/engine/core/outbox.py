"""What the facts mean outside the run, collected for the append that holds them: claims, waits, signals."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core import starters
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.names import value_of
from fleetprompt.engine.core.signal import AGENT_FINISHED, Signal
from fleetprompt.engine.core.state import Run, Step


def send(run: Run, type_: str, key: str, data: Any, subject: str, at: float, causation: str = "") -> None:
    """A signal of the engine's own leaves."""
    run.outbox.signals.append(sent(run, type_, key, data, subject, at, causation))


def sent(run: Run, type_: str, key: str, data: Any, subject: str, at: float, causation: str = "") -> Signal:
    """A signal of the engine's own about a run."""
    created = run.created
    assert created is not None
    return Signal(
        id=signal_id(type_, key, causation),
        type=type_,
        source=f"run/{created.run}",
        at=at,
        data=data,
        subject=subject,
        tenant=created.tenant,
        correlation=created.correlation or created.root or created.run,
        causation=created.run,
        chain=chain_of(created) + 1,
        starters=starters.of_run(created),
    )


def chain_of(created: RunCreated) -> int:
    """How many runs have started one another by their signals before this one."""
    found = mapping(created.trigger).get("chain")
    return found if isinstance(found, int) else 0


def agent_ended(run: Run, step: Step, key: str, status: str, at: float) -> None:
    """An agent is not at work on its goal any more; `key` is its path in the step."""
    agent = step.agents.pop(key, None) if step.agents else None
    created = run.created
    if agent is None or created is None:
        return
    data: dict[str, Any] = {
        "agent": agent,
        "status": status,
        "run": created.run,
        "workflow": created.workflow,
        "path": step.path,
        "key": key,
    }
    if step.error is not None and status != "completed":
        data["error"] = {"code": step.error.code, "message": step.error.message, "path": step.error.path}
    send(run, AGENT_FINISHED, f"{created.run}/{step.path}/{key}", data, created.run, at, causation=str(run.n))


def emit(run: Run, step: Step, at: float) -> None:
    """The signal of an `emit` step leaves."""
    # A spilled input has been in memory since the fact before this one. Folding an old journal sends nothing anyway.
    config = mapping(value_of(run, step.input_blob or step.input))
    created = run.created
    assert created is not None
    run.outbox.signals.append(
        Signal(
            id=signal_id(str(config.get("signal")), run.id, step.path, str(step.generation)),
            type=str(config.get("signal")),
            source=f"run/{run.id}/{step.path}",
            at=at,
            data=config.get("data"),
            subject=str(config.get("subject") or ""),
            tenant=created.tenant,
            key=str(config.get("key") or ""),
            correlation=created.correlation or created.root or created.run,
            causation=created.run,
            chain=chain_of(created) + 1,
            starters=starters.of_run(created),
        )
    )


def unwait(run: Run, path: str) -> None:
    """A step no longer waits. A store removes rows before it adds some: one that this append would add is left out."""
    out = run.outbox
    if out.waits:
        out.waits = [wait for wait in out.waits if wait[0] != path]
    out.unwaits.append(path)


def release(run: Run, path: str) -> None:
    """Give claims back. A store releases before it takes, so a claim that this append would take is left out of it."""
    out = run.outbox
    if out.takes:
        out.takes = [take for take in out.takes if path not in ("*", take[0])]
    out.releases.append(path)
