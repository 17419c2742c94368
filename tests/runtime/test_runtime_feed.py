"""The feed: everything after a position, once, in order; a slow reader loses progress, never facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from world import World, tell

from fleetprompt.engine.ports import LogLine, Stored
from fleetprompt.engine.runtime import feed as feeds
from fleetprompt.engine.runtime.engine import Engine

LINE = """
name: line
steps:
  - {id: a, type: python, call: "world:act"}
  - {id: b, type: python, call: "world:act"}
"""


async def collect(source: AsyncIterator[Any], into: list[Any], pause: float = 0.0) -> None:
    async for entry in source:
        into.append(entry)
        if pause:
            await asyncio.sleep(pause)


def seqs(entries: list[Any]) -> list[int]:
    return [entry.seq for entry in entries if isinstance(entry, Stored)]


@pytest.mark.parametrize("after", [0, 3, 7])
def test_a_reader_sees_what_was_and_then_what_comes_without_gap_or_repetition(after: int) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line", "run-0")
        await world.over("run-0")
        found: list[Any] = []
        world.read_time = lambda what: 0.3 if what.startswith("journal") else 0.0
        reader = asyncio.get_running_loop().create_task(
            collect(engine.feed.watch(engine.store.journal, after=after), found)
        )
        for n in range(1, 6):
            await world.start("line", f"run-{n}")
            await asyncio.sleep(0.1)
        await world.over(*[f"run-{n}" for n in range(1, 6)])
        await asyncio.sleep(5)
        assert seqs(found) == list(range(after + 1, world.disk.seq + 1))
        assert [(entry.run, entry.n) for entry in found] == [
            (row.run, row.n) for seq, row in world.disk.journal.items() if seq > after
        ]
        reader.cancel()
        await asyncio.wait([reader])
        assert engine.feed.readers == 0

    tell(story, LINE)


def test_a_reader_of_one_run_sees_that_run_alone() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("line", "run-0")
        await world.start("line", "run-1")
        found: list[Any] = []
        reader = asyncio.get_running_loop().create_task(
            collect(engine.feed.watch(engine.store.journal, run="run-1"), found)
        )
        await world.over("run-0", "run-1")
        await asyncio.sleep(1)
        assert [(entry.run, entry.n) for entry in found] == [("run-1", n + 1) for n in range(len(found))]
        assert len(found) == world.disk.runs["run-1"].n
        reader.cancel()

    tell(story, LINE)


@pytest.mark.parametrize("run", ["", "run-0"])
@pytest.mark.parametrize("pause", [0.2, 5.0])
def test_a_slow_reader_misses_no_fact_however_far_behind_it_is(
    run: str, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More comes while it looks at one entry than is kept for it: it goes back to the journal for the rest."""
    monkeypatch.setattr(feeds, "DEPTH", 8)

    async def story(world: World, engine: Engine) -> None:
        found: list[Any] = []
        reader = asyncio.get_running_loop().create_task(
            collect(engine.feed.watch(engine.store.journal, run=run), found, pause)
        )
        for n in range(5):
            await world.start("line", f"run-{n}")
            await asyncio.sleep(0.7)
            for i in range(30 if n == 3 else 3):
                engine.feed.progress(f"run-{n}", LogLine(at=0.0, level="info", text=str(i)))
        await world.over(*[f"run-{n}" for n in range(5)])
        await asyncio.sleep(1_000)
        wanted = [seq for seq, row in world.disk.journal.items() if run in ("", row.run)]
        assert seqs(found) == wanted
        reader.cancel()

    tell(story, LINE)


def test_log_lines_come_between_the_facts_they_were_written_between() -> None:
    async def story(world: World, engine: Engine) -> None:
        found: list[Any] = []
        reader = asyncio.get_running_loop().create_task(collect(engine.feed.watch(engine.store.journal), found))
        await world.start("line")
        await asyncio.sleep(0.1)
        engine.feed.progress("run-0", LogLine(at=0.0, level="info", text="hello"))
        await world.over()
        await asyncio.sleep(1)
        at = next(i for i, entry in enumerate(found) if isinstance(entry, tuple))
        assert 0 < at < len(found) - 1
        assert found[at][0] == "run-0"
        reader.cancel()

    tell(story, LINE)


def test_a_damaged_row_is_passed_over_and_the_feed_goes_on() -> None:
    async def story(world: World, engine: Engine) -> None:
        import msgspec

        await world.start("line")
        await world.over()
        row = world.disk.journal[3]
        world.disk.journal[3] = msgspec.structs.replace(row, data=b"{")
        found: list[Any] = []
        reader = asyncio.get_running_loop().create_task(collect(engine.feed.watch(engine.store.journal), found))
        await asyncio.sleep(1)
        assert seqs(found) == [seq for seq in world.disk.journal if seq != 3]
        reader.cancel()

    tell(story, LINE)
