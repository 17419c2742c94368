"""Logs of any length: their directory, chosen chunks, and searching, in every store."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import NOW, finish, put, start

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports import LEVELS, LogLine, LogMatches, Store


def line(text: str, **fields: Any) -> LogLine:
    values: dict[str, Any] = {"at": NOW, "level": "info", "text": text, "path": "a"}
    return LogLine(**(values | fields))


async def write(store: Store, *lines: LogLine, run: str = "r1") -> None:
    store.logs.write(run, lines)
    await store.logs.flush()


async def all_lines(store: Store, **options: Any) -> list[tuple[int, LogLine]]:
    """Every line of the run with its position, through the directory."""
    chunks = await store.logs.chunks("r1", **options)
    contents = await store.logs.lines("r1", [chunk.id for chunk in chunks])
    return [
        pair
        for chunk, lines in zip(chunks, contents, strict=True)
        for pair in enumerate(lines, chunk.until - chunk.lines + 1)
    ]


async def find_all(store: Store, needle: str, **options: Any) -> list[int]:
    """Every position that a search finds, portion by portion."""
    way = "before" if "before" in options else "after"
    found: list[int] = []
    while True:
        portion: LogMatches = await store.logs.find("r1", needle, **options)
        found += portion.positions
        if portion.done:
            return found
        options[way] = portion.reached


async def test_the_directory_tells_where_every_line_is(store: Store) -> None:
    for at in range(3):
        await write(store, line(f"one {at}"), line(f"two {at}", at=NOW + at), line(f"three {at}", path="b", attempt=2))
    chunks = await store.logs.chunks("r1")
    assert sum(chunk.lines for chunk in chunks) == 9
    assert [chunk.until for chunk in chunks] == sorted({chunk.until for chunk in chunks})
    by_hand, cursor = await store.logs.read("r1")
    assert [each for _, each in await all_lines(store)] == by_hand
    assert [at for at, _ in await all_lines(store)] == list(range(1, 10))
    last = chunks[-1]
    assert last.until == cursor
    contents = (await store.logs.lines("r1", [last.id]))[0]
    assert (last.path, last.attempt, last.at) == (contents[-1].path, contents[-1].attempt, contents[-1].at)
    assert (last.first, last.last) == (contents[0].line, contents[-1].line)


async def test_the_directory_goes_on_where_it_ended(store: Store) -> None:
    await write(store, line("one"), line("two", path="b"))
    before = await store.logs.chunks("r1")
    assert await store.logs.chunks("r1", after=before[-1].until) == []
    await write(store, line("three"))
    (added,) = await store.logs.chunks("r1", after=before[-1].until)
    assert (added.first, added.last, added.until) == (2, 2, 3)
    assert await store.logs.chunks("r1", limit=1) == before[:1]
    assert await store.logs.chunks("unknown") == []


async def test_the_log_of_a_step_with_what_is_inside_it(store: Store) -> None:
    inside = ["audit", "audit[0].deps", "audit#2[3].deps", "audit.x"]
    for path in [*inside, "audit2", "auditor[0].deps", "b.audit"]:
        await write(store, line(path, path=path))
    assert [each.text for _, each in await all_lines(store, path="audit", within=True)] == inside
    assert [each.text for _, each in await all_lines(store, path="audit")] == ["audit"]
    assert [each.text for _, each in await all_lines(store, path="audit[0]", within=True)] == ["audit[0].deps"]
    assert len(await find_all(store, "audit", path="audit", within=True)) == 4
    assert len(await find_all(store, "audit", path="audit")) == 1


async def test_chunks_come_in_the_order_they_were_asked_for_and_pruned_ones_are_empty(store: Store) -> None:
    await put(store, start("r1"), finish("r1", 2))
    for at in range(4):
        await write(store, line(f"text {at}", at=NOW + at * 100))
    ids = [chunk.id for chunk in await store.logs.chunks("r1")]
    texts = [[each.text for each in lines] for lines in await store.logs.lines("r1", [ids[3], ids[0], ids[3]])]
    assert texts == [["text 3"], ["text 0"], ["text 3"]]
    await store.prune(before=NOW - 1, logs_before=NOW + 150)
    assert [len(lines) for lines in await store.logs.lines("r1", ids)] == [0, 0, 1, 1]
    assert [len(levels) for levels in await store.logs.levels("r1", ids)] == [0, 0, 1, 1]
    assert [chunk.id for chunk in await store.logs.chunks("r1")] == ids[2:]
    assert await store.logs.lines("another run", ids[3:]) == [[]]


async def test_levels_without_the_lines(store: Store) -> None:
    await write(store, *(line('a "b", "error"\nc', level=level, data=["error"]) for level in LEVELS))
    ids = [chunk.id for chunk in await store.logs.chunks("r1")]
    assert b"".join(await store.logs.levels("r1", ids)) == bytes(range(len(LEVELS)))


async def test_lines_over_the_cap_are_a_chunk_that_counts_them(store: Store) -> None:
    await write(store, *(line("x" * 1000) for _ in range(30)))
    marker = (await store.logs.chunks("r1"))[-1]
    assert marker.dropped > 0
    assert all(not chunk.dropped for chunk in (await store.logs.chunks("r1"))[:-1])
    await write(store, line("y"))
    assert await store.logs.chunks("r1", after=marker.until) == []
    assert (await store.logs.chunks("r1"))[-1].dropped == marker.dropped + 1
    ((said,),) = await store.logs.lines("r1", [marker.id])
    assert said.text == f"… {marker.dropped + 1} lines dropped"


async def test_finding_goes_both_ways_and_in_portions(store: Store) -> None:
    for _ in range(10):
        await write(store, *(line(f"request {n} {'FAILED' if n % 4 == 0 else 'ok'}") for n in range(20)))
    expected = [at for at, each in await all_lines(store) if "FAILED" in each.text]
    assert len(expected) == 50
    for limit in (1, 7, 1000):
        assert await find_all(store, "failed", limit=limit) == expected
        assert await find_all(store, "failed", before=201, limit=limit) == expected[::-1]
    assert await find_all(store, "failed", after=expected[6], limit=5) == expected[7:]
    assert await find_all(store, "failed", before=expected[6], limit=5) == expected[:6][::-1]
    assert await find_all(store, "info") == []
    assert (await store.logs.find("unknown", "x")) == LogMatches((), 0, done=True)


async def test_data_is_searched_as_json(store: Store) -> None:
    await write(store, line("x", data={"code": 429, "says": 'a "b"'}), line("y", data=[1]), line("z"))
    assert await find_all(store, '"code":429') == [1]
    assert await find_all(store, "code.*429", regex=True) == [1]
    assert await find_all(store, 'a \\"b') == [1]


async def test_a_regular_expression_that_is_no_good_is_refused(store: Store) -> None:
    await write(store, line("x"))
    for pattern in ("(a+)+", "(", ""):
        with pytest.raises(InvalidInput):
            await store.logs.find("r1", pattern, regex=True)


TEXTS = st.text(st.sampled_from('aAkKsSßσΣςİ"\\/\n\t\x1bé日1,[]'), max_size=8)


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=12),
    needle=TEXTS.filter(bool),
    pattern=st.sampled_from(["a.", "k|ß", "^s", ".*1", "[σé]"]),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
async def test_what_is_found_is_what_matches(store: Store, texts: list[str], needle: str, pattern: str) -> None:
    run = uuid4().hex
    store.logs.write(run, [line(text) for text in texts])
    await store.logs.flush()
    plain = await store.logs.find(run, needle)
    assert list(plain.positions) == [at for at, text in enumerate(texts, 1) if needle.casefold() in text.casefold()]
    regular = await store.logs.find(run, pattern, regex=True)
    assert list(regular.positions) == [at for at, text in enumerate(texts, 1) if re.search(pattern, text, re.I)]
