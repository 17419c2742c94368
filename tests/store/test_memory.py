"""The store in memory as a tool for simulations: crash, look, reopen."""

from __future__ import annotations

import asyncio

import pytest
from store_kit import NOW, entry, fact, put, signal, start, take

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import Append, LogLine
from fleetprompt.engine.store.memory import Crash, MemoryStore


async def test_an_append_is_applied_at_once_and_resolves_on_the_next_turn() -> None:
    store = MemoryStore()
    await store.open()
    future = store.journal.append(start("r1"))
    assert not future.done()
    assert await store.journal.position() == 2
    await asyncio.sleep(0)
    assert future.done()


async def test_a_dump_is_what_a_crash_leaves() -> None:
    store = MemoryStore()
    await store.open()
    await put(store, start("r1", takes=(take("pool", 3),), blobs=(("d", b"1"),)))
    published = await store.signals.publish(signal())
    store.logs.write("r1", [LogLine(at=NOW, level="info", text="one")])
    dump = store.dump()
    await put(store, entry("r1", 2, fact(3), releases=("*",), routed=(published.signal.id,)))
    store.logs.write("r1", [LogLine(at=NOW, level="info", text="two")])
    for _ in range(2):
        store.restore(dump)
        assert len(await store.journal.facts("r1")) == 2
        assert len(await store.claims.holders("pool")) == 1
        assert len(await store.signals.unrouted()) == 1
        assert len((await store.logs.read("r1"))[0]) == 1
        assert await put(store, entry("r1", 2, fact(3), releases=("*",))) == [3]
    other = MemoryStore()
    other.restore(dump)
    await other.open()
    assert await other.blobs.get("d") == b"1"


async def test_a_hook_can_fail_an_append_before_or_after_it_is_durable() -> None:
    seen: list[tuple[str, bool]] = []
    when: bool | None = None

    def hook(given: Append, durable: bool) -> None:
        seen.append((given.run, durable))
        if durable is when:
            raise StoreUnavailable("the disk is gone")

    store = MemoryStore(on_append=hook)
    await store.open()
    await put(store, start("r1"))
    when = False
    with pytest.raises(StoreUnavailable):
        await store.journal.append(start("r2"))
    assert await store.runs.get("r2") is None
    when = True
    with pytest.raises(StoreUnavailable):
        await store.journal.append(start("r3"))
    assert await store.runs.get("r3") is not None
    assert seen == [("r1", False), ("r1", True), ("r2", False), ("r3", False), ("r3", True)]


@pytest.mark.parametrize("durable", [False, True])
async def test_a_crash_leaves_the_future_open(durable: bool) -> None:
    def hook(_: Append, after: bool) -> None:
        if after is durable:
            raise Crash

    store = MemoryStore(on_append=hook)
    await store.open()
    future = store.journal.append(start("r1"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not future.done()
    reopened = MemoryStore()
    reopened.restore(store.dump())
    assert (await reopened.runs.get("r1") is not None) == durable


def test_it_says_what_it_is() -> None:
    assert "memory" in MemoryStore.label
