"""Who waits for budget, in trees of runs, branches and delegates: in virtual time, with models that answer as they are
told by the goal of whoever asks them.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from virtual_loop import VirtualLoop

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.plan import Guardrails
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import LIMITS, Append, Caps, Page, RunHead
from fleetprompt.engine.ports.model import (
    EmbeddingAnswer,
    ImageAnswer,
    ImageRequest,
    Message,
    ModelAnswer,
    ModelRequest,
    ModelTarget,
    OnDelta,
    Price,
    Provider,
    ToolCall,
    ToolSpec,
    Usage,
)
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.memory import MemoryStore

EPOCH = 1_800_000_000.0
PROMPT = 40
"""Tokens that every prompt has."""
IDLE = 3
"""Seconds for which somebody may wait for budget while no model is asked anything: it is looked at every second."""
DECIDES = 1800.0
"""Seconds until the operator answers a question."""

Doing = str | list[Any]
"""`look` calls a tool, `ask` asks people, `["delegate", [...]]` and `["sub", [[...], ...]]` give a part away."""


class Told:
    """Every model there is: it does what the goal says, one thing a turn, and then says that it is done."""

    def __init__(self) -> None:
        self.asked = 0
        """Requests under way."""

    async def find(self, name: str) -> ModelTarget:
        return ModelTarget(name=name, model=f"told/{name}", price=Price(input=1, output=1, source="test"))

    def fallbacks(self, name: str) -> Sequence[str]:
        return ()

    def provider(self, target: ModelTarget) -> Provider:
        return self

    def reveal(self, target: ModelTarget) -> str:
        return ""

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        await self._takes(2.0)
        goal, turn = str(request.about["goal"]), int(request.about["turn"])
        plan, _, branch = goal.partition("#")
        doings: list[Doing] = json.loads(plan)[int(branch)] if branch else json.loads(plan)
        calls = () if request.choice == "none" or turn >= len(doings) else (_call(doings[turn]),)
        usage = Usage(input=PROMPT, output=10)
        return ModelAnswer(text="" if calls else "done", calls=calls, usage=usage, cost_nano=50, finish="stop")

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer:
        await self._takes(1.0)
        return EmbeddingAnswer(vectors=tuple((1.0, 0.0) for _ in texts), usage=Usage(input=5), cost_nano=5)

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer:
        raise NotImplementedError

    async def count(self, target: ModelTarget, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return PROMPT

    async def _takes(self, seconds: float) -> None:
        self.asked += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.asked -= 1


def _call(doing: Doing) -> ToolCall:
    match doing:
        case "look":
            return ToolCall(id="c", name="vars_get", arguments='{"name": "seen"}')
        case "ask":
            return ToolCall(id="c", name="human_ask", arguments='{"question": "may I?"}')
        case ["delegate", task]:
            return ToolCall(id="c", name="delegate_b", arguments=json.dumps({"task": json.dumps(task)}))
        case ["sub", plan]:
            return ToolCall(id="c", name="sub", arguments=json.dumps({"inputs": {"plan": json.dumps(plan)}}))
        case _:
            raise AssertionError(doing)


class Limit(Struct, frozen=True):
    """What a workflow, or its agent, may use."""

    requests: int | None = None
    tokens: int | None = None
    on_limit: Literal["fail", "ask", "wrap_up"] = "fail"

    def __str__(self) -> str:
        known = {"requests": self.requests, "tokens": self.tokens}
        parts = [f"{name}: {cap}" for name, cap in known.items() if cap is not None]
        return f"guardrails: {{{', '.join([*parts, f'on_limit: {self.on_limit}'])}}}"


NO_LIMIT = Limit()


def workflow(depth: int, branches: int, limit: Limit = NO_LIMIT, own: Limit = NO_LIMIT, memory: bool = False) -> str:
    """A workflow whose branches do what its input says, and may start the one that is a level deeper."""
    more = (f", {own}" if own != NO_LIMIT else "") + (", memory: {recall: 2}" if memory else "")
    step = "type: agent, agent: a, prompt: '${{ inputs.plan }}"
    each = "\n".join(f"      b{n}: [{{id: s{n}, {step}#{n}'}}]" for n in range(branches))
    return f"""
name: w{depth}
inputs: {{plan: string}}
vars: {{seen: 0}}
agents:
  a: {{max_tokens: 300, tools: [vars.get, human.ask], delegates: [b], functions: {{sub: w{depth + 1}}}{more}}}
  b: {{max_tokens: 300, tools: [vars.get, human.ask]}}
