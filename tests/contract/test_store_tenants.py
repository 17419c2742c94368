"""What belongs to one tenant is not there for another, whoever knows its id; the engine finds all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from store_kit import NOW, ask, created, entry, fact, put, signal, start, vote

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.plan import Block, Node, Plan, plan_digest
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import LogLine, Store, Wait, Workflow
from fleetprompt.engine.ports.token import Token

OURS, OTHERS = "acme", "other"
PLAN = Plan(name="secret-plan", root=Block("", (Node(id="a", type="transform"),)))
SIGNAL = signal("a.b", id="sig", tenant=OURS, key="once", data={"n": 1})
DIGEST = plan_digest(PLAN)


async def filled(store: Store) -> None:
    """One of everything of a tenant."""
    await store.signals.publish(SIGNAL)
    await store.signals.publish(signal("a.b", id="unrelated", tenant=OTHERS))
    await put(store, entry("r1", 0, created("r1", tenant=OURS), ask("apr"), fact(1), tenant=OURS))
    await put(store, start("r2", tenant=OTHERS))
    await store.signals.publish(vote("ana", approval="apr", tenant=OURS))
    await store.signals.close("sig", [Result("sig", "accepted", run="r1", reason="heard")])
    await store.catalog.put(PLAN, source="name: secret-plan", tenant=OURS)
    store.logs.write("r1", [LogLine(at=NOW, level="info", text="secret line", path="work")], OURS)
    await store.logs.flush()


Read = Callable[[Store, str | None], Awaitable[Any]]


async def _chunk(store: Store) -> list[int]:
    return [chunk.id for chunk in await store.logs.chunks("r1")]


async def _lines(store: Store, tenant: str | None) -> Any:
    return [line.text for lines in await store.logs.lines("r1", await _chunk(store), tenant) for line in lines]


async def _levels(store: Store, tenant: str | None) -> Any:
    return b"".join(await store.logs.levels("r1", await _chunk(store), tenant))


async def _facts(store: Store, tenant: str | None) -> Any:
    return [each.n for each in await store.journal.facts("r1", tenant=tenant)]


async def _since(store: Store, tenant: str | None) -> Any:
    return [each.n for each in await store.journal.since(0, tenant=tenant) if each.run == "r1"]


async def _log(store: Store, tenant: str | None) -> Any:
    return (await store.logs.read("r1", tenant=tenant))[0]


async def _tail(store: Store, tenant: str | None) -> Any:
    return (await store.logs.read("r1", path="work", tail=True, tenant=tenant))[0]


async def _found(store: Store, tenant: str | None) -> Any:
    return (await store.logs.find("r1", "secret", tenant=tenant)).positions


async def _inside(store: Store, tenant: str | None) -> Any:
    return (await store.logs.find("r1", "s.cret", regex=True, path="work", within=True, tenant=tenant)).positions


async def _results(store: Store, tenant: str | None) -> Any:
    routed, results = await store.signals.results("sig", tenant)
    return [routed, *results] if routed or results else []


READS: dict[str, Read] = {
    "a run": lambda store, tenant: store.runs.get("r1", tenant),
    "its facts": _facts,
    "the feed": _since,
    "a signal": lambda store, tenant: store.signals.get("sig", tenant),
    "its results": _results,
    "an approval": lambda store, tenant: store.approvals.get("apr", tenant),
    "its votes": lambda store, tenant: store.approvals.votes("apr", tenant),
    "a plan": lambda store, tenant: store.catalog.plan(DIGEST, tenant),
    "its source": lambda store, tenant: store.catalog.source(DIGEST, tenant),
    "a log": _log,
    "its end": _tail,
    "its chunks": lambda store, tenant: store.logs.chunks("r1", path="work", within=True, tenant=tenant),
    "their lines": _lines,
    "their levels": _levels,
    "what is searched": _found,
    "what is searched by a pattern": _inside,
}


@pytest.mark.parametrize("what", READS)
async def test_an_id_finds_only_what_is_the_tenants(store: Store, what: str) -> None:
    await filled(store)
    ours, everybodys, others = [await READS[what](store, tenant) for tenant in (OURS, None, OTHERS)]
    assert ours
    assert everybodys == ours
    assert not others


async def test_the_feed_of_a_tenant_goes_on_where_it_was_left(store: Store) -> None:
    positions: list[int] = []
    for n in range(6):
        positions += await put(store, start(f"run-{n}", tenant=(OURS, OTHERS)[n % 2]))
    first = await store.journal.since(0, 3, tenant=OURS)
    rest = await store.journal.since(first[-1].seq, tenant=OURS)
    assert [each.run for each in (*first, *rest)] == ["run-0", "run-0", "run-2", "run-2", "run-4", "run-4"]
    assert [each.run for each in await store.journal.since(positions[3], tenant=OTHERS)] == ["run-3", "run-5", "run-5"]
    assert await store.journal.since(positions[5] + 1, tenant=OTHERS) == []


async def test_two_tenants_keep_the_same_plan_each_for_itself(store: Store) -> None:
    await store.catalog.put(PLAN, source="ours", tenant=OURS)
    await store.catalog.put(PLAN, source="theirs", tenant=OTHERS)
    assert await store.catalog.source(DIGEST, OURS) == "ours"
    assert await store.catalog.source(DIGEST, OTHERS) == "theirs"
    assert await store.catalog.source(DIGEST, "third") is None
    assert await store.catalog.plan(DIGEST, "third") is None


async def test_a_key_counts_once_in_each_tenant(store: Store) -> None:
    await store.signals.publish(SIGNAL)
    theirs = await store.signals.publish(signal("a.b", id="theirs", tenant=OTHERS, key="once"))
    assert not theirs.duplicate
    again = await store.signals.publish(signal("a.b", id="again", tenant=OTHERS, key="once"))
    assert (again.duplicate, again.signal.id) == (True, "theirs")
    assert (await store.signals.of_key("once", OURS)) != (await store.signals.of_key("once", OTHERS))


async def test_a_vote_of_another_tenant_counts_as_little_as_one_about_nothing(store: Store) -> None:
    await filled(store)
    before = await store.approvals.votes("apr")
    said: list[str] = []
    for id_ in ("apr", "never"):
        with pytest.raises(Refused) as caught:
            await store.signals.publish(vote("eve", approval=id_, tenant=OTHERS))
        said.append(str(caught.value).replace(id_, "ID"))
    assert said[0] == said[1]
    assert await store.approvals.votes("apr") == before


async def test_a_wait_is_found_by_signals_of_its_tenant_alone(store: Store) -> None:
    await put(store, start("r1", tenant=OURS, waits=(Wait(path="w", on="signal", ref="deploy.*"),)))
    assert [run for run, _ in await store.runs.waiting("signal", "deploy.done", tenant=OURS)] == ["r1"]
    assert await store.runs.waiting("signal", "deploy.done", tenant=OTHERS) == []


async def _workflow(store: Store, tenant: str) -> None:
    plan = await store.catalog.put(PLAN, source="", tenant=tenant)
    await store.catalog.set_workflow(Workflow(name=PLAN.name, plan=plan, status="active", tenant=tenant))


async def _run(store: Store, tenant: str) -> None:
    await put(store, start("r9", tenant=tenant))


async def _signal(store: Store, tenant: str) -> None:
    await store.signals.publish(signal("a.b", id="s9", tenant=tenant))


async def _token(store: Store, tenant: str) -> None:
    made = Token(id="t9", tenant=tenant, name="bo", role="viewer", created_at=NOW, created_by="ana")
    await store.tokens.add(made, "digest")


@pytest.mark.parametrize("other", ["aaa", "zzz"])
@pytest.mark.parametrize("keep", [_workflow, _run, _signal, _token], ids=lambda keep: keep.__name__)
async def test_who_is_alone_is_so_until_somebody_else_has_something(
    store: Store, keep: Callable[[Store, str], Awaitable[None]], other: str
) -> None:
    assert await store.alone(OURS)
    await put(store, start("r1", tenant=OURS))
    await store.signals.publish(SIGNAL)
    assert await store.alone(OURS)
    await keep(store, other)
    assert not await store.alone(OURS)
