"""What the linter says about order, against the core that decides it: a step called unreachable never starts, and a
step that may be read has settled before its reader starts."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.facts import ApprovalRequested, StepStarted
from fleetprompt.engine.core.state import FINAL
from fleetprompt.engine.core.timers import drop_stale_timers
from fleetprompt.engine.definition.compile import compile_workflow
from fleetprompt.engine.definition.fields import MODELS
from fleetprompt.engine.definition.models import WorkflowModel
from fleetprompt.engine.definition.order import Unreachable, graph
from fleetprompt.engine.definition.outline import Outline
from fleetprompt.engine.registry import STEPS
from tests.core.play import Play

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")

PORTS = {
    "shell": ["", "completed", "failed", "timeout", "skipped"],
    "approval": ["", "approved", "rejected", "timeout", "skipped", "failed"],
    "condition": ["", "then", "else"],
    "transform": ["", "completed", "skipped"],
    "stop": [""],
}
FIELDS: dict[str, dict[str, Any]] = {
    "shell": {"argv": ["x"]},
    "approval": {"message": "x"},
    "condition": {"then": []},
    "transform": {"output": 1},
    "stop": {},
}


@st.composite
def blocks(draw: st.DrawFn) -> list[dict[str, Any]]:
    types = draw(
        st.lists(
            st.sampled_from(["shell", "shell", "approval", "condition", "transform", "stop"]), min_size=2, max_size=6
        )
    )
    steps: list[dict[str, Any]] = []
    for index, type_ in enumerate(types):
        step: dict[str, Any] = {"id": f"s{index}", "type": type_, **FIELDS[type_]}
        if type_ == "condition" or draw(st.integers(0, 3)) == 0:
            step["if"] = draw(st.sampled_from(["inputs.a", "not inputs.a"]))
        if type_ in ("shell", "approval") and draw(st.integers(0, 4)) == 0:
            step["on_error"] = "continue"
        if type_ == "approval" and draw(st.booleans()):
            step |= {"timeout": 10, "on_timeout": draw(st.sampled_from(["reject", "approve", "fail"]))}
        if index and draw(st.booleans()):
            others = draw(st.lists(st.integers(0, index - 1), min_size=1, max_size=3, unique=False))
            needs = [
                f"s{other}.{port}".rstrip(".")
                for other in others
                for port in [draw(st.sampled_from(PORTS[types[other]]))]
            ]
            step["needs"] = list(dict.fromkeys(needs))
            step["join"] = draw(st.sampled_from(["all", "all", "any"]))
        elif index and draw(st.integers(0, 4)) == 0:
            step["needs"] = []
        steps.append(step)
    return draw(st.permutations(steps)) if draw(st.integers(0, 3)) == 0 else steps


def play(steps: list[dict[str, Any]], a: bool, draw: st.DataObject) -> Play:
    model = WorkflowModel.model_validate({"name": "flow", "inputs": {"a": "boolean"}, "steps": steps})
    played = Play(compile_workflow(model), {"a": a}, verify=False)
    for _ in range(60):
        if played.run.ended:
            break
        asked = [path for path, step in played.run.steps.items() if step.on == "approval"]
        moves = [("act", path) for path in played.owed] + [("ask", path) for path in asked]
        drop_stale_timers(played.run)
        if played.run.wake_at is not None:
            moves.append(("wait", ""))
        move, path = draw.draw(st.sampled_from(moves))
        if move == "act":
            end = draw.draw(st.sampled_from(["ok", "ok", "fail", "timeout"]))
            if end == "ok":
                played.ok(path)
            else:
                played.fail(path, "TIMEOUT" if end == "timeout" else "TOOL_ERROR")
        elif move == "ask":
            played.vote(path, decision=draw.draw(st.sampled_from(["approved", "rejected"])))
        else:
            played.wake()
    return played


@given(steps=blocks(), a=st.booleans(), draw=st.data())
@settings(max_examples=200, deadline=None)
def test_what_the_linter_says_about_order_is_what_the_core_does(
    steps: list[dict[str, Any]], a: bool, draw: st.DataObject
) -> None:
    data = {"name": "flow", "inputs": {"a": "boolean"}, "steps": steps}
    models: dict[int, Any] = {}
    WorkflowModel.model_validate(data, context={MODELS: models})
    section = Outline(data, models).root
    order = graph(section)
    assume(not order.cycles)
    never = {section.sites[index].id for index in Unreachable(section).reasons}
    played = play(steps, a, draw)
    begun = {fact.path for fact in played.facts if isinstance(fact, StepStarted | ApprovalRequested)}
    assert not begun & never
    if any(step.get("join") == "any" for step in steps):
        return
    settled: set[str] = set()
    for fact in played.facts:
        path = getattr(fact, "path", "")
        if isinstance(fact, StepStarted) and fact.role == "step":
            before = {site.id for site in section.sites if order.runs_after(section.ids[path], site)}
            assert before <= settled, (path, before - settled)
        name = type(fact).__name__
        if name in ("StepSucceeded", "StepSkipped", "StepCancelled") or (
            name == "StepFailed" and fact.retry_at is None
        ):  # type: ignore[union-attr]
            settled.add(path)
    assert all(step.status in FINAL for step in played.run.steps.values() if step.path in settled)