steps:
  - id: all
    type: parallel
    branches:
{each}
{limit if limit != NO_LIMIT else ""}
"""


DEEPEST = "name: w{depth}\ninputs: {{plan: string}}\nsteps: [{{id: end, type: transform, output: 1}}]"


class Story:
    """What has happened in one engine, from the first run to the last."""

    def __init__(self, folder: Path, fleet: Guardrails | None = None) -> None:
        self.caps: dict[str, Caps] = {}
        self.models = Told()
        self.folder = folder
        self.fleet = fleet
        self.runs: list[RunHead] = []
        self.reasons: list[str] = []
        """What ended each run that failed."""

    def _watch(self, entry: Append, durable: bool) -> None:
        for reserve in entry.reserves:
            self.caps.update({each.scope: each.caps for each in reserve.allowances})

    async def play(self, flows: Sequence[str], plans: Sequence[Any], answers: Sequence[bool]) -> None:
        """Start the first of some workflows once for each plan, and see all of it to its end."""
        STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
        store = MemoryStore(on_append=self._watch)
        tools = {"memory": {"embedding": "vectors"}}
        settings = AgencySettings(tools=tools, guardrails=self.fleet)
        agency = Agency(Secrets(), settings, root=self.folder, models=self.models)
        async with Engine(store, clock=self, directory=self.folder, agency=agency) as engine:
            for text in (DEEPEST.format(depth=len(flows)), *reversed(flows)):
                await engine.workflows.register(load_text(text, "flow.yaml", self.folder).plan, source=text)
            others = [asyncio.create_task(self._decide(engine, [*answers])), asyncio.create_task(self._guard(engine))]
            names = [f"r{n}" for n in range(len(plans))]
            for name, plan in zip(names, plans, strict=True):
                data = {"run": name, "workflow": "w0", "inputs": {"plan": json.dumps(plan)}}
                signal = Signal(id=name, type=types.START, source="test", at=self.now(), subject=name, data=data)
                assert (await engine.bus.submit(signal)).status == "accepted"
            ends = asyncio.gather(*map(engine.wait, names))
            done, _ = await asyncio.wait([ends, *others], return_when=asyncio.FIRST_COMPLETED)
            for each in (*done, *others):
                each.cancel() if each not in done else each.result()
            self.runs = await _all_runs(engine)
            await self._is_settled(engine)

    def now(self) -> float:
        """The wall clock."""
        return EPOCH + asyncio.get_running_loop().time()

    async def _guard(self, engine: Engine) -> None:
        """Nobody waits for budget where nothing is under way that could give any back."""
        idle = 0
        while True:
            await asyncio.sleep(1)
            waits = engine.budget_waits.waiting
            idle = idle + 1 if waits and not self.models.asked else 0
            assert idle <= IDLE, f"in vain: {[each.effect.run + '/' + each.effect.path for each in waits]}"

    async def _decide(self, engine: Engine, answers: list[bool]) -> None:
        """People answer late, and not always with yes."""
        while True:
            await asyncio.sleep(DECIDES)
            for head in await _all_runs(engine):
                run = await engine.load(head.id)
                gates = [gate for step in (run.steps.values() if run else ()) for gate in step.open_gates]
                for gate in gates:
                    yes = answers.pop(0) if answers else False
                    values = {"amount": 2} if gate.about == "budget" else {"answer": "yes"}
                    data = {"approval": gate.id, "decision": "approved" if yes else "rejected"}
                    data |= {"values": values} if yes else {}
                    at = self.now()
                    signal = Signal(
                        id=f"v-{gate.id}", type=types.VOTE, source="test", at=at, subject=head.id, by="ana", data=data
                    )
                    await engine.bus.submit(signal)

    async def _is_settled(self, engine: Engine) -> None:
        """All of it is over, nothing is held, and no limit was exceeded."""
        assert {head.status for head in self.runs} <= {"completed", "failed", "cancelled"}
        self.reasons = [head.error_message for head in self.runs if head.status == "failed"]
        assert (await engine.store.check()).problems == ()
        for scope, caps in self.caps.items():
            budget = await engine.store.budgets.get(scope)
            for limit in LIMITS:
                cap = getattr(caps, limit)
                assert getattr(budget.reserved, limit) == 0, scope
                used = getattr(budget.spent, limit) + getattr(budget.uncertain, limit)
                assert cap is None or used <= cap + getattr(budget.raised, limit), (scope, limit, used)


async def _all_runs(engine: Engine) -> list[RunHead]:
    heads, _ = await engine.store.runs.list(parse("", RUN_FIELDS), Page(limit=500), now=engine.now())
    return list(heads)


def told(story: Story, coroutine: Coroutine[Any, Any, None]) -> Story:
    """See a story to its end, in no time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(end=30 * DECIDES)) as runner:
        runner.run(coroutine)
    return story


