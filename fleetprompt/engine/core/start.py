"""Starting a step: is it wanted, does it need a human or a slot first, and what does its kind begin with."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from fleetprompt.engine.core.asking import ask, ask_first
from fleetprompt.engine.core.codec import canonical
from fleetprompt.engine.core.errors import Failure, FleetError, InvalidInput
from fleetprompt.engine.core.expr import ExpressionError, NeedsValue, NotLoaded
from fleetprompt.engine.core.expr_values import Meter, Refusal, equal, kind
from fleetprompt.engine.core.facts import (
    AnyFact,
    Blob,
    Slot,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepWaiting,
)
from fleetprompt.engine.core.keys import child_id, signal_id
from fleetprompt.engine.core.names import HYDRATE_BYTES, is_reference, seen
from fleetprompt.engine.core.outcome import failed, holds, invalid, rendered, succeeded
from fleetprompt.engine.core.plan import Kind
from fleetprompt.engine.core.rendered import (
    duration,
    group,
    heard_type,
    loaded,
    moment,
    render_config,
    sent_type,
    subject,
    timeout,
)
from fleetprompt.engine.core.state import Run, Step

_LARGE_ITEMS = "the items are larger than 1 MiB: loop over references to them"
MAX_MESSAGE = 10_000
"""Characters of the message with which a `stop` ends a run."""


def start(run: Run, step: Step, at: float) -> list[AnyFact]:
    """The first facts of a step whose needs are met."""
    node = step.program.node
    field = "if"
    try:
        if node.when is not None and not holds(run, step, step.program.condition(node.when)):
            return [StepSkipped(at=at, path=step.path)]
        field = ""
        if node.approval is not None:
            return ask_first(run, step, at)
    except (FleetError, ValueError) as error:
        return failed(run, step, at, invalid(step, field, error))
    return after_gate(run, step, at)


def after_gate(run: Run, step: Step, at: float) -> list[AnyFact]:
    """Start a step that nobody needs to approve any more: at once, or when its critical section is free."""
    concurrency = step.program.node.concurrency
    if concurrency is None:
        return begin(run, step, at)
    try:
        name = group(rendered(run, step, step.program.value(concurrency.group)))
    except InvalidInput as error:
        return failed(run, step, at, invalid(step, "concurrency.group", error))
    slot = Slot(f"group:{name}", concurrency.limit)
    if _is_inside(run, step, slot.scope):
        return begin(run, step, at)
    return [
        StepWaiting(at=at, path=step.path, on="slot", ref=slot.scope, slot=slot, on_conflict=concurrency.on_conflict)
    ]


def _is_inside(run: Run, step: Step, group: str) -> bool:
    """Whether the run, or a composite around the step, holds the group already: waiting for oneself never ends."""
    owner = step.scope.owner
    while owner is not None:
        if owner.slot is not None and owner.slot.scope == group:
            return True
        owner = owner.scope.owner
    return group in run.held


def begin(run: Run, step: Step, at: float, slot: Slot | None = None) -> list[AnyFact]:
    """The intent, and for what the core does itself also the result."""
    try:
        return _begin(run, step, at, slot)
    except (FleetError, ValueError) as error:
        return failed(run, step, at, invalid(step, _decides(step), error))


def _decides(step: Step) -> str:
    """The field that a composite looks at when it starts; empty for other steps, whose errors name their field."""
    node = step.program.node
    if node.kind == "choose":
        return "if" if node.value is None and node.type == "condition" else "value" if node.value else "cases"
    return "over" if node.kind == "loop" else ""


def restart(run: Run, step: Step, at: float) -> list[AnyFact]:
    """The next attempt at a step."""
    if step.program.node.kind != "effect":
        return begin(run, step, at)
    return [StepStarted(at=at, path=step.path, attempt=step.attempt + 1, generation=step.generation, role=_role(step))]


def _role(step: Step) -> Any:
    return step.role


def _begin(run: Run, step: Step, at: float, slot: Slot | None) -> list[AnyFact]:
    node = step.program.node
    gate = step.gate if node.kind != "approval" and step.gate is not None and step.gate.decision == "approved" else None
    blob: Blob | None = None
    config: Any
    if gate is not None:
        config, secrets = gate.input, gate.secrets
        if isinstance(config, Blob) and node.kind == "effect":
            blob, config = config, None
        elif isinstance(config, Blob):
            if config.size > HYDRATE_BYTES:
                raise ValueError("what was approved is larger than 1 MiB")
            config = loaded(run, config)
    else:
        config, secrets = render_config(run, step, step.program.config)
    attempt = step.attempt + 1
    generation = run.generation if step.attempt == 0 else step.generation
    started = StepStarted(
        at=at,
        path=step.path,
        attempt=attempt,
        generation=generation,
        input=None if blob is not None else _recorded(node.kind, config),
        secrets=secrets,
        blob=blob,
        role=_role(step),
        slot=slot,
        approval=gate.id if gate is not None and step.attempt == 0 else "",
    )
    match node.kind:
        case "effect":
            first = step.attempt == 0 and slot is None
            return [started] if not first or run.room is None or run.room(step) else []
        case "transform":
            return [started, *succeeded(run, step, at, config.get("output"), attempt=attempt)]
        case "choose":
            return [started, StepExpanded(at=at, path=step.path, branches=_choose(run, step))]
        case "parallel":
            return [started, StepExpanded(at=at, path=step.path, branches=tuple(step.program.blocks))]
        case "loop":
            return [started, *_expand(run, step, at)]
        case "delay":
            return [started, StepWaiting(at=at, path=step.path, on="timer", until=_delay_until(config, at))]
        case "wait":
            return [started, _listen(step, at, config)]
        case "approval":
            return [started, ask(run, step, at, config, attempt)]
        case "emit":
            if len(canonical(config)) > HYDRATE_BYTES:
                raise ValueError("the data of a signal is at most 1 MiB")
            output = {"id": signal_id(sent_type(config), run.id, step.path, str(generation))}
            return [started, *succeeded(run, step, at, output, attempt=attempt)]
        case "workflow":
            return [started, *_call(run, step, at, config, attempt)]
        case "stop":
            return [started, *succeeded(run, step, at, config.get("output"), attempt=attempt)]


def _recorded(kind: Kind, config: dict[str, Any]) -> dict[str, Any] | None:
    """What the start of a step says about its input: what is its output in the same moment is not said twice."""
    if kind == "transform":
        return None
    if kind == "stop":
        return {"status": config.get("status", "completed"), "message": str(config.get("message") or "")[:MAX_MESSAGE]}
    return config or {}


def _choose(run: Run, step: Step) -> tuple[str, ...]:
    node = step.program.node
    value = rendered(run, step, step.program.expression(node.value)) if node.value is not None else None
    for case in node.cases:
        if case.test is not None:
            if holds(run, step, step.program.condition(case.test)):
                return (case.port,)
        elif not case.equals or _is_one_of(value, case.equals):
            return (case.port,)
    return ()


def _is_one_of(value: Any, wanted: tuple[Any, ...]) -> bool:
    """As `==` of the expressions has it: 1.0 is 1, and neither is true."""
    meter = Meter()
    try:
        return any(equal(value, one, meter) for one in wanted)
    except Refusal as refusal:
        raise ValueError(refusal.message) from None


def _expand(run: Run, step: Step, at: float) -> list[AnyFact]:
    loop = step.program.node.loop
    assert loop is not None
    if loop.test is not None:
        return []
    over = loop.over
    found = rendered(run, step, step.program.expression(over)) if isinstance(over, str) else over
    if isinstance(found, NotLoaded):
        raise NeedsValue(found.digest)
    if not isinstance(found, (list, dict)):
        raise ValueError(f"a list is needed here, not {kind(found)}")
    if is_reference(found):
        raise ValueError(_LARGE_ITEMS)
    items: list[Any]
    if isinstance(found, dict):
        items = [{"key": key, "value": value} for key, value in cast("dict[str, Any]", found).items()]
    else:
        items = cast("list[Any]", found)
    if len(items) > loop.max_iterations:
        raise ValueError(f"{len(items)} items are more than `max_iterations`, {loop.max_iterations}")
    if len(canonical(items)) > HYDRATE_BYTES:
        raise ValueError(_LARGE_ITEMS)
    return [StepExpanded(at=at, path=step.path, items=items, count=len(items))]


def next_iteration(run: Run, step: Step, at: float) -> list[AnyFact] | None:
    """Another iteration of a `while` loop; None when it is over."""
    loop = step.program.node.loop
    inner = step.inner
    assert loop is not None
    assert loop.test is not None
    assert inner is not None
    compiled = step.program.condition(loop.test)
    extra = {"index": inner.opened, "loop": {"previous": seen(run, inner.previous), "index": inner.opened}}
    try:
        if not holds(run, step, compiled, extra):
            return None
    except ExpressionError as error:
        return failed(run, step, at, invalid(step, "while", error))
    if inner.opened >= loop.max_iterations:
        message = f"the condition still holds after {loop.max_iterations} iterations"
        return failed(run, step, at, Failure("TOOL_ERROR", message, path=step.path, retryable=False))
    return [StepExpanded(at=at, path=step.path, count=inner.opened + 1)]


def _delay_until(config: dict[str, Any], at: float) -> float:
    return moment(config, "until") if "until" in config else at + duration(config, "for")


def _listen(step: Step, at: float, config: dict[str, Any]) -> StepWaiting:
    seconds = timeout(config)
    return StepWaiting(
        at=at,
        path=step.path,
        on="signal",
        ref=heard_type(config),
        key=subject(config),
        until=at + seconds if seconds is not None else None,
    )


def _call(run: Run, step: Step, at: float, config: dict[str, Any], attempt: int) -> list[AnyFact]:
    child = child_id(run, step, attempt)
    seconds = timeout(config)
    until = at + seconds if seconds is not None else None
    waiting = StepWaiting(at=at, path=step.path, on="child", ref=child, until=until)
    if config.get("wait", True):
        return [waiting]
    return [waiting, *succeeded(run, step, at, {"run": child}, attempt=attempt)]


def compensation(run: Run, step: Step, at: float, path: str) -> list[AnyFact]:
    """The start of a completed step's compensation."""
    program = step.program.compensation
    assert program is not None
    started = StepStarted(at=at, path=path, generation=step.generation, role="compensation")
    try:
        config, secrets = render_config(run, step, program.config)
    except ExpressionError as error:
        return [started, StepFailed(at=at, path=path, error=invalid(step, "compensate", error))]
    return [msgspec.structs.replace(started, input=config, secrets=secrets)]
