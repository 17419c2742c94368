"""The journal: fenced appends, order, the feed, histories."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from store_kit import NOW, created, entry, fact, finish, head, put, signal, start

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.errors import InvalidInput, StoreUnavailable
from fleetprompt.engine.core.facts import Blob, StepStarted
from fleetprompt.engine.ports import Conflict, Store, Stored


async def test_facts_come_back_as_they_were_written(store: Store) -> None:
    first = created("r1", labels={"env": "prod"}, children={"x": "y"}, blob=Blob("d", 70_000))
    second = StepStarted(path="a[1].b", input={"deep": [1, 2.5, None, "é\u0000\U0001f600"]}, at=NOW)
    await put(store, entry("r1", 0, first, second))
    stored = await store.journal.facts("r1")
    assert [(row.n, row.run) for row in stored] == [(1, "r1"), (2, "r1")]
    assert [row.fact for row in stored if isinstance(row, Stored)] == [first, second]


async def test_seq_is_the_global_position_of_the_first_fact(store: Store) -> None:
    assert await store.journal.position() == 0
    seqs = await put(store, start("r1"), start("r2"), entry("r1", 2, fact(3)))
    assert seqs == [1, 3, 5]
    assert await store.journal.position() == 5


async def test_a_part_of_a_history(store: Store) -> None:
    await put(store, start("r1"), entry("r1", 2, fact(3), fact(4)))
    assert [row.n for row in await store.journal.facts("r1", after=1)] == [2, 3, 4]
    assert [row.n for row in await store.journal.facts("r1", after=1, upto=3)] == [2, 3]
    assert await store.journal.facts("unknown") == []


async def test_an_append_behind_the_journal_conflicts(store: Store) -> None:
    await put(store, start("r1"))
    for stale in (entry("r1", 1, fact(9)), entry("r1", 3, fact(9)), start("r1"), entry("r2", 5, fact(9))):
        with pytest.raises(Conflict):
            await store.journal.append(stale)
    assert len(await store.journal.facts("r1")) == 2
    assert await store.runs.get("r2") is None
    assert await put(store, entry("r1", 2, fact(3))) == [3]


async def test_a_conflict_leaves_the_others_of_its_batch_alone(store: Store) -> None:
    await put(store, start("r1"), start("r2"))
    batch = [
        entry("r1", 2, fact(3)),
        entry("r2", 1, fact(9)),
        entry("r1", 3, fact(4)),
        entry("r1", 3, fact(9)),
        start("r3"),
        entry("r1", 4, fact(5)),
    ]
    done = await asyncio.gather(*(store.journal.append(each) for each in batch), return_exceptions=True)
    assert [isinstance(each, Conflict) for each in done] == [False, True, False, True, False, False]
    assert [row.n for row in await store.journal.facts("r1")] == [1, 2, 3, 4, 5]
    feed = await store.journal.since(0)
    assert [row.seq for row in feed] == sorted(row.seq for row in feed)
    assert len(feed) == 9


async def test_many_appends_of_one_run_at_once_keep_their_order(store: Store) -> None:
    futures = [store.journal.append(start("r1"))]
    futures += [store.journal.append(entry("r1", n, fact(n + 1))) for n in range(2, 200)]
    await asyncio.gather(*futures)
    rows = await store.journal.facts("r1")
    assert [row.n for row in rows] == list(range(1, 201))
    assert [row.seq for row in rows] == list(range(1, 201))
    run = await store.runs.get("r1")
    assert run is not None
    assert run.n == 200


async def test_the_run_of_another_tenant_is_out_of_reach(store: Store) -> None:
    await put(store, start("r1"))
    for each in (entry("r1", 2, fact(3), tenant="other"), start("r1", tenant="other")):
        with pytest.raises(Conflict):
            await store.journal.append(each)


async def test_an_append_that_contradicts_itself_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="facts"):
        store.journal.append(replace(entry("r1", 0, fact(1)), after=3))
    with pytest.raises(ValueError, match="begin"):
        store.journal.append(entry("r1", 0))
    with pytest.raises(ValueError, match="head"):
        store.journal.append(entry("r1", 0, fact(1), head_={"id": "r2"}))


async def test_facts_may_come_encoded(store: Store) -> None:
    given = entry("r1", 0, created("r1"), fact(1))
    await put(store, replace(given, encoded=tuple(codec.encode(each) for each in given.facts)))
    assert (await store.journal.histories(["r1"]))["r1"] == [created("r1"), fact(1)]
    with pytest.raises(ValueError, match="stored forms"):
        store.journal.append(replace(entry("r1", 2, fact(3)), encoded=(b"1", b"2")))


async def test_an_append_without_facts_changes_the_rest(store: Store) -> None:
    await put(store, start("r1"))
    changed = await store.journal.append(entry("r1", 2, head_={"step": "gate"}))
    assert changed.seq == 2
    run = await store.runs.get("r1")
    assert run is not None
    assert run.step == "gate"
    assert run.n == 2


async def test_the_feed_goes_on_after_a_position(store: Store) -> None:
    await put(store, start("r1"), start("r2"), finish("r1", 2))
    feed = await store.journal.since(0)
    assert [(row.seq, row.run, row.n) for row in feed] == [
        (1, "r1", 1),
        (2, "r1", 2),
        (3, "r2", 1),
        (4, "r2", 2),
        (5, "r1", 3),
    ]
    assert await store.journal.since(3) == feed[3:]
    assert await store.journal.since(1, limit=2) == feed[1:3]
    assert await store.journal.since(5) == []


async def test_histories_of_many_runs(store: Store) -> None:
    await put(store, *(start(f"r{i}") for i in range(250)), entry("r7", 2, fact(3)))
    found = await store.journal.histories([*(f"r{i}" for i in range(250)), "unknown"])
    assert len(found) == 251
    assert found["unknown"] == []
    assert found["r7"] == [created("r7"), fact(1), fact(3)]
    assert all(len(found[f"r{i}"]) == 2 for i in range(250) if i != 7)


async def test_the_last_facts_of_many_runs(store: Store) -> None:
    runs = [f"r{i}" for i in range(450)]
    await put(store, *(start(run) for run in runs), finish("r7", 2), start("theirs", tenant="other"))
    found = await store.journal.last([*runs, "theirs", "unknown"], tenant="default")
    assert sorted(found) == sorted(runs)
    for run, stored in found.items():
        assert isinstance(stored, Stored)
        assert stored == (await store.journal.facts(run))[-1]
    assert found["r7"].n == 3
    assert {*await store.journal.last(["r7", "theirs"])} == {"r7", "theirs"}, "of every tenant, for the engine"
    assert await store.journal.last([]) == {}


async def test_the_head_is_stored_whole(store: Store) -> None:
    whole = head(
        "r1",
        2,
        status="waiting",
        waiting_on="approval",
        started_at=NOW + 1,
        wake_at=NOW + 60.25,
        step="audit#2[3].deps",
        steps_done=4,
        attempt=2,
        error_code="TIMEOUT",
        error_message="took é long",
        error_step="a",
        cost_nano=2**60,
        tokens=12,
        root="r0",
        parent="r0",
        parent_path="child",
        retry_of="r-1",
        correlation="c",
        owner="ana",
        project="shop",
        session="s",
        trigger="manual",
        host="h",
        priority=-3,
        labels={"env": "prod", "a.b": 'x"y'},
        tools=("http", "shell"),
        models=("simulated/a",),
    )
    await put(store, start("r0"), entry("r1", 0, created("r1"), fact(1), head=whole))
    assert await store.runs.get("r1") == replace(whole, seq=3)
    ended = head("r1", 3, status="failed", finished_at=NOW + 5, labels={"env": "prod"})
    await store.journal.append(entry("r1", 2, fact(3), head=ended))
    after = await store.runs.get("r1")
    assert after is not None
    assert after.seq == 3
    assert (after.status, after.waiting_on, after.wake_at, after.finished_at) == ("failed", None, None, NOW + 5)
    assert (after.tools, after.error_code, after.cost_nano) == ((), "", 0)


async def test_a_run_has_the_number_of_its_first_fact_for_good(store: Store) -> None:
    """Also where several entries of a run share a transaction, and whatever a head says."""
    at_once = [start("r1"), entry("r1", 2, fact(3)), start("r2"), entry("r1", 3, fact(4)), entry("r2", 2, fact(3))]
    await put(store, *at_once)
    await put(
        store, start("r3"), entry("r1", 4, fact(5), head_={"seq": 77}), entry("r2", 3, fact(4), head_={"step": "b"})
    )
    heads = [await store.runs.get(run) for run in ("r1", "r2", "r3")]
    assert [each.seq for each in heads if each is not None] == [1, 4, 8]
    feed = await store.journal.since(0)
    assert [(row.run, row.seq) for row in feed if row.n == 1] == [("r1", 1), ("r2", 4), ("r3", 8)]


async def test_what_is_not_json_is_refused_and_changes_nothing(store: Store) -> None:
    await put(store, start("r1"))
    odd = fact(3)
    odd.value["x"] = object()  # a frozen fact can still hold a mutable value
    for each in (entry("r1", 2, odd), entry("r1", 2, fact(3), signals=(signal(data=object()),))):
        with pytest.raises(InvalidInput):
            await store.journal.append(each)
    assert len(await store.journal.facts("r1")) == 2
    assert await store.signals.unrouted() == []
    assert await put(store, entry("r1", 2, fact(3))) == [3]


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.journal.append(start("r1"))
    await store.open()


async def test_commits_are_counted(store: Store) -> None:
    before = store.journal.commits
    await put(store, start("r1"))
    await put(store, start("r2"))
    assert store.journal.commits == before + 2
