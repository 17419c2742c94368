"""The run list, what an engine has to take up, and who waits for what."""

from __future__ import annotations

from typing import Any

import pytest
from store_kit import NOW, created, entry, fact, finish, head, put, start

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Append, Page, Store, Wait

EVERYTHING = parse("", RUN_FIELDS)


def run(id_: str, **fields: Any) -> Append:
    return entry(id_, 0, created(id_), head_=fields, tenant=fields.get("tenant", "default"))


async def _ids(store: Store, text: str, now: float = NOW + 100, **page: Any) -> list[str]:
    found, _ = await store.runs.list(parse(text, RUN_FIELDS).require(), Page(**page), now=now)
    assert await store.runs.count(parse(text, RUN_FIELDS), now=now) == len(found) or page
    return [each.id for each in found]


async def test_the_list_is_newest_first_and_pages_without_gaps(store: Store) -> None:
    """What was created in one moment is in the order in which it was stored, whatever its id."""
    await put(store, *(run(f"r{i:02}", created_at=NOW + i // 3) for i in range(19)))
    await put(store, run("other", tenant="b"), run("a19", created_at=NOW + 6))
    seen: list[str] = []
    cursor = ""
    for _ in range(5):
        heads, cursor = await store.runs.list(EVERYTHING, Page(limit=4, cursor=cursor), now=NOW)
        seen += [each.id for each in heads]
        if len(seen) == 8:
            await put(store, run("r99", created_at=NOW + 99))
    assert cursor == ""
    assert seen == ["a19", *(f"r{i:02}" for i in range(18, -1, -1))]
    assert await store.runs.count(EVERYTHING, now=NOW) == 21
    assert await store.runs.count(EVERYTHING, now=NOW, tenant="b") == 1
    first, cursor = await store.runs.list(EVERYTHING, Page(limit=2, oldest_first=True), now=NOW)
    then, _ = await store.runs.list(EVERYTHING, Page(limit=2, oldest_first=True, cursor=cursor), now=NOW)
    assert [each.id for each in [*first, *then]] == ["r00", "r01", "r02", "r03"]


async def test_a_cursor_of_nowhere_and_a_broken_filter_are_refused(store: Store) -> None:
    for cursor in ("x", "~", "nan~1", "1", "1~r1", f"1~{2**63}"):
        with pytest.raises(InvalidInput):
            await store.runs.list(EVERYTHING, Page(cursor=cursor), now=NOW)
    for text in ("status:bogus", "/(/"):
        with pytest.raises(InvalidInput):
            await store.runs.list(parse(text, RUN_FIELDS), Page(), now=NOW)
        with pytest.raises(InvalidInput):
            await store.runs.count(parse(text, RUN_FIELDS), now=NOW)


async def test_filters(store: Store) -> None:
    await put(
        store,
        run("r1", status="failed", error_code="TIMEOUT", error_message="Rate limit", error_step="a", host="h1"),
        run("r2", workflow="Crawl", cost_nano=600_000_000, tokens=12_000, labels={"env": "prod", "a": ""}),
        run("r3", status="waiting", waiting_on="approval", tools=("http", "shell"), models=("simulated/x",)),
        run("r4", owner="ana_b", started_at=NOW, finished_at=NOW + 30, status="completed", session="s%1"),
    )
    assert await _ids(store, "status:failed,waiting") == ["r3", "r1"]
    assert await _ids(store, "-status:failed") == ["r4", "r3", "r2"]
    assert await _ids(store, "waiting:approval") == ["r3"]
    assert await _ids(store, "-waiting:approval") == ["r4", "r2", "r1"]
    assert await _ids(store, "wf:CRAWL") == ["r2"]
    assert await _ids(store, "wf:cr*") == ["r2"]
    assert await _ids(store, "cost>0.5 tok>=12k") == ["r2"]
    assert await _ids(store, "label.env:prod") == ["r2"]
    assert await _ids(store, "-label.env:*") == ["r4", "r3", "r1"]
    assert await _ids(store, "label.a:*") == []
    assert await _ids(store, "tool:SHELL") == ["r3"]
    assert await _ids(store, "-tool:*") == ["r4", "r2", "r1"]
    assert await _ids(store, "model:simulated/*") == ["r3"]
    assert await _ids(store, '"rate limit"') == ["r1"]
    assert await _ids(store, "error:timeout") == ["r1"]
    assert await _ids(store, "-error:*") == ["r4", "r3", "r2"]
    assert await _ids(store, "/rate.l.mit/") == ["r1"]
    assert await _ids(store, "-/^r[12]$/") == ["r4", "r3"]
    assert await _ids(store, "by:ana?b") == []
    assert await _ids(store, "by:ana_b") == ["r4"]
    assert await _ids(store, 'session:"s%1"') == ["r4"]
    assert await _ids(store, "dur>20s") == ["r4"]
    assert await _ids(store, "dur<20s") == []
    assert await _ids(store, "age>99s age<101s status:failed") == ["r1"]
    assert await _ids(store, "since:1h r2") == ["r2"]


async def test_ids_are_found_by_either_end(store: Store) -> None:
    await put(store, *(run(f"0192-{i:02}-ab{i % 2}") for i in range(12)), run("ab1"), run("0192-x", tenant="b"))
    assert await store.runs.find("0192-03-ab1") == ["0192-03-ab1"]
    assert await store.runs.find("ab1") == ["ab1", *(f"0192-{i:02}-ab1" for i in range(11, 0, -2))]
    assert await store.runs.find("0192-") == [f"0192-{i:02}-ab{i % 2}" for i in range(11, 1, -1)]
    assert await store.runs.find("x") == []
    assert await store.runs.find("AB1") == []
    assert await store.runs.find("") == []
    assert await store.runs.find("%") == []


async def test_what_an_engine_takes_up(store: Store) -> None:
    def parked(id_: str, on: str, *waits: Wait, **fields: Any) -> Append:
        given = {"status": "waiting", "waiting_on": on, **fields}
        return entry(id_, 0, created(id_), waits=waits, head_=given)

    await put(
        store,
        run("pending", status="pending", created_at=NOW + 5),
        run("running", created_at=NOW + 4),
        run("done", status="completed", finished_at=NOW, waiting_on="slot"),
        run("foreign", tenant="b", created_at=NOW + 3),
        parked("slot", "slot", Wait("a", "slot", "pool")),
        parked("hidden-slot", "approval", Wait("a", "slot", "pool"), Wait("b", "approval")),
        parked("approval", "approval", Wait("a", "approval")),
        parked("timer-due", "timer", wake_at=NOW + 10),
        parked("timer-later", "timer", wake_at=NOW + 10.5),
        parked("child-open", "child", Wait("a", "child", "running")),
        parked("child-done", "child", Wait("a", "child", "done")),
        parked("child-hidden", "approval", Wait("b", "child", "done")),
        parked("signal", "signal", Wait("a", "signal", "x.*")),
    )
    found = await store.runs.unfinished(now=NOW + 10)
    assert [each.id for each in found] == [
        "slot",
        "hidden-slot",
        "timer-due",
        "child-done",
        "child-hidden",
        "foreign",
        "running",
        "pending",
    ]
    assert found[5] == await store.runs.get("foreign")
    assert len(await store.runs.unfinished(now=NOW + 10, limit=3)) == 3


async def test_timers_that_are_due(store: Store) -> None:
    assert await store.runs.due(NOW) == ([], None)
    for i, status in enumerate(("waiting", "waiting", "pending", "running", "completed")):
        await put(store, run(f"r{i}", status=status, wake_at=NOW + 10 - i))
    await put(store, run("r9", status="waiting"))
    assert await store.runs.due(NOW + 9) == (["r2", "r1"], NOW + 10)
    assert await store.runs.due(NOW + 8) == (["r2"], NOW + 9)
    assert await store.runs.due(NOW + 10, limit=1) == (["r2"], None)
    await put(store, entry("r2", 1, fact(2), head_={"status": "waiting", "wake_at": None}))
    assert await store.runs.due(NOW + 10) == (["r1", "r0"], None)


async def test_who_waits_for_a_signal(store: Store) -> None:
    waits = {
        "r1": Wait("a", "signal", "order.*"),
        "r2": Wait("a", "signal", "order.placed", key="o-1"),
        "r3": Wait("a", "signal", "order.placed", key="o-2"),
        "r4": Wait("a", "signal", "**"),
        "r5": Wait("a", "signal", "order"),
        "r6": Wait("a", "child", "order.placed"),
    }
    await put(store, *(start(id_, waits=(wait,)) for id_, wait in waits.items()))
    await put(store, start("other", tenant="b", waits=(Wait("a", "signal", "order.placed"),)))

    async def who(*args: Any, **options: Any) -> list[str]:
        return [id_ for id_, _ in await store.runs.waiting(*args, **options)]

    assert await who("signal", "order.placed") == ["r1", "r2", "r3", "r4"]
    assert await who("signal", "order.placed", key="o-2") == ["r1", "r3", "r4"]
    assert await who("signal", "order") == ["r4", "r5"]
    assert await who("child", "order.placed") == ["r6"]
    assert await who("signal", "order.placed", tenant="b") == ["other"]
    assert await store.runs.waiting("child", "order.placed") == [("r6", waits["r6"])]


async def test_waits_end(store: Store) -> None:
    await put(store, start("r1", waits=(Wait("a", "signal", "x"), Wait("b", "signal", "x"))))
    await put(store, entry("r1", 2, fact(3), unwaits=("a",), waits=(Wait("b", "signal", "y"),)))
    assert await store.runs.waiting("signal", "x") == []
    assert await store.runs.waiting("signal", "y") == [("r1", Wait("b", "signal", "y"))]
    renewed = entry("r1", 3, fact(4), unwaits=("b",), waits=(Wait("b", "signal", "z"),))
    await put(store, renewed, entry("r1", 4, fact(5), unwaits=("zzz",)))
    assert await store.runs.waiting("signal", "z") == [("r1", Wait("b", "signal", "z"))]


async def test_the_last_completed_run(store: Store) -> None:
    assert await store.runs.last_completed("audit") is None
    for id_, status, at in (("r1", "completed", 5), ("r2", "completed", 9), ("r3", "failed", 12), ("r4", "running", 0)):
        await put(store, run(id_, status=status, finished_at=NOW + at if at else None))
    await put(store, run("r5", status="completed", finished_at=NOW + 99, workflow="else"))
    assert await store.runs.last_completed("audit") == "r2"
    assert await store.runs.last_completed("audit", "b") is None


async def test_a_run_seen_from_outside_is_the_one_that_was_written(store: Store) -> None:
    await put(store, start("r1"), finish("r1", 2, "failed"))
    found = await store.runs.get("r1")
    assert found == head("r1", 3, status="failed", finished_at=NOW + 10, updated_at=NOW + 10, seq=1)
    assert await store.runs.get("unknown") is None