WRAP_UP = "wrap_up"


@pytest.mark.parametrize(
    ("flows", "plan", "completed"),
    [
        # A child run lacks what the agent above keeps, which waits for it.
        ([workflow(0, 1, Limit(requests=2, on_limit=WRAP_UP)), workflow(1, 1)], [[["sub", [["look"]]]]], {"w0"}),
        (
            [workflow(0, 1, Limit(requests=4), Limit(requests=3, on_limit=WRAP_UP)), workflow(1, 1)],
            [[["sub", [["look", "look"]]]]],
            {"w0", "w1"},
        ),
        # A delegate, below an agent in a run that waits for people meanwhile.
        ([workflow(0, 2, Limit(requests=5, on_limit=WRAP_UP))], [["ask"], [["delegate", ["look"] * 5]]], {"w0"}),
        # A vector lacks what its own agent keeps, or the one above.
        ([workflow(0, 1, Limit(tokens=800, on_limit=WRAP_UP), memory=True)], [["look", "look"]], {"w0"}),
        (
            [workflow(0, 1, Limit(tokens=2200, on_limit=WRAP_UP)), workflow(1, 1, memory=True)],
            [[["sub", [["look"] * 9]]]],
            {"w0", "w1"},
        ),
        # Both have given something away, and keep what the other one's child lacks.
        (
            [workflow(0, 2, Limit(requests=5, on_limit=WRAP_UP)), workflow(1, 1)],
            [[["sub", [["look"]]]], [["sub", [["look"]]]]],
            {"w0", "w1"},
        ),
    ],
)
def test_nobody_waits_for_whoever_waits(tmp_path: Path, flows: list[str], plan: list[Any], completed: set[str]) -> None:
    story = Story(tmp_path)
    told(story, story.play(flows, [plan], [True] * 9))
    assert {head.workflow for head in story.runs if head.status == "completed"} == completed, story.reasons


_plain = st.lists(st.sampled_from(["look", "look", "ask"]), max_size=3)
_doing: dict[int, st.SearchStrategy[Any]] = {}
_delegates = st.tuples(st.just("delegate"), _plain).map(list)


def _branch(depth: int, branches: Sequence[int]) -> st.SearchStrategy[list[Any]]:
    parts: list[st.SearchStrategy[Any]] = [st.just("look"), st.just("ask"), _delegates]
    if depth < len(branches) - 1:
        parts.append(st.tuples(st.just("sub"), _plans(depth + 1, branches)).map(list))
    return st.lists(st.one_of(parts), max_size=3)


def _plans(depth: int, branches: Sequence[int]) -> st.SearchStrategy[list[Any]]:
    return st.lists(_branch(depth, branches), min_size=branches[depth], max_size=branches[depth])


_caps = st.one_of(st.none(), st.integers(1, 9))
_tokens = st.one_of(st.none(), st.integers(3, 40).map(lambda n: n * 100))
_on_limit = st.sampled_from(["fail", "ask", WRAP_UP, WRAP_UP])
_limits = st.builds(Limit, _caps, _tokens, _on_limit)


@st.composite
def _stories(draw: st.DrawFn) -> tuple[list[str], list[Any], list[bool], Guardrails | None]:
    branches = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    flows = [
        workflow(depth, each, draw(_limits), draw(st.one_of(st.just(NO_LIMIT), _limits)), draw(st.booleans()))
        for depth, each in enumerate(branches)
    ]
    plans = draw(st.lists(_plans(0, branches), min_size=1, max_size=2))
    fleet = draw(st.one_of(st.none(), st.builds(Guardrails, requests=st.integers(1, 12))))
    return flows, plans, draw(st.lists(st.booleans(), max_size=20)), fleet


@settings(
    max_examples=int(os.environ.get("FLEET_TEST_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking takes minutes, and what is drawn is small.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(_stories())
@example(
    (
        [workflow(0, 3, Limit(on_limit="wrap_up")), workflow(1, 3)],
        [[[], ["look"], ["ask"]], [[["sub", [[], [], []]]], [], []]],
        [],
        Guardrails(requests=9),
    )
)
def test_whatever_shares_whose_budget_it_comes_to_an_end_within_it(
    story: tuple[list[str], list[Any], list[bool], Guardrails | None],
) -> None:
    flows, plans, answers, fleet = story
    with tempfile.TemporaryDirectory() as folder:
        played = Story(Path(folder), fleet)
        told(played, played.play(flows, plans, answers))
