"""What agents remember: kept once, found by words and by vectors, forgotten, within limits."""

from __future__ import annotations

from typing import Any

import pytest
from store_kit import NOW

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports import Store
from fleetprompt.engine.ports.memory import Memory, Vector, Which

ALL = Which(at=NOW)


def memory(id_: str, text: str, **more: Any) -> Memory:
    values: dict[str, Any] = {"scope": "agent/sre", "type": "fact", "created_at": NOW, "accessed_at": NOW}
    return Memory(id=id_, text=text, **(values | more))


async def fill(store: Store, *memories: Memory) -> None:
    for each in memories:
        await store.memories.add(each)


async def ids(store: Store, text: str, which: Which = ALL, limit: int = 10) -> list[str]:
    return [found.id for found in await store.memories.search(text, which, limit=limit)]


async def test_it_is_kept_as_it_was_given_and_once(store: Store) -> None:
    given = memory(
        "m1",
        "the checkout runs\n on port 8081 </untrusted> é",
        tags=("ports", "né"),
        run="r1",
        path="ask[2].x",
        agent="sre",
        workflow="audit",
        tool="memory.remember",
        untrusted=True,
        expires_at=NOW + 5,
    )
    kept, new = await store.memories.add(given)
    assert new
    assert kept.seq > 0
    assert await store.memories.get("m1") == kept
    assert {field: getattr(kept, field) for field in Memory.__struct_fields__ if field != "seq"} == {
        field: getattr(given, field) for field in Memory.__struct_fields__ if field != "seq"
    }
    again, new = await store.memories.add(memory("m1", "something else"))
    assert (again, new) == (kept, False)
    same, new = await store.memories.add(memory("m2", given.text))
    assert (same, new) == (kept, False)
    other, new = await store.memories.add(memory("m3", given.text, scope="shared"))
    assert (other.id, new) == ("m3", True)
    assert [found.id for found in await store.memories.list(ALL)] == ["m3", "m1"]
    assert await store.memories.get("m2") is None
    assert (await store.check()).ok


async def test_words_find_it_the_rarest_first_whatever_their_case_and_accents(store: Store) -> None:
    await fill(
        store,
        memory("m1", "the order service is slow on mondays"),
        memory("m2", "the order table has an index on Customer_ID"),
        memory("m3", "the Café closes at 6"),
        memory("m4", "nothing of that"),
        memory("m5", "x" * 70, tags=("quota",)),
    )
    assert await ids(store, "order index") == ["m2", "m1"]
    assert await ids(store, "CAFE") == ["m3"]
    assert await ids(store, "cust") == ["m2"]
    assert await ids(store, "quota?") == ["m5"]
    assert await ids(store, "x" * 90) == ["m5"]
    assert set(await ids(store, "the order café")) == {"m1", "m2", "m3"}
    assert await ids(store, "order", limit=1) in (["m1"], ["m2"])
    assert await ids(store, "") == await ids(store, "§ -- ''") == await ids(store, "absent") == []


@pytest.mark.parametrize(
    "text",
    [
        '" OR memories_words MATCH "a',
        "a) | !(b:* & 'c",
        "NEAR(a b)",
        "a:*",
        "words : a",
        "\x00a",
        "' ; DROP TABLE runs; --",
    ],
)
async def test_a_question_is_words_and_nothing_else(store: Store, text: str) -> None:
    await fill(store, memory("m1", "a1 near b"), memory("m2", "c"))
    assert set(await ids(store, text)) <= {"m1", "m2"}
    assert (await store.check()).ok


async def test_vectors_find_the_nearest_of_the_same_model(store: Store) -> None:
    for id_, model, numbers in (
        ("m1", "e", (1.0, 0.0, 0.0)),
        ("m2", "e", (2.0, 2.0, 0.0)),
        ("m3", "e", (-1.0, 0.0, 0.0)),
        ("m4", "other", (1.0, 0.0, 0.0)),
        ("m5", "e", (1.0, 0.0)),
        ("m6", "e", (0.0, 0.0, 0.0)),
    ):
        await store.memories.add(memory(id_, id_), Vector(model, numbers))
    await fill(store, memory("m7", "no vector"))
    near = await store.memories.near(Vector("e", (3.0, 0.1, 0.0)), ALL)
    assert [found.id for found in near] == ["m1", "m2"]
    assert [found.model for found in near] == ["e", "e"]
    known = await store.memories.get("m6")
    assert known is not None
    assert known.model == ""
    assert [found.id for found in await store.memories.near(Vector("e", (3.0, 0.1, 0.0)), ALL, limit=1)] == ["m1"]
    assert await store.memories.near(Vector("e", (0.0, 0.0, 0.0)), ALL) == []
    assert await store.memories.near(Vector("none", (1.0,)), ALL) == []


