"""Plans, workflows, blobs, logs, retention."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace
from store_kit import NOW, ask, created, entry, fact, finish, put, signal, start, take, vote

from fleetprompt.engine.core.facts import Blob, RunForked, Source, StepNoted
from fleetprompt.engine.core.plan import Block, Node, Plan
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import LogLine, Store, Wait, Workflow

PLAN = Plan(name="audit", root=Block("", (Node(id="a", type="http", config={"url": "é"}),)))


async def test_a_plan_is_kept_once_with_its_text(store: Store) -> None:
    digest = await store.catalog.put(PLAN, source="name: audit")
    assert await store.catalog.put(PLAN, source="# later\nname: audit") == digest
    assert await store.catalog.plan(digest) == PLAN
    assert await store.catalog.source(digest) == "name: audit"
    assert await store.catalog.plan("unknown") is None
    assert await store.catalog.source("unknown") is None


async def test_when_a_workflow_was_first_seen(store: Store) -> None:
    before = time.time()
    for tenant, description in (("default", "first"), ("default", "second"), ("b", "second")):
        plan = replace(PLAN, description=description)
        await store.catalog.put(plan, source="", tenant=tenant)
    seen = await store.catalog.first_seen(["audit", "unknown"])
    assert seen.keys() == {"audit"}
    assert before - 1 <= seen["audit"] <= time.time()
    await store.catalog.put(replace(PLAN, description="third"), source="")
    assert await store.catalog.first_seen(["audit"]) == seen
    assert (await store.catalog.first_seen(["audit"], "b"))["audit"] > seen["audit"]
    assert await store.catalog.first_seen([]) == {}


async def test_workflows_by_name(store: Store) -> None:
    audit = Workflow(name="audit", tenant="default", status="active", plan="p", file="audit.yaml", updated_at=NOW)
    crawl = Workflow(name="crawl", tenant="default", status="draft", plan="q", max_runs=3)
    await store.catalog.set_workflow(crawl)
    await store.catalog.set_workflow(audit)
    await store.catalog.set_workflow(Workflow(name="audit", tenant="b", status="paused", plan="r"))
    assert await store.catalog.workflows() == [audit, crawl]
    paused = Workflow(name="audit", tenant="default", status="paused", plan="p2", updated_at=NOW + 1)
    await store.catalog.set_workflow(paused)
    assert await store.catalog.workflow("audit") == paused
    assert await store.catalog.workflow("unknown") is None
    assert [each.plan for each in await store.catalog.workflows("b")] == ["r"]


async def test_what_is_not_changed_of_a_workflow_stays_as_others_have_set_it(store: Store) -> None:
    crawl = Workflow(name="crawl", tenant="default", status="active", plan="p", file="a.yaml", active_since=NOW)
    await store.catalog.set_workflow(crawl, only=("plan",))
    assert await store.catalog.workflow("crawl") == crawl
    await store.catalog.set_workflow(replace(crawl, status="paused", plan="old"), only=("status",))
    await store.catalog.set_workflow(replace(crawl, plan="q", file="b.yaml"), only=("plan", "file"))
    assert await store.catalog.workflow("crawl") == replace(crawl, status="paused", plan="q", file="b.yaml")
    assert await store.catalog.workflow("crawl", "b") is None


async def test_blobs_come_with_their_facts(store: Store) -> None:
    big = b'"' + b"x" * 100_000 + b'"'
    await put(store, start("r1", blobs=(("d1", big), ("d2", b"2"))), start("r2", blobs=(("d1", big),)))
    assert await store.blobs.get("d1") == big
    assert await store.blobs.get("d1", "b") is None
    await store.blobs.put("d3", b"\x00\xff")
    await store.blobs.put("d3", b"\x00\xff")
    assert await store.blobs.get("d3") == b"\x00\xff"
    assert await store.blobs.get("unknown") is None


def line(text: str, **fields: Any) -> LogLine:
    values: dict[str, Any] = {"at": NOW, "level": "info", "text": text, "path": "a"}
    return LogLine(**(values | fields))


async def test_lines_come_back_numbered_and_in_order(store: Store) -> None:
    store.logs.write("r1", [line("one", data={"n": [1]}), line("two", level="stderr", at=NOW + 1)])
    store.logs.write("r1", [line("three", attempt=2), line("four")])
    await store.logs.flush()
    found, cursor = await store.logs.read("r1", path="a")
    texts = sorted((each.attempt, each.line, each.text) for each in found)
    assert texts == [(1, 1, "one"), (1, 2, "two"), (1, 3, "four"), (2, 1, "three")]
    assert (found[0].data, found[1].level, found[1].at) == ({"n": [1]}, "stderr", NOW + 1)
    assert await store.logs.read("r1", after=cursor) == ([], cursor)
    store.logs.write("r1", [line("five")])
    await store.logs.flush()
    more, _ = await store.logs.read("r1", after=cursor)
    assert [(each.text, each.line) for each in more] == [("five", 4)]
    assert await store.logs.read("unknown") == ([], 0)


async def test_a_log_is_read_by_page_by_step_and_from_its_end(store: Store) -> None:
    for i in range(60):
        store.logs.write("r1", [line(f"a{i}"), line(f"b{i}", path="b")])
        if i % 7 == 0:
            await store.logs.flush()
    await store.logs.flush()

    async def texts(**options: Any) -> list[str]:
        found: list[str] = []
        cursor = 0
        while True:
            page, cursor = await store.logs.read("r1", after=cursor, limit=11, **options)
            found += [each.text for each in page]
            if not page:
                return found

    assert await texts(path="a") == [f"a{i}" for i in range(60)]
    assert sorted(await texts()) == sorted(f"{path}{i}" for path in "ab" for i in range(60))
    last, cursor = await store.logs.read("r1", path="b", limit=3, tail=True)
    assert [each.text for each in last] == ["b57", "b58", "b59"]
    assert (await store.logs.read("r1", path="b", after=cursor))[0] == []
    _, before = await store.logs.read("r1", path="b", limit=58)
    last, _ = await store.logs.read("r1", path="b", after=before, limit=30, tail=True)
    assert [each.text for each in last] == ["b58", "b59"]


async def test_long_lines_are_cut(store: Store) -> None:
    store.logs.write("r1", [line("é" * 16_000, data={"x": "y" * 20_000})])
    await store.logs.flush()
    ((found,), _) = await store.logs.read("r1")
    assert len(found.text.encode()) < 16 * 1024 + 100
    assert found.text.endswith("bytes cut")
    assert isinstance(found.data, str)


async def test_a_step_that_logs_too_much_is_cut_off_and_counted(store: Store) -> None:
    """The stores of this suite keep 20,000 bytes per attempt."""
    for i in range(50):
        store.logs.write("r1", [line(f"{i} " + "x" * 1000)])
        if i % 9 == 0:
            await store.logs.flush()
    store.logs.write("r1", [line("other step", path="b"), line("again", attempt=2)])
    await store.logs.flush()
    found, _ = await store.logs.read("r1", path="a")
    first = [each for each in found if each.attempt == 1]
    assert [each.line for each in first] == list(range(1, len(first) + 1))
    assert first[-1].text == f"… {50 - len(first) + 1} lines dropped"
    assert 10 < len(first) < 25
    assert [each.text for each in found if each.attempt == 2] == ["again"]
    assert len((await store.logs.read("r1", path="b"))[0]) == 1


async def test_lines_are_stored_without_being_asked_to(store: Store) -> None:
    store.logs.write("r1", [line("one")])
    for _ in range(40):
        if (await store.logs.read("r1"))[0]:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the line was never stored")


async def test_old_runs_go_with_all_that_is_theirs(store: Store) -> None:
    for run in ("old", "new"):
        noted = StepNoted(path="a", kind="k", blob=Blob("shared", 3), at=NOW)
        own = StepNoted(path="a", kind="k", blob=Blob(f"own-{run}", 3), at=NOW)
        blobs = (("shared", b"1"), (f"own-{run}", b"2"), (f"src-{run}", b"3"))
        sent = await store.signals.publish(signal(id=f"sig-{run}", key=run, at=NOW))
        await put(
            store,
            entry(run, 0, created(run, source=Source(digest=f"src-{run}")), noted, own, blobs=blobs),
            entry(run, 3, ask(f"apr-{run}"), takes=(take("pool", 9),), waits=(Wait("a", "signal", "x"),)),
        )
        await store.signals.publish(vote("ana", approval=f"apr-{run}", id=f"vote-{run}"))
        await store.signals.close(f"vote-{run}")
        answer = Result(signal=sent.signal.id, status="accepted", run=run)
        at = NOW + (10 if run == "old" else 100)
        await put(store, finish(run, 4, at=at, routed=(sent.signal.id,), results=(answer,)))
        store.logs.write(run, [line("x")])
    await put(store, start("live"), start("other", tenant="b"), finish("other", 2, tenant="b"))
    await store.blobs.put("pinned", b"4")
    await store.logs.flush()
    position = await store.journal.position()
    last = (await store.journal.facts("old"))[-1].seq
    assert await store.journal.pruned() == 0

    counts = await store.prune(before=NOW + 50)

    assert counts["runs"] == 1
    assert counts["journal"] == 5
    assert counts["blobs"] == 2
    assert await store.runs.get("old") is None
    assert await store.journal.facts("old") == []
    assert await store.approvals.get("apr-old") is None
    assert await store.approvals.votes("apr-old") == []
    assert await store.signals.get("sig-old") is None
    assert await store.logs.read("old") == ([], 0)
    assert [holder.run for holder in await store.claims.holders("pool")] == ["new"]
    assert [run for run, _ in await store.runs.waiting("signal", "x")] == ["new"]
    for digest, kept in (("own-old", 0), ("src-old", 0), ("shared", 1), ("own-new", 1), ("src-new", 1), ("pinned", 1)):
        assert (await store.blobs.get(digest) is not None) == bool(kept), digest
    for run in ("new", "live", "other"):
        assert await store.runs.get(run) is not None
    assert await store.approvals.get("apr-new") is not None
    assert len(await store.approvals.votes("apr-new")) == 1
    assert await store.signals.get("sig-new") is not None
    assert len((await store.logs.read("new"))[0]) == 1
    assert await store.journal.position() == position
    assert [await store.journal.pruned(tenant) for tenant in ("default", "b")] == [last, 0]
    assert not (await store.signals.publish(signal(key="old"))).duplicate
    assert (await store.prune(before=NOW + 50)).get("runs", 0) == 0


async def test_a_fork_keeps_the_blobs_of_its_original(store: Store) -> None:
    noted = StepNoted(path="a", kind="k", blob=Blob("large", 3), at=NOW)
    await put(store, start("r1", blobs=(("large", b"1"),)), entry("r1", 2, noted), finish("r1", 3))
    await put(store, entry("r2", 0, created("r2"), noted, RunForked(run="r1", upto=2)))
    await store.prune(before=NOW + 100)
    assert await store.runs.get("r1") is None
    assert await store.blobs.get("large") == b"1"


async def test_the_feed_never_goes_back_even_when_its_end_is_pruned(store: Store) -> None:
    await put(store, start("r1"), finish("r1", 2))
    await store.prune(before=NOW + 1000)
    assert await store.journal.since(0) == []
    assert await store.journal.position() == 3
    assert await put(store, start("r2")) == [4]


async def test_a_child_stays_until_its_parent_has_heard(store: Store) -> None:
    await put(store, start("child"), finish("child", 2), start("parent", waits=(Wait("a", "child", "child"),)))
    await store.prune(before=NOW + 1000)
    assert await store.runs.get("child") is not None
    await put(store, entry("parent", 2, fact(3), unwaits=("a",)))
    await store.prune(before=NOW + 1000)
    assert await store.runs.get("child") is None


async def test_signals_that_are_open_or_young_stay(store: Store) -> None:
    for id_, at in (("open", NOW), ("young", NOW + 900), ("old", NOW), ("refused", NOW), ("hit", NOW)):
        await store.signals.publish(signal(id=id_, at=at))
    for id_ in ("young", "old"):
        await store.signals.close(id_)
    await store.signals.close("refused", [Result(signal="refused", status="refused")])
    await put(store, start("r1", routed=("hit",), results=(Result(signal="hit", status="accepted", run="r1"),)))
    counts = await store.prune(before=NOW + 100)
    kept = [id_ for id_ in ("open", "young", "old", "refused", "hit") if await store.signals.get(id_)]
    assert kept == ["open", "young", "hit"]
    assert counts["signals"] == 2


async def test_logs_have_a_retention_of_their_own(store: Store) -> None:
    await put(store, start("done"), finish("done", 2), start("live"))
    for run in ("done", "live"):
        store.logs.write(run, [line("old", at=NOW), line("old", at=NOW + 1)])
        await store.logs.flush()
        store.logs.write(run, [line("new", at=NOW + 500)])
        await store.logs.flush()
    await store.prune(before=NOW - 1, logs_before=NOW + 100)
    assert await store.runs.get("done") is not None
    assert [each.text for each in (await store.logs.read("done"))[0]] == ["new"]
    assert len((await store.logs.read("live"))[0]) == 3


async def test_pruning_many(store: Store) -> None:
    await put(store, *(start(f"r{i}") for i in range(350)))
    await put(store, *(finish(f"r{i}", 2) for i in range(350)))
    counts = await store.prune(before=NOW + 100)
    assert (counts["runs"], counts["journal"]) == (350, 1050)
    health = await store.check()
    assert health.ok, health.problems


async def test_the_check_of_a_sound_store(store: Store) -> None:
    await put(store, start("r1", blobs=(("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b""),)))
    health = await store.check()
    assert health.ok
    assert health.problems == ()
    assert (health.counts["runs"], health.counts["journal"]) == (1, 2)
    assert health.bytes > 0
    assert health.schema


async def test_nothing_else_writes(store: Store) -> None:
    if "postgresql" in getattr(store, "where", ""):
        pytest.skip("Postgres does not tell whose a transaction was")
    token = await store.changed(0)
    await put(store, start("r1"))
    await store.signals.publish(signal())
    assert await store.changed(token) == token


async def test_runs_of_some_workflows_are_kept_for_times_of_their_own(store: Store) -> None:
    for n, workflow in enumerate(("deploy", "audit", "other")):
        await put(store, entry(f"r{n}", 0, created(f"r{n}"), head_={"workflow": workflow}))
        await put(store, finish(f"r{n}", 1, head_={"workflow": workflow}))
    counts = await store.prune(before=NOW, workflows={"deploy": NOW + 20, "audit": NOW + 5})
    assert counts["runs"] == 1
    assert [await store.runs.get(f"r{n}") is None for n in range(3)] == [True, False, False]
    await store.prune(before=NOW + 20, workflows={"audit": NOW + 5})
    assert [await store.runs.get(f"r{n}") is None for n in range(3)] == [True, False, True]
