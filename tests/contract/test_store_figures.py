"""Figures: what was spent, by whom, on which day, and never twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from store_kit import KINDS, NOW, SQL_KINDS, created, entry, finish, put, throw_away

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.core.facts import AnyFact, Blob, RunForked, StepFailed, StepNoted, StepSucceeded
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Append, CostBy, Page, Store
from fleetprompt.engine.store.memory import MemoryStore

ZONE = ZoneInfo("America/New_York")


def spent(path: str, cost: int = 0, tokens: int = 0, at: float = NOW, **usage: int) -> AnyFact:
    """An outcome that tells what it has used."""
    return StepSucceeded(path=path, usage={"cost_nano": cost, "tokens": tokens, **usage}, at=at)


def failed(path: str, cost: int, at: float = NOW) -> AnyFact:
    return StepFailed(path=path, error=Failure("TOOL_ERROR", "no"), usage={"cost_nano": cost}, at=at)


def run(id_: str, *facts: AnyFact, tenant: str = "default", **head: Any) -> Append:
    return entry(id_, 0, created(id_), *facts, head_=head, tenant=tenant)


async def costs(store: Store, by: CostBy, text: str = "", **options: Any) -> list[tuple[Any, ...]]:
    query = parse(text, RUN_FIELDS) if text else None
    found = await store.figures.costs(by, now=NOW + 60, query=query, **options)
    return [(row.key, row.cost_nano, row.tokens, row.runs, row.calls) for row in found]


async def test_what_was_spent_is_added_up_by_what_it_was_spent_on(store: Store) -> None:
    await put(
        store,
        run("r1", spent("ask", 5, 10), failed("each[0].ask", 7), spent("each#2[13].ask", 1, 2), workflow="audit"),
        run("r2", spent("ask", 100, 1), workflow="crawl"),
        run("r3", spent("ask", 20), spent("plain"), workflow="audit"),
        run("other", spent("ask", 1000), tenant="b"),
    )
    assert await costs(store, "workflow") == [("crawl", 100, 1, 1, 1), ("audit", 33, 12, 2, 4)]
    assert await costs(store, "step") == [("ask", 100, 1, 1, 1), ("ask", 25, 10, 2, 2), ("each.ask", 8, 2, 1, 2)]
    assert [row.workflow for row in await store.figures.costs("step", now=NOW)] == ["crawl", "audit", "audit"]
    assert await costs(store, "run") == [("r2", 100, 1, 1, 1), ("r3", 20, 0, 1, 1), ("r1", 13, 12, 1, 3)]
    assert await costs(store, "model") == [("", 133, 13, 3, 5)]
    assert await costs(store, "workflow", tenant="b") == [("audit", 1000, 0, 1, 1)]
    assert await costs(store, "run", limit=2) == [("r2", 100, 1, 1, 1), ("r3", 20, 0, 1, 1)]
    assert await costs(store, "day", tenant="none") == []


async def test_appends_that_follow_add_to_it(store: Store) -> None:
    await put(store, run("r1", spent("a", 1)), entry("r1", 2, spent("b", 2), spent("a", 0, 9)))
    assert await costs(store, "step") == [("b", 2, 0, 1, 1), ("a", 1, 9, 1, 2)]
    assert (await store.check()).ok


async def test_a_period_has_a_first_and_no_last_moment(store: Store) -> None:
    await put(store, run("r1", *(spent("a", 10**i, i, at=NOW + i) for i in range(4))))
    assert await costs(store, "workflow", since=NOW + 1, until=NOW + 3) == [("audit", 110, 3, 1, 2)]
    assert await store.figures.spend(NOW + 2) == (1100, 5, 0)
    assert await store.figures.spend(NOW + 4) == (0, 0, 0)
    assert await store.figures.spend(NOW, "b") == (0, 0, 0)


async def test_a_filter_picks_whose_spending_counts(store: Store) -> None:
    await put(
        store,
        run("r1", spent("a", 1), spent("b", 1), status="failed", error_message="rate limit"),
        run("r2", spent("a", 2), labels={"env": "prod"}),
        run("r3", spent("a", 4), error_message="Rate limits", labels={"env": "prod"}),
    )
    assert await costs(store, "step", "status:failed") == [("a", 1, 0, 1, 1), ("b", 1, 0, 1, 1)]
    assert await costs(store, "step", "label.env:prod") == [("a", 6, 0, 2, 2)]
    assert await costs(store, "step", "/rate.limits?/") == [("a", 5, 0, 2, 2), ("b", 1, 0, 1, 1)]
    assert await costs(store, "run", "-/limits/ status:running") == [("r2", 2, 0, 1, 1)]
    assert await costs(store, "day", "/limits/") == [("2027-01-15", 4, 0, 1, 1)]
    assert await costs(store, "day", "wf:none") == []
    for text in ("status:bogus", "/(/"):
        with pytest.raises(InvalidInput):
            await costs(store, "workflow", text)


async def test_what_a_retry_has_copied_was_spent_once(store: Store) -> None:
    forked = RunForked(run="r1", upto=3, at=NOW + 5)
    await put(
        store,
        run("r1", spent("a", 1), failed("b", 10)),
        run("r2", spent("a", 1), forked, spent("b", 100)),
        entry("r2", 4, spent("c", 1000)),
    )
    assert await costs(store, "run") == [("r2", 1100, 0, 1, 2), ("r1", 11, 0, 1, 2)]
    assert await store.figures.spend(0) == (1111, 0, 0)
    assert (await store.check()).ok


def called(kind: str, value: Any, path: str = "ask", **fields: Any) -> StepNoted:
    return StepNoted(path=path, kind=kind, key=f"{path}/llm/1", value=value, at=NOW, **fields)


async def test_calls_of_models_are_counted_by_model(store: Store) -> None:
    large, small = {"model": "m/large"}, {"model": "m/small"}
    await put(
        store,
        run(
            "r1",
            called("llm.started", {**large, "cost_nano": 999}),
            called("llm.failed", {**large, "uncertain_nano": 40, "uncertain_tokens": 7}),
            called("llm.failed", {**large, "uncertain_nano": 0}),
            called("llm.completed", {**large, "cost_nano": 5, "tokens": 10, "uncertain_nano": 0, "text": "x"}),
            called("llm.completed", {**small, "cost_nano": None, "tokens": 3}, path="each[1].ask"),
        ),
        entry("r1", 6, called("image.completed", {"model": "m/image", "cost_nano": 70}), spent("other", 1)),
        run("r2", called("llm.completed", {**small, "cost_nano": 2, "tokens": 1, "uncertain_nano": 6})),
    )
    assert await costs(store, "model") == [
        ("m/image", 70, 0, 1, 1),
        ("m/large", 5, 10, 1, 2),
        ("m/small", 2, 4, 2, 2),
        ("", 1, 0, 1, 1),
    ]
    uncertain = {row.key: row.uncertain_nano for row in await store.figures.costs("model", now=NOW)}
    assert uncertain == {"m/image": 0, "m/large": 40, "m/small": 6, "": 0}
    (searched,) = await store.figures.costs("workflow", now=NOW, query=parse("/r[12]|audit/", RUN_FIELDS))
    assert (searched.cost_nano, searched.uncertain_nano, searched.calls) == (78, 46, 6)
    assert [row.uncertain_nano for row in await store.figures.costs("day", now=NOW)] == [46]
    assert await costs(store, "step") == [("ask", 77, 11, 2, 4), ("other", 1, 0, 1, 1), ("each.ask", 0, 3, 1, 1)]
    assert await store.figures.spend(NOW) == (78, 14, 46)
    assert (await store.check()).ok


async def test_what_no_model_has_said_is_told_apart(store: Store) -> None:
    script, real = {"model": "s", "mode": "simulated"}, {"model": "m", "mode": "live", "cost_nano": 6, "tokens": 1}
    await put(
        store,
        run("r1", called("llm.completed", script), called("llm.completed", script), mode="simulated"),
        run("r2", called("llm.completed", real), called("llm.completed", {**script, "mode": "replay"}), mode="mixed"),
        finish("r2", 3, head_={"mode": "mixed"}),
        finish("r1", 3, at=NOW - 1, head_={"mode": "simulated"}),
        run("r3", called("llm.completed", {"model": "m"}), spent("a", 1)),
    )
    unreal = {row.key: (row.unreal, row.calls) for row in await store.figures.costs("run", now=NOW)}
    assert unreal == {"r1": (2, 2), "r2": (1, 2), "r3": (0, 2)}
    (searched,) = await store.figures.costs("workflow", now=NOW, query=parse("/r[12]/", RUN_FIELDS))
    assert (searched.unreal, searched.calls) == (3, 4)
    (since,) = await store.figures.statistics(NOW)
    assert (since.runs, since.unreal, since.mean_cost_nano) == (2, 0, 3)
    (ever,) = await store.figures.statistics(NOW - 1)
    assert (ever.runs, ever.unreal, ever.mean_cost_nano) == (3, 1, 3)
    (head,), _ = await store.runs.list(parse("mode:simulated", RUN_FIELDS), Page(), now=NOW)
    assert head.id == "r1"


async def test_a_note_tells_what_it_tells(store: Store) -> None:
    """The value may be kept elsewhere, whole or but for what is counted, and nobody knows who has written it."""
    blob = Blob("d" * 64, 70_000)
    kept = {"model": "m", "cost_nano": 1, "tokens": 2}
    odd: list[Any] = [None, "text", [1], {}, {"model": None, "cost_nano": 5}, {"cost_nano": 5}]
    wrong = {"model": "w", "cost_nano": "5", "tokens": True, "uncertain_nano": -3}
    await put(
        store,
        run(
            "r1",
            *(called("llm.completed", value) for value in odd),
            called("llm.completed", None, blob=blob),
            called("llm.completed", kept, blob=blob),
            called("llm.completed", wrong),
            called("llm.failed", {"model": "w", "uncertain_nano": 1.5}),
            called("message", kept),
        ),
    )
    assert await costs(store, "model") == [("m", 1, 2, 1, 1), ("w", 0, 0, 1, 1)]


async def test_calls_that_a_retry_has_copied_were_made_once(store: Store) -> None:
    call = called("llm.completed", {"model": "m", "cost_nano": 5, "tokens": 1, "uncertain_nano": 2})
    forked = RunForked(run="r1", upto=2, at=NOW + 5)
    await put(store, run("r1", call), run("r2", call, forked, call))
    assert await costs(store, "model") == [("m", 10, 2, 2, 2)]
    assert await store.figures.spend(0) == (10, 2, 4)
    assert (await store.check()).ok


async def test_a_run_tells_what_it_may_have_spent(store: Store) -> None:
    await put(store, run("r1", uncertain_nano=5), entry("r1", 1, spent("a"), head_={"uncertain_nano": 7}))
    head = await store.runs.get("r1")
    assert head is not None
    assert (head.uncertain_nano, head.seq) == (7, 1)


async def test_pruning_forgets_what_was_spent(store: Store) -> None:
    await put(store, run("old", spent("a", 1)), finish("old", 2, at=NOW + 1), run("new", spent("a", 2)))
    counts = await store.prune(before=NOW + 2)
    assert counts["costs"] == 1
    assert await costs(store, "run") == [("new", 2, 0, 1, 1)]


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_days_begin_at_midnight_of_the_zone(kind: str, tmp_path: Path) -> None:
    """On the first of November of 2026 a day of New York has 25 hours."""
    store = KINDS[kind](tmp_path, ZONE)
    await store.open()

    def at(text: str) -> float:
        return datetime.fromisoformat(text).timestamp()

    times = {
        "2026-10-31T23:59:59-04:00": 1,
        "2026-11-01T00:00:00-04:00": 10,
        "2026-11-01T01:30:00-05:00": 100,
        "2026-11-01T23:59:59-05:00": 1000,
        "2026-11-02T00:00:00-05:00": 10_000,
        "2027-11-02T00:00:00-04:00": 7,
    }
    await put(store, run("r1", *(spent("a", cost, at=at(text)) for text, cost in times.items())))
    assert [(day, cost) for day, cost, *_ in await costs(store, "day")] == [
        ("2027-11-02", 7),
        ("2026-11-02", 10_000),
        ("2026-11-01", 1110),
        ("2026-10-31", 1),
    ]
    assert [day for day, *_ in await costs(store, "day", limit=2)] == ["2027-11-02", "2026-11-02"]
    await throw_away(store)


class Pair:
    """Two stores that have spent the same, and the loop they live in."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.stores: tuple[Store, Store] = (MemoryStore(zone=ZONE), SQL_KINDS[kind](folder, ZONE))
        for store in self.stores:
            self.runner.run(_fill(store, random.Random(11)))

    def same(self, name: str, *args: Any, **options: Any) -> Any:
        """What both answer."""
        found = [self.runner.run(getattr(store.figures, name)(*args, **options)) for store in self.stores]
        assert found[0] == found[1], (name, args, options)
        return found[0]


