"""Random workflows whose end does not depend on timing, so that a disturbed story can be held against a quiet one."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import strategies as st

Draw = Any
Steps = list[dict[str, Any]]


class Author:
    """Writes one workflow, step by step."""

    def __init__(self, draw: Draw, *, wild: bool = False) -> None:
        self.draw = draw
        self.wild = wild
        """There are races, limits and stops: how it ends depends on what comes first."""
        self.ids = (f"s{n}" for n in count())

    def chance(self, percent: int) -> bool:
        return self.draw(st.integers(0, 99)) < percent

    def pick(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def block(self, depth: int, most: int, seen: tuple[str, ...] = ()) -> Steps:
        """Some steps; expressions may use `seen`, the values of steps that are certain to have completed."""
        steps: Steps = []
        for _ in range(self.draw(st.integers(1, most))):
            kinds = ["effect", "effect", "effect", "transform", "delay", "wait", "approval", "emit", "guarded"]
            kinds += ["parallel", "loop", "choose", "switch", "while"] * (depth > 0)
            kinds += ["child"] * (depth > 1)
            kinds += ["stop"] * self.wild
            step = getattr(self, self.pick(*kinds))(depth, seen)
            if self.wild:
                self.limit(step)
            step["id"] = next(self.ids)
            steps.append(step)
            if step["type"] in ("python", "transform") and "on_error" not in step and "if" not in step:
                seen = (*seen, step["id"])
        if len(steps) > 2 and self.chance(30):
            self.tangle(steps)
        return steps

    def limit(self, step: dict[str, Any]) -> None:
        """Make a step one that depends on when things happen."""
        if step["type"] == "parallel" and self.chance(50):
            step["until"] = self.pick("any", 1)
            step["cancel_rest"] = self.chance(70)
        if step["type"] in ("parallel", "condition", "switch", "loop", "wait", "workflow") and self.chance(30):
            step["timeout"] = self.pick("2s", "30s")
        if step["type"] in ("parallel", "loop", "workflow", "wait") and self.chance(30):
            step["on_error"] = "continue"
        if step["type"] == "workflow" and self.chance(30):
            step["retry"] = {"max_attempts": 2, "backoff": "5s"}
        if step["type"] in ("parallel", "workflow", "transform", "approval") and self.chance(20):
            step["compensate"] = {"type": "python", "call": "world:act", "with": {"value": "undone"}}

    def stop(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "stop", "status": self.pick("completed", "failed", "cancelled"), "if": "inputs.n > 1"}

    def tangle(self, steps: Steps) -> None:
        """Replace the barrier of the last step by needs: it starts as soon as one or two others have settled."""
        others = [step["id"] for step in steps[:-1] if step["type"] in ("python", "delay") and "if" not in step]
        text = json.dumps(steps[-1])
        if others and "steps." not in text:
            steps[-1]["needs"] = self.draw(st.lists(st.sampled_from(others), min_size=1, max_size=2, unique=True))

    def value(self, seen: tuple[str, ...]) -> Any:
        if seen and self.chance(50):
            return f"${{{{ steps.{self.pick(*seen)}.output }}}}"
        return self.draw(st.integers(0, 9) | st.text("abc", max_size=3) | st.just("${{ inputs.n }}"))

    # ------------------------------------------------------------ kinds

    def effect(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        repeat = self.pick("safe", "never")
        options: dict[str, Any] = {"repeat": repeat, "takes": self.pick(0.1, 1, 1, 5)}
        step: dict[str, Any] = {"type": "python", "call": "world:act", "repeat": repeat, "with": options}
        if self.chance(10):
            options["size"] = 70_000
        else:
            options["value"] = self.value(seen)
        if self.chance(20):
            options["fails"] = 1
            step["retry"] = {"max_attempts": 9, "backoff": self.pick("100ms", "2s", "30s")}
        if self.chance(25):
            step["concurrency"] = {"group": self.pick("x", "y"), "limit": self.pick(1, 2)}
        if self.chance(8):
            options["permanent"] = True
            step["on_error"] = "continue"
            step.pop("retry", None)
        if self.chance(10):
            step["if"] = self.pick("inputs.n > 1", "false")
        if self.chance(10):
            step["compensate"] = {"type": "python", "call": "world:act", "with": {"value": "undone"}}
        return step

    def transform(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "transform", "output": [self.value(seen), self.value(seen)]}

    def delay(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "delay", "for": self.pick("0s", "100ms", "3s", "1h")}

    def wait(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "wait", "signal": "go.*"}

    def approval(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "approval", "message": "Go on?", "approvers": ["ana"]}

    def guarded(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        step = self.effect(depth, seen)
        step["approval"] = {"message": "Do it?"}
        return step

    def emit(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "emit", "signal": "told.you", "data": {"n": "${{ inputs.n }}"}}

    def child(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "workflow", "workflow": "child", "with": {"n": "${{ inputs.n + 1 }}"}}

    def parallel(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        names = ("p", "q", "r")[: self.pick(1, 2, 3)]
        return {"type": "parallel", "branches": {name: self.block(depth - 1, 2, seen) for name in names}}

    def loop(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        items = self.draw(st.lists(st.integers(0, 9), max_size=4))
        return {
            "type": "loop",
            "over": items,
            "concurrency": self.pick(1, 2, 5),
            "on_item_error": self.pick("fail", "continue"),
            "steps": self.block(depth - 1, 2, seen),
        }

    def choose(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        blocks = {"then": self.block(depth - 1, 2, seen), "else": self.block(depth - 1, 2, seen)}
        return {"type": "condition", "if": self.pick("inputs.n > 1", "inputs.n == 1"), **blocks}

    def switch(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        cases = {"1": self.block(depth - 1, 2, seen), "2": self.block(depth - 1, 1, seen)}
        return {"type": "switch", "value": "inputs.n", "cases": cases, "default": self.block(depth - 1, 1, seen)}

    def while_(self, depth: int, seen: tuple[str, ...]) -> dict[str, Any]:
        return {"type": "loop", "while": f"index < {self.pick(0, 1, 3)}", "steps": self.block(depth - 1, 2, seen)}


setattr(Author, "while", Author.while_)

HEARS = json.dumps(
    {
        "name": "hears",
        "triggers": [{"type": "signal", "match": "told.*"}],
        "inputs": {"n": "integer"},
        "steps": [{"id": "a", "type": "python", "call": "world:act", "with": {"value": "${{ inputs.n }}"}}],
    }
)


def workflow(draw: Draw, name: str, depth: int, *, wild: bool = False) -> str:
    """The text of a workflow. JSON is YAML."""
    author = Author(draw, wild=wild)
    file: dict[str, Any] = {"name": name, "inputs": {"n": {"type": "integer", "default": 1}}}
    if author.chance(25):
        file["max_runs"] = author.pick(1, 2)
    if author.chance(25):
        file["concurrency"] = {"group": f"one-{name}", "limit": author.pick(1, 2)}
        if wild:
            file["concurrency"]["on_conflict"] = author.pick("queue", "skip", "cancel_running")
    if wild and author.chance(20):
        file["guardrails"] = {"timeout": "20s"}
    if wild and author.chance(20):
        file["deadline"] = "2h"
    if author.chance(50):
        file["on_failure"] = "compensate"
    file["steps"] = author.block(depth, 4)
    if depth > 1 and author.chance(15):
        file["steps"].append({"id": "end", "type": "python", "call": "world:act", "with": {"permanent": True}})
    return json.dumps(file)


@st.composite
def workflows(draw: Draw, *, wild: bool = False) -> list[str]:
    """A workflow, one that it may start, and one that hears what they tell."""
    return [workflow(draw, "flow", 2, wild=wild), workflow(draw, "child", 1, wild=wild), HEARS]
