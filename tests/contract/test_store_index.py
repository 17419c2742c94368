"""What a console asks of the run list: numbers in every order, rows by number, what changed, counts, live values."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from store_kit import NOW, created, entry, finish, put

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import NEWEST_FIRST, Append, Order, Store

LATER = NOW + 100
BROKEN = parse("status:bogus", RUN_FIELDS)


def run(id_: str, **fields: Any) -> Append:
    return entry(id_, 0, created(id_), head_=fields, tenant=fields.get("tenant", "default"))


async def _ids(store: Store, text: str = "", order: Order = NEWEST_FIRST, tenant: str = "default") -> list[str]:
    seqs = await store.runs.index(parse(text, RUN_FIELDS), order, now=LATER, tenant=tenant)
    assert isinstance(seqs, array)
    assert seqs.typecode == "q"
    return [head.id for head in await store.runs.heads(seqs, tenant=tenant) if head is not None]


async def test_numbers_in_every_order(store: Store) -> None:
    await put(
        store,
        run("r1", created_at=NOW + 2, updated_at=NOW + 9, workflow="Etl", cost_nano=5, tokens=1, started_at=NOW),
        run("r2", created_at=NOW + 1, workflow="audit", cost_nano=7, started_at=NOW + 90, finished_at=NOW + 91),
        run("other", tenant="b"),
        run("r3", created_at=NOW + 2, workflow="etl", status="failed", started_at=NOW, finished_at=NOW + 50),
        run("r4", created_at=NOW + 3, workflow="crawl", status="completed", tokens=9),
    )
    assert await _ids(store) == ["r4", "r3", "r1", "r2"]
    assert await _ids(store, order=Order("created", descending=False)) == ["r2", "r3", "r1", "r4"]
    assert await _ids(store, order=Order("updated")) == ["r1", "r4", "r3", "r2"]
    assert await _ids(store, order=Order("status")) == ["r2", "r1", "r3", "r4"]
    assert await _ids(store, order=Order("status", descending=False)) == ["r4", "r3", "r2", "r1"]
    assert await _ids(store, order=Order("workflow", descending=False)) == ["r2", "r4", "r3", "r1"]
    assert await _ids(store, order=Order("workflow")) == ["r3", "r1", "r4", "r2"]
    assert await _ids(store, order=Order("duration")) == ["r1", "r3", "r2", "r4"]
    assert await _ids(store, order=Order("duration", descending=False)) == ["r2", "r3", "r1", "r4"]
    assert await _ids(store, order=Order("cost")) == ["r2", "r1", "r4", "r3"]
    assert await _ids(store, order=Order("tokens", descending=False)) == ["r3", "r2", "r1", "r4"]
    assert await _ids(store, tenant="b") == ["other"]


async def test_an_index_is_filtered_in_every_order(store: Store) -> None:
    await put(store, *(run(f"r{i}", workflow=f"w{i % 3}", cost_nano=i % 4, created_at=NOW - i) for i in range(9)))
    assert await _ids(store, "wf:w1") == ["r1", "r4", "r7"]
    assert await _ids(store, "wf:w1", Order("cost")) == ["r7", "r1", "r4"]
    assert await _ids(store, "/^r[2-5]$/ -wf:w0", Order("cost")) == ["r2", "r5", "r4"]
    assert await _ids(store, "-/r/") == []
    assert await _ids(store, "r8", Order("workflow")) == ["r8"]
    with pytest.raises(InvalidInput):
        await store.runs.index(BROKEN, NEWEST_FIRST, now=LATER)


async def test_an_index_tried_by_a_regular_expression_in_portions_keeps_its_order(store: Store) -> None:
    await put(store, *(run(f"r{i:04}", cost_nano=i % 2, status="failed" if i % 7 else "running") for i in range(1200)))
    expected = [f"r{i:04}" for i in range(1199, -1, -1) if i % 10 == 3 and i % 2]
    assert await _ids(store, "/3$/", Order("cost")) == expected
    tally = await store.runs.tally(parse("/3$/", RUN_FIELDS), now=LATER)
    assert tally == {"failed": sum(int(id_[1:]) % 7 > 0 for id_ in expected), "running": 17}


async def test_rows_by_number(store: Store) -> None:
    await put(store, run("r1"), run("r2"), run("other", tenant="b"), *(run(f"x{i}") for i in range(600)))
    heads = {id_: await store.runs.get(id_) for id_ in ("r1", "r2", "other")}
    seq = {id_: head.seq for id_, head in heads.items() if head is not None}
    asked = [seq["r2"], 10_000, seq["other"], seq["r1"], seq["r2"], 0, -1]
    assert await store.runs.heads(asked) == [heads["r2"], None, None, heads["r1"], heads["r2"], None, None]
    assert await store.runs.heads([seq["other"]], tenant="b") == [heads["other"]]
    assert await store.runs.heads([]) == []
    everything = await store.runs.index(parse("", RUN_FIELDS), NEWEST_FIRST, now=LATER)
    assert [head.seq for head in await store.runs.heads(everything) if head is not None] == [*everything]


async def test_the_row_of_a_run_that_was_pruned_is_gone(store: Store) -> None:
    await put(store, run("r1"), finish("r1", 1), run("r2"))
    index = await store.runs.index(parse("", RUN_FIELDS), NEWEST_FIRST, now=LATER)
    await store.prune(before=NOW + 50)
    first, second = await store.runs.heads(index)
    assert (first.id if first else "", second) == ("r2", None)
    assert await store.runs.matching(["r1", "r2"], parse("", RUN_FIELDS), now=LATER) == [(first, True)]


async def test_what_became_of_runs_that_changed(store: Store) -> None:
    async def asked(text: str, *ids: str) -> list[tuple[str, bool]]:
        found = await store.runs.matching(ids, parse(text, RUN_FIELDS), now=LATER)
        assert [head for head, _ in found] == [await store.runs.get(head.id) for head, _ in found]
        return [(head.id, holds) for head, holds in found]

    await put(store, run("r1", tools=("http",)), run("r2", workflow="etl"), run("other", tenant="b"))
    assert await asked("status:running", "r2", "r1", "r2") == [("r2", True), ("r1", True), ("r2", True)]
    await put(store, finish("r1", 1, "failed", head_={"error_code": "TIMEOUT"}))
    assert await asked("status:running", "r2", "gone", "other", "r1") == [("r2", True), ("r1", False)]
    assert await asked("wf:etl /r2|timeout/", "r1", "r2") == [("r1", False), ("r2", True)]
    assert await asked("/r2|timeout/", "r1", "r2") == [("r1", True), ("r2", True)]
    assert await asked("-waiting:approval", "r1") == [("r1", True)]
    assert await asked("dur>1s", "r1") == [("r1", False)]
    assert await asked("") == []
    await put(store, *(run(f"x{i}") for i in range(600)))
    assert len(await asked("x5", "r1", *(f"x{i}" for i in range(600)))) == 601
    with pytest.raises(InvalidInput):
        await store.runs.matching(["r1"], BROKEN, now=LATER)


async def test_counts_by_status(store: Store) -> None:
    assert await store.runs.tally(parse("", RUN_FIELDS), now=LATER) == {}
    await put(store, run("r1"), run("r2", status="failed", cost_nano=5), run("r3"), run("other", tenant="b"))
    assert await store.runs.tally(parse("", RUN_FIELDS), now=LATER) == {"running": 2, "failed": 1}
    assert await store.runs.tally(parse("cost>0", RUN_FIELDS), now=LATER) == {"failed": 1}
    assert await store.runs.tally(parse("/r[12]/", RUN_FIELDS), now=LATER) == {"running": 1, "failed": 1}
    assert await store.runs.tally(parse("", RUN_FIELDS), now=LATER, tenant="b") == {"running": 1}
    with pytest.raises(InvalidInput):
        await store.runs.tally(BROKEN, now=LATER)


async def test_values_to_complete_a_filter_with(store: Store) -> None:
    async def values(field: str, text: str = "", *args: Any) -> list[tuple[str, int]]:
        return await store.runs.values(field, parse(text, RUN_FIELDS), *args, now=LATER)

    await put(
        store,
        run("r1", workflow="Etl", labels={"env": "prod", "é": "1"}, tools=("http", "shell"), error_code="TIMEOUT"),
        run("r2", workflow="etl", labels={"env": "dev", "a.b": "x"}, tools=("http",), owner="ana", error_code="A%"),
        run("r3", workflow="etl", labels={"env": ""}, owner="bo", status="failed", error_message="no code"),
        run("r4", workflow="audit", labels={"env": "prod"}, owner="ana", models=("simulated/x",), cost_nano=7),
        run("other", workflow="secret", tenant="b"),
    )
    assert await values("wf") == [("etl", 2), ("Etl", 1), ("audit", 1)]
    assert await values("wf", "", "ET") == [("etl", 2), ("Etl", 1)]
    assert await values("wf", "", "", 1) == [("etl", 2)]
    assert await values("workflow", "by:ana") == [("audit", 1), ("etl", 1)]
    assert await values("by", "/r[12]/") == [("ana", 1)]
    assert await values("label") == [("env", 4), ("a.b", 1), ("é", 1)]
    assert await values("label.env") == [("prod", 2), ("dev", 1)]
    assert await values("label.a.b") == [("x", 1)]
    assert await values("label.none") == []
    assert await values("tool", "", "h") == [("http", 2)]
    assert await values("model") == [("simulated/x", 1)]
    assert await values("error") == [("A%", 1), ("TIMEOUT", 1)]
    assert await values("error", "", "a%") == [("A%", 1)]
    assert await values("error", "", "_") == []
    assert await values("status") == [("running", 3), ("failed", 1)]
    assert await values("run", "", "R2") == [("r2", 1)]
    assert await values("cost") == await values("since") == await values("dur") == []
    for field in ("bogus", "wf.x", ""):
        with pytest.raises(InvalidInput):
            await values(field)
    with pytest.raises(InvalidInput):
        await values("cost", "status:bogus")


async def test_a_tool_that_is_named_twice_counts_once(store: Store) -> None:
    await put(store, run("r1", tools=("http", "http")), run("r2", tools=("shell", "http")))
    assert await store.runs.values("tool", parse("", RUN_FIELDS), now=LATER) == [("http", 2), ("shell", 1)]