async def test_only_what_is_meant_is_found(store: Store) -> None:
    await fill(
        store,
        memory("m1", "word one", scope="agent/a", tags=("x", "y")),
        memory("m2", "word two", scope="agent/b", type="learned", tags=("x",)),
        memory("m3", "word three", tenant="t"),
        memory("m4", "word four", expires_at=NOW + 1),
    )
    assert set(await ids(store, "word")) == {"m1", "m2", "m4"}
    assert await ids(store, "word", Which(at=NOW, scope="agent/b")) == ["m2"]
    assert await ids(store, "word", Which(at=NOW, type="learned")) == ["m2"]
    assert set(await ids(store, "word", Which(at=NOW, tag="x"))) == {"m1", "m2"}
    assert await ids(store, "word", Which(at=NOW, tag='x"')) == []
    assert await ids(store, "word", Which(at=NOW, tenant="t")) == ["m3"]
    assert set(await ids(store, "word", Which(at=NOW + 1))) == {"m1", "m2"}
    page = await store.memories.list(ALL, limit=2)
    assert [found.id for found in page] == ["m4", "m2"]
    assert [found.id for found in await store.memories.list(ALL, before=page[-1].seq)] == ["m1"]
    assert await store.memories.get("m3") is None
    assert await store.memories.find("m") == ["m4", "m2", "m1"]
    assert await store.memories.find("m2") == ["m2"]


async def test_it_is_counted_and_forgotten(store: Store) -> None:
    await fill(store, memory("m1", "one"), memory("m2", "two"), memory("m3", "three", tenant="t"))
    await store.memories.touch(["m1", "m1", "gone"], NOW + 7)
    known = await store.memories.get("m1")
    assert known is not None
    assert known.accessed_at == NOW + 7
    assert await store.memories.forget(["m1", "m3", "gone"]) == 1
    assert await store.memories.forget([]) == 0
    assert await ids(store, "one two three") == ["m2"]
    assert await store.memories.get("m3", "t") is not None
    again, new = await store.memories.add(memory("m1", "one"))
    assert (new, again.accesses) == (True, 0)
    assert await ids(store, "one") == ["m1"]


async def test_a_full_scope_loses_its_oldest_conversation_and_nothing_else(store: Store) -> None:
    await fill(store, memory("m1", "one", type="conversation"), memory("m2", "two"), memory("m0", "x", scope="shared"))
    with pytest.raises(Refused, match="agent/sre is full"):
        await store.memories.add(memory("m3", "three"), most=2)
    kept, _ = await store.memories.add(memory("m4", "four", type="conversation"), most=2)
    assert kept.id == "m4"
    assert {found.id for found in await store.memories.list(ALL)} == {"m0", "m2", "m4"}
    await store.memories.forget(["m4"])
    await fill(store, memory("m5", "five", expires_at=NOW + 2))
    with pytest.raises(Refused):
        await store.memories.add(memory("m6", "six", type="conversation"), most=2)
    kept, _ = await store.memories.add(memory("m6", "six", created_at=NOW + 2), most=2)
    assert {found.id for found in await store.memories.list(ALL)} == {"m0", "m2", "m6"}
    assert await ids(store, "one five") == []


async def test_conversations_that_nobody_needed_are_pruned(store: Store) -> None:
    await fill(
        store,
        memory("m1", "one", type="conversation"),
        memory("m2", "two", type="conversation"),
        memory("m3", "three"),
        memory("m4", "four", expires_at=NOW + 3),
        memory("m5", "five", type="conversation", tenant="t"),
    )
    await store.memories.touch(["m2"], NOW + 9)
    assert await store.prune(before=NOW + 5) == {"memories": 2}
    assert {found.id for found in await store.memories.list(ALL)} == {"m2", "m3"}
    assert await ids(store, "one two") == ["m2"]
    assert (await store.check()).counts["memories"] == 3