async def _fill(store: Store, random_: random.Random) -> None:
    await store.open()
    some = random_.choice
    for i in range(150):
        facts: list[AnyFact] = []
        for _ in range(some((0, 1, 3, 8))):
            path = some(("a", "b[1].c", "b[2].c", "b#2[1].c", "é"))
            facts.append(spent(path, some((0, 0, 5, 7)), some((0, 3)), at=NOW - random_.random() * 9e6))
        if some((0, 0, 1)):
            facts.append(RunForked(run="x", upto=1))
        mode = some(("", "live", "simulated", "mixed", "replay"))
        if mode:
            facts.append(
                called("llm.completed", {"model": "m", "mode": some((mode, "local")), "cost_nano": some((0, 4))})
            )
        head: dict[str, Any] = {"mode": mode, "workflow": some(("w", "W", "v")), "created_at": NOW + some((0, 1, 1, i))}
        status = some(("failed", "timeout", "completed", "completed", "cancelled", "running", "waiting"))
        started = head["created_at"] + random_.random() if some((0, 1, 1)) else None
        over = {"finished_at": NOW + 10 + random_.random() * 1000} if status not in ("running", "waiting") else {}
        await put(store, run(f"r{i}", *facts, status=status, started_at=started, **head, **over))


@pytest.fixture(params=sorted(SQL_KINDS))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(request.param, tmp_path)
    yield made
    made.runner.run(throw_away(made.stores[1]))
    made.runner.close()


