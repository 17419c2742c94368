"""Executions of agents: folded from notes, added up, and forgotten with their runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from store_kit import NOW, created, entry, finish, put

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunFinished,
    RunForked,
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepNoted,
    StepResolved,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import AGENT_SESSION_FIELDS
from fleetprompt.engine.ports import AgentSession, Append, Page, Store
from fleetprompt.engine.store.agent_book import of_history

AGENTS = {"agents": ("sre",)}


def note(kind: str, key: str = "sre", at: float = 0.0, path: str = "ask", attempt: int = 1, **value: Any) -> StepNoted:
    return StepNoted(path=path, kind=kind, key=key, value=value or None, at=NOW + at, attempt=attempt)


def begun(agent: str = "sre", at: float = 0.0, key: str = "", **more: Any) -> StepNoted:
    given = {name: more.pop(name) for name in ("path", "attempt") if name in more}
    return note("session", key or agent, at, agent_id=agent, goal="why are\norders  failing?", **more, **given)


def asked(at: float, key: str = "sre", mode: str = "live", turn: int = 0, **more: Any) -> StepNoted:
    return note("llm.started", f"{key}/llm/{turn}", at, model="m", mode=mode, **more)


def answered(at: float, key: str = "sre", cost: int = 5, turn: int = 0, **more: Any) -> StepNoted:
    return note("llm.completed", f"{key}/llm/{turn}", at, model="m", cost_nano=cost, tokens=10, **more)


def run(id_: str, *facts: AnyFact, **fields: Any) -> Append:
    return entry(id_, 0, created(id_), *facts, head_=fields.pop("head_", AGENTS), **fields)


def goes_on(id_: str, after: int, *facts: AnyFact) -> Append:
    return entry(id_, after, *facts, head_=AGENTS)


async def sessions(store: Store, text: str = "", **options: Any) -> list[AgentSession]:
    query = parse(text, AGENT_SESSION_FIELDS)
    found, _ = await store.agents.list(query, Page(), now=NOW + 60, **options)
    return found


async def only(store: Store, text: str = "") -> AgentSession:
    (found,) = await sessions(store, text)
    return found


async def test_an_execution_counts_what_its_notes_tell(store: Store) -> None:
    await put(
        store,
        run("r1", begun(at=1), asked(2), answered(3)),
        goes_on("r1", 4, note("tool.started", "sre/tool/0.0", 4, tool="fs.read"), note("state", "sre", 4)),
        goes_on("r1", 6, note("tool.started", "sre/tool/0.0", 4, tool="fs.read", again_by="ana"), asked(5, turn=1)),
        goes_on("r1", 8, note("llm.failed", "sre/llm/1", 6, model="m", uncertain_nano=7), asked(7, turn=1)),
    )
    assert (await only(store)).status == "running"
    await put(store, goes_on("r1", 10, answered(8, turn=1), note("agent.completed", at=9, output="x")))
    assert await only(store) == AgentSession(
        id="r1.000002",
        tenant="default",
        run="r1",
        workflow="audit",
        path="ask",
        key="sre",
        agent="sre",
        attempt=1,
        parent="",
        goal="why are orders failing?",
        status="completed",
        started_at=NOW + 1,
        ended_at=NOW + 9,
        active=8.0,
        requests=3,
        tool_calls=1,
        tokens=20,
        cost_nano=10,
        uncertain_nano=7,
        mode="live",
    )
    assert (await store.check()).ok


async def test_the_time_in_which_it_waits_is_not_its_own(store: Store) -> None:
    wait = ApprovalRequested(path="ask", id="a", digest="d" * 64, call="sre/tool/0.0", at=NOW + 4)
    await put(store, run("r1", begun(), asked(2), wait))
    waiting = await only(store, "status:waiting")
    assert (waiting.active, waiting.since) == (4.0, None)
    await put(store, goes_on("r1", 4, note("resumed", "", 100), answered(101)))
    assert (await only(store)).active == 5.0
    # What was between the last fact and the one after a crash was nobody's.
    await put(store, goes_on("r1", 6, note("resumed", "", 500), StepWaiting(path="ask", on="paused", at=NOW + 502)))
    assert (await only(store)).status == "waiting"
    await put(store, goes_on("r1", 8, note("resumed", "", 900), StepSucceeded(path="ask", at=NOW + 901)))
    ended = await only(store)
    assert (ended.status, ended.active, ended.ended_at) == ("completed", 8.0, NOW + 901)


@pytest.mark.parametrize(
    ("fact", "status", "code"),
    [
        (note("agent.failed", at=1, code="AGENT_ERROR"), "failed", "AGENT_ERROR"),
        (StepFailed(path="ask", error=Failure("TIMEOUT", "slow"), at=NOW + 1), "failed", "TIMEOUT"),
        (StepCancelled(path="ask", at=NOW + 1), "cancelled", ""),
        (StepResolved(path="ask", answer="abort", at=NOW + 1), "failed", "IN_DOUBT"),
        (note("handoff", at=1, to="billing"), "completed", ""),
    ],
)
async def test_each_way_to_end(store: Store, fact: AnyFact, status: str, code: str) -> None:
    await put(store, run("r1", begun(), asked(0)), goes_on("r1", 3, fact))
    found = await only(store)
    assert (found.status, found.error_code, found.ended_at, found.since) == (status, code, NOW + 1, None)


async def test_a_run_that_ends_leaves_nothing_open(store: Store) -> None:
    await put(store, run("r1", begun(), begun(path="other")))
    await put(store, finish("r1", 3, at=NOW + 7, head_=AGENTS))
    assert [(each.status, each.ended_at) for each in await sessions(store)] == [("cancelled", NOW + 7)] * 2


async def test_who_was_delegated_to_has_figures_of_its_own(store: Store) -> None:
    call = "sre/tool/0.1"
    await put(
        store,
        run(
            "r1",
            begun(),
            asked(1),
            answered(2),
            note("tool.started", call, 3),
            begun("policy", 3, f"{call}/policy", parent="sre"),
            asked(4, f"{call}/policy"),
            answered(5, f"{call}/policy", cost=100),
            note("agent.completed", f"{call}/policy", 6),
            note("tool.completed", call, 7),
            begun("billing", 8, "billing#1"),
            asked(9, "billing#1", mode="simulated"),
        ),
    )
    billing, policy, sre = await sessions(store)
    assert (policy.parent, policy.cost_nano, policy.active, policy.status) == ("sre", 100, 3.0, "completed")
    assert (sre.cost_nano, sre.requests, sre.tool_calls, sre.active) == (5, 1, 1, 9.0)
    assert (billing.key, billing.mode, billing.parent) == ("billing#1", "simulated", "")
    assert [each.agent for each in await sessions(store, "parent:sre")] == ["policy"]


async def test_further_attempts_belong_to_the_execution(store: Store) -> None:
    failed = StepFailed(path="ask", error=Failure("AGENT_ERROR", "no"), retry_at=NOW + 9, at=NOW + 2)
    late = note("llm.failed", "sre/llm/0", 2, model="m", uncertain_nano=3)
    delegate = "sre/tool/0.0/policy"
    await put(store, run("r1", begun(), asked(0), begun("policy", 1, delegate), asked(1, delegate), failed, late))
    policy, sre = await sessions(store)
    assert (sre.status, sre.uncertain_nano, sre.attempt, sre.retries) == ("failed", 3, 1, 0)
    # The delegate goes on without having been given the goal anew.
    await put(store, goes_on("r1", 7, begun(at=9, attempt=2), asked(10, delegate, attempt=2)))
    policy, sre = await sessions(store)
    assert (policy.status, policy.requests, policy.ended_at, policy.error_code) == ("running", 2, None, "")
    assert (policy.attempt, policy.retries) == (2, 1)
    assert (sre.status, sre.ended_at, sre.error_code, sre.since) == ("running", None, "", NOW + 10)
    await put(store, goes_on("r1", 9, answered(12, attempt=2), note("agent.completed", at=13, attempt=2)))
    policy, sre = await sessions(store)
    assert (sre.status, sre.attempt, sre.retries, sre.started_at, sre.ended_at) == ("completed", 2, 1, NOW, NOW + 13)
    assert (sre.active, sre.tokens, sre.cost_nano, sre.uncertain_nano) == (2 + 4, 10, 5, 3)
    # As the next one of another step is: its own.
    await put(store, goes_on("r1", 11, begun(at=14, path="other"), failed, begun(at=16, attempt=3)))
    figures = {each.agent: each for each in await store.agents.statistics(NOW)}
    assert (figures["sre"].executions, figures["sre"].retries, figures["sre"].success) == (2, 2, None)
    assert (figures["policy"].executions, figures["policy"].retries) == (1, 1)


async def test_what_a_retry_has_copied_is_the_originals(store: Store) -> None:
    forked = RunForked(run="r1", upto=5, at=NOW + 50)
    done = [begun(path="plan"), StepSucceeded(path="plan", at=NOW + 1)]
    doubt = [begun(at=2), asked(3), answered(4), StepInDoubt(path="ask", call="sre/tool/0.0", at=NOW + 5)]
    await put(store, run("r1", *done, *doubt), run("r2", *done, *doubt, forked))
    assert len(await sessions(store, "run:r1")) == 2
    goes = await only(store, "run:r2")
    assert (goes.path, goes.status, goes.started_at, goes.cost_nano, goes.requests) == (
        "ask",
        "waiting",
        NOW + 50,
        0,
        0,
    )
    await put(store, goes_on("r2", 8, note("resumed", "", 60), asked(61, turn=1), answered(62, turn=1)))
    goes = await only(store, "run:r2")
    assert (goes.cost_nano, goes.active, goes.mode) == (5, 2.0, "live")
    # What a person has begun anew is no retry; what fails after that is.
    cut = RunForked(run="r1", upto=3, at=NOW + 50)
    await put(store, run("r3", begun(at=2), asked(3), cut), goes_on("r3", 4, begun(at=60, attempt=2), asked(61)))
    goes = await only(store, "run:r3")
    assert (goes.attempt, goes.retries, goes.requests, goes.started_at) == (2, 0, 1, NOW + 50)
    failed = StepFailed(path="ask", error=Failure("AGENT_ERROR", "no"), attempt=2, at=NOW + 62)
    await put(store, goes_on("r3", 6, failed, begun(at=63, attempt=3)))
    assert (await only(store, "run:r3")).retries == 1


async def _many(store: Store) -> None:
    for i in range(1, 21):
        await put(store, run(f"a{i:02}", begun(at=i), asked(i), answered(i), note("agent.completed", at=2 * i)))
    unreal = [begun(), asked(0, mode="simulated"), note("agent.completed", at=500)]
    await put(
        store,
        run("bad", begun(at=30), note("agent.failed", at=31, code="AGENT_ERROR")),
        run("off", begun(at=30), StepCancelled(path="ask", at=NOW + 32)),
        run("script", *unreal),
        run("now", begun(at=40)),
        run("two", begun("né", at=1), note("agent.completed", "né", 4)),
        run("other", begun(at=50), asked(50), answered(51), tenant="b", head_=AGENTS | {"tenant": "b"}),
    )


async def test_the_statistics_of_agents(store: Store) -> None:
    await _many(store)
    umlaut, sre = await store.agents.statistics(NOW)
    assert sre.statuses == {"completed": 21, "failed": 1, "cancelled": 1, "running": 1}
    assert (sre.executions, sre.success, sre.unreal) == (24, 21 / 22, 1)
    assert (sre.requests, sre.tokens, sre.cost_nano, sre.mean_cost_nano) == (21, 200, 100, 4)
    assert (sre.mean, sre.p95) == (10.5, 19.0)
    assert (sre.last.run, sre.last.status) == ("now", "running")
    assert (umlaut.mean, umlaut.p95, umlaut.success, umlaut.last.run) == (3.0, 3.0, 1.0, "two")
    (later,) = await store.agents.statistics(NOW + 501)
    assert (later.statuses, later.success, later.mean, later.p95) == ({"running": 1}, None, None, None)
    assert [each.executions for each in await store.agents.statistics(NOW, "b")] == [1]


async def test_agents_of_one_name_are_told_apart_by_their_workflows(store: Store) -> None:
    mine = AGENTS | {"workflow": "mine"}
    await put(
        store,
        run("r1", begun(at=1), asked(1), answered(2), note("agent.completed", at=3), head_=mine),
        run("r2", begun(at=4), note("agent.failed", at=9, code="AGENT_ERROR")),
    )
    (both,) = await store.agents.statistics(NOW)
    assert (both.workflow, both.executions, both.success) == ("", 2, 0.5)
    rest, own = await store.agents.statistics(NOW, own={("sre", "mine"), ("sre", "none")})
    assert (rest.workflow, rest.success, rest.last.run, rest.mean, rest.requests) == ("", 0.0, "r2", None, 0)
    assert (own.workflow, own.success, own.last.run, own.p95, own.requests) == ("mine", 1.0, "r1", 2.0, 1)


async def test_lists_are_paged_and_filtered(store: Store) -> None:
    await _many(store)
    query = parse("agent:sre status:completed -mode:simulated", AGENT_SESSION_FIELDS)
    first, cursor = await store.agents.list(query, Page(limit=15), now=NOW + 60)
    rest, end = await store.agents.list(query, Page(limit=15, cursor=cursor), now=NOW + 60)
    assert [each.run for each in first + rest] == [f"a{i:02}" for i in range(20, 0, -1)]
    assert not end
    assert [each.run for each in await sessions(store, "error:agent_error")] == ["bad"]
    assert len(await sessions(store, "orders dur:>10s status:completed")) == 11
    assert [each.run for each in await sessions(store, "since:25s")] == ["now"]
    for text in ("status:bogus", "/(/"):
        with pytest.raises(InvalidInput):
            await sessions(store, text)


async def test_pruning_forgets_them(store: Store) -> None:
    await put(store, run("old", begun()), finish("old", 2, at=NOW + 1, head_=AGENTS), run("new", begun()))
    counts = await store.prune(before=NOW + 2)
    assert counts["agent_sessions"] == 1
    assert [each.run for each in await sessions(store)] == ["new"]


def _some(dice: random.Random, at: float) -> AnyFact:
    """A fact such as runs with agents have, in no sensible order."""
    path, attempt = dice.choice(["ask", "each[1].ask"]), dice.choice([1, 2])
    key = dice.choice(["sre", "billing#1", "sre/tool/0.1/policy"])
    place: dict[str, Any] = {"path": path, "attempt": attempt}
    return dice.choice(
        [
            begun(key.rpartition("/")[2].partition("#")[0], at, key, parent="sre" if "/" in key else "", **place),
            asked(at, key, dice.choice(["live", "simulated"]), **place),
            answered(at, key, **place),
            note("llm.failed", f"{key}/llm/0", at, model="m", uncertain_nano=3, **place),
            note("tool.started", f"{key}/tool/0.0", at, **place),
            note(dice.choice(["agent.completed", "agent.failed", "handoff"]), key, at, code="AGENT_ERROR", **place),
            note("resumed", "", at, **place),
            StepWaiting(path=path, on="paused", at=NOW + at),
            StepFailed(path=path, error=Failure("TIMEOUT", "slow"), attempt=attempt, at=NOW + at),
            StepCancelled(path=path, at=NOW + at),
        ]
    )


async def test_whatever_happens_it_is_what_the_whole_history_says(store: Store) -> None:
    """Stores know only the executions of the steps that an append is about."""
    dice = random.Random(5)
    for number in range(12):
        id_, told = f"r{number}", [created(f"r{number}"), begun()]
        await put(store, run(id_, *told[1:]))
        while len(told) < 40:
            facts = [_some(dice, len(told) + i) for i in range(dice.choice([1, 1, 1, 2, 5]))]
            await put(store, goes_on(id_, len(told), *facts))
            told += facts
        if number % 2:
            await put(store, finish(id_, len(told), at=NOW + 99, head_=AGENTS))
            told.append(RunFinished(status="completed", at=NOW + 99))
        expected = of_history(id_, "default", "audit", told)
        found = {each.id: each for each in await sessions(store, f"run:{id_}")}
        assert found == {each.id: each for each in expected}
    assert (await store.check()).ok
