"""The order of an imported graph: whatever it looks like, its steps run as its arrows say, and no others do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from import_kit import graph, imported, node, play

from fleetprompt.engine.core.facts import ApprovalRequested, StepFailed, StepStarted, StepSucceeded


class Story:
    """A graph, how its conditions go, and what people decide."""

    def __init__(self, draw: Any) -> None:
        self.answers: dict[str, bool] = {}
        self.votes: dict[str, str] = {}
        count = draw(st.integers(1, 9))
        steps = [self._step(draw, at, [f"s{later}" for later in range(at + 1, count)]) for at in range(count)]
        self.flow = graph(*draw(st.permutations(steps)))

    def _step(self, draw: Any, at: int, later: list[str]) -> dict[str, Any]:
        pick = st.lists(st.sampled_from(later), unique=True, max_size=3) if later else st.just([])
        kind = draw(st.sampled_from(["tool_call", "tool_call", "guarded", "condition", "condition", "human_approval"]))
        others: list[str] = draw(pick)
        if kind == "condition":
            self.answers[f"i{at}"] = draw(st.booleans())
            step = node(f"s{at}", kind, condition=f"{{{{input.i{at}}}}} == true", else_steps=others)
        elif kind == "human_approval":
            step = node(f"s{at}", kind, message="?", else_steps=others)
            # Without a way to go on, a rejection ends the run.
            self.votes[f"s{at}"] = draw(st.sampled_from(["approved", "rejected"])) if others else "approved"
        else:
            step = node(f"s{at}", "tool_call", tool_name="act")
        if kind == "guarded":
            self.answers[f"i{at}"] = draw(st.booleans())
            step["conditions"] = f"input.i{at} == true"
        return step | {"next_steps": draw(pick)}

    def expected(self) -> dict[str, list[str]]:
        """Which steps run, each with those that have to have ended before, as a program would that follows arrows."""
        steps = sorted(self.flow["steps"], key=lambda step: step["step_id"])
        arrives: dict[str, list[str]] = {step["step_id"]: [] for step in steps}
        pointed = {to for step in steps for key in ("next_steps", "else_steps") for to in step.get(key, ())}
        runs: dict[str, list[str]] = {}
        reached: set[str] = set()
        for step in steps:
            id_ = step["step_id"]
            if id_ in pointed and not arrives[id_]:
                continue
            reached.add(id_)
            yes = self.answers.get(f"i{id_[1:]}", True)
            if yes or "conditions" not in step:
                runs[id_] = arrives[id_]
            other = step["step_type"] == "condition" and not yes
            for to in step.get("else_steps" if other or self.votes.get(id_) == "rejected" else "next_steps", ()):
                arrives[to].append(id_)
        return {id_: [each for each in before if each in runs] for id_, before in runs.items()}

    def check(self, seed: int) -> None:
        """Play it, with what can happen at a time happening in any order."""
        found = imported(self.flow)
        run = play(found, seed, inputs=self.answers, votes=self.votes)
        assert run.run.status == "completed", (run.run.error, found.text)
        wanted = self.expected()
        begun: set[str] = set()
        ended: set[str] = set()
        for fact in run.facts:
            if isinstance(fact, StepStarted | ApprovalRequested) and fact.path not in begun:
                begun.add(fact.path)
                missing = {*wanted.get(fact.path, ())} - ended
                assert not missing, f"{fact.path} begins before {missing} have ended\n{found.text}"
            elif isinstance(fact, StepSucceeded | StepFailed):
                ended.add(fact.path)
        assert sorted(begun) == sorted(wanted), found.text


@given(st.data(), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_steps_run_as_the_arrows_say(data: Any, seed: int) -> None:
    Story(data.draw).check(seed)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_arrows_can_be_drawn_from_either_end(data: Any) -> None:
    """`dependencies` are the same arrows as `next_steps`, and give the same file."""
    count = data.draw(st.integers(1, 8))
    pairs = [(a, b) for b in range(count) for a in range(b) if data.draw(st.booleans())]
    forward = [node(f"s{a}", data=a, to=[f"s{b}" for x, b in pairs if x == a]) for a in range(count)]
    back = [node(f"s{b}", data=b, dependencies=[f"s{a}" for a, x in pairs if x == b]) for b in range(count)]
    assert imported(graph(*forward)).text == imported(graph(*back)).text


@given(st.data(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_what_lies_in_loops_and_branches_keeps_its_order(data: Any, seed: int) -> None:
    """Steps of a graph are put into a loop or a parallel; every arrow still says who comes first."""
    count = data.draw(st.integers(2, 8))
    pairs = [(a, b) for b in range(count) for a in range(b) if data.draw(st.booleans())]
    cut = data.draw(st.integers(1, count))
    kind = data.draw(st.sampled_from(["loop", "parallel"]))
    inside = [f"s{at}" for at in range(cut)]
    steps = [
        node(f"s{a}", "tool_call", tool_name="act", to=[f"s{b}" for x, b in pairs if x == a]) for a in range(count)
    ]
    steps.append(node("all", kind, steps=inside, **({"items": [7]} if kind == "loop" else {})))
    found = imported(graph(*data.draw(st.permutations(steps))))
    run = play(found, seed)
    assert run.run.status == "completed", found.text
    ended: list[str] = []
    done = {fact.path.rpartition(".")[2] for fact in run.facts if isinstance(fact, StepSucceeded)}
    assert done == {f"s{at}" for at in range(count)} | {"all"}
    for fact in run.facts:
        id_ = getattr(fact, "path", "").rpartition(".")[2]
        if isinstance(fact, StepStarted) and id_ != "all":
            missing = {f"s{a}" for a, b in pairs if f"s{b}" == id_} - set(ended)
            assert not missing, f"{id_} begins before {missing}\n{found.text}"
        elif isinstance(fact, StepSucceeded):
            ended.append(id_)