def test_every_store_adds_up_alike(pair: Pair) -> None:
    for by in ("workflow", "step", "model", "day", "run"):
        for text in ("", "status:failed", "wf:w -status:failed", "/1$/"):
            for since, until in ((None, None), (NOW - 5e6, None), (None, NOW - 2e6), (NOW - 5e6, NOW - 2e6)):
                for limit in (5, 1000):
                    options: dict[str, Any] = {"since": since, "until": until, "limit": limit, "now": NOW}
                    found = pair.same("costs", by, query=parse(text, RUN_FIELDS), **options)
        assert found
    for since in (0, NOW - 5e6, NOW - 1e5):
        pair.same("spend", since)


def ended(id_: str, status: str, at: float, seconds: float | None = 1.0, **head: Any) -> Append:
    """A run that is over; it was created a second before it started."""
    started = at - seconds if seconds is not None else None
    created_at = (at if started is None else started) - 1
    times = {"started_at": started, "finished_at": at, "created_at": created_at}
    return run(id_, status=status, **{**times, **head})


async def test_the_statistics_of_workflows(store: Store) -> None:
    audit = [ended(f"a{i:02}", "completed", NOW + i, seconds=float(i)) for i in range(1, 21)]
    bad = [
        ended("t", "timeout", NOW + 30, error_code="TIMEOUT"),
        ended("f", "failed", NOW + 29, error_code="TOOL_ERROR", tenant="default"),
        ended("c", "cancelled", NOW + 31),
        ended("early", "failed", NOW - 5, error_code="OLD"),
        ended("other", "failed", NOW + 99, tenant="b"),
    ]
    await put(store, *audit, *bad, run("w", spent("x", 48, 7, at=NOW + 1), status="waiting", created_at=NOW - 99))
    await put(store, ended("z", "completed", NOW + 3, seconds=None, workflow="Audit"))
    upper, lower = await store.figures.statistics(NOW)
    assert lower.workflow == "audit"
    assert lower.statuses == {"completed": 20, "timeout": 1, "failed": 1, "cancelled": 1, "waiting": 1}
    assert (lower.runs, lower.success) == (24, 20 / 22)
    assert (lower.p50, lower.p95) == (10.0, 19.0)
    assert (lower.cost_nano, lower.tokens, lower.mean_cost_nano) == (48, 7, 2)
    assert lower.failure is not None
    assert (lower.failure.id, lower.failure.at, lower.failure.code) == ("t", NOW + 30, "TIMEOUT")
    assert [each.id for each in lower.recent[:4]] == ["c", "t", "f", "a20"]
    assert len(lower.recent) == 20
    first = lower.recent[3]
    assert (first.status, first.started_at, first.finished_at, first.created_at) == (
        "completed",
        NOW,
        NOW + 20,
        NOW - 1,
    )
    assert await store.runs.get(first.id) is not None
    assert (upper.workflow, upper.p50, upper.success, upper.failure) == ("Audit", None, 1.0, None)
    (later,) = await store.figures.statistics(NOW + 50)
    assert (later.statuses, later.success, later.p95, later.cost_nano) == ({"waiting": 1}, None, None, 0)
    assert later.recent == lower.recent
    assert await store.figures.statistics(NOW, "none") == []


async def test_what_happened_when(store: Store) -> None:
    await put(
        store,
        ended("a", "completed", NOW + 9.5, seconds=5.0, workflow="x"),
        ended("b", "failed", NOW + 10, seconds=5.0),
        ended("c", "timeout", NOW + 19.999, seconds=30.0),
        ended("d", "cancelled", NOW + 5, seconds=1.0),
        ended("e", "completed", NOW + 20, seconds=1.0),
        run("f", spent("x", 5, at=NOW), spent("x", 6, at=NOW + 19), spent("x", 7, at=NOW + 20), created_at=NOW + 20),
        ended("g", "failed", NOW + 3, tenant="b"),
    )
    found = await store.figures.activity(NOW, NOW + 20, 2)
    assert [(each.at, each.started, each.completed, each.failed, each.cost_nano) for each in found] == [
        (NOW, 3, 1, 0, 5),
        (NOW + 10, 1, 0, 2, 6),
    ]
    for since, until, parts in ((NOW, NOW, 2), (NOW, NOW + 1, 0), (NOW, NOW + 1, 1001)):
        with pytest.raises(ValueError, match="cannot be cut"):
            await store.figures.activity(since, until, parts)


def test_every_store_counts_alike(pair: Pair) -> None:
    for since in (0.0, NOW, NOW + 500):
        assert pair.same("statistics", since)
    for parts in (1, 7, 1000):
        found = pair.same("activity", NOW - 20, NOW + 1003, parts)
        assert sum(each.completed for each in found) > 5
