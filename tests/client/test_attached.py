"""A console beside an engine, or beside none: what it reads, and what it says when nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from client_kit import ME, attached, embedded, place_at, start_of, until

from fleetprompt.client import attached as module
from fleetprompt.client.attached import ENDED, SILENT, AttachedConsole
from fleetprompt.client.changing import ELSEWHERE
from fleetprompt.client.opening import Place
from fleetprompt.client.protocol import QUEUED, Progress, why_queued
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.facts import RunFinished
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page, Stored
from fleetprompt.engine.runtime.agency import AgencySettings
from fleetprompt.engine.runtime.lock import EngineLock

WAITS = """
name: waits
steps:
  - {id: w, type: wait, signal: go}
  - {id: talk, type: shell, argv: [sh, -c, "for i in $(seq 1500); do echo line $i; done"]}
"""
LINES = [f"line {i + 1}" for i in range(1_500)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "waits.yaml").write_text(WAITS)
    return place_at(tmp_path)


@pytest.fixture
async def beside(place: Place) -> AsyncIterator[AttachedConsole]:
    console = await attached(place)
    yield console
    await console.close()


class Counting:
    """A part of a store that remembers what it was asked, and how many things it answered with."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self.asked: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(*args: Any, **options: Any) -> Any:
            found = await getattr(self._part, name)(*args, **options)
            self.asked.append((name, len(found) if isinstance(found, list) else 1))
            return found

        return ask


async def recorded(console: AttachedConsole, asking: asyncio.Task[Any] | None = None) -> None:
    """Until the console's signal is in the store, or is answered already."""
    for _ in range(100_000):
        if await console.store.signals.unrouted() or (asking is not None and asking.done()):
            return
    raise AssertionError("the command is not recorded")


def file(place: Place) -> Path:
    return place.root / "waits.yaml"


# ---------------------------------------------------------------- commands


WRITES = """
name: writes
steps:
  - {id: note, type: tool, tool: fs.write, with: {path: b.txt, content: "new\\n"}}
"""


@pytest.mark.parametrize("where", ["engine", "here", "nowhere"])
async def test_what_a_changed_call_would_do_is_looked_at_where_its_files_are(tmp_path: Path, where: str) -> None:
    (tmp_path / "writes.yaml").write_text(WRITES)
    (tmp_path / "c.txt").write_text("old\n")
    asking = AgencySettings(policy={"ask": ["fs.write"]})
    place = place_at(tmp_path, agency=asking)
    engine = await embedded(place)
    run = await engine.start(start_of(tmp_path / "writes.yaml"))
    await until(lambda: engine.engine.live.get(run) is None)
    [asked], _ = await engine.approvals("status:pending", Page(limit=9))
    expected = await engine.edited(asked.id, {"path": "c.txt"})
    assert expected is not None
    assert "-old\n+new" in expected.show["does"]
    if where != "engine":
        await engine.close()
    beside = await attached(place)
    try:
        if where == "nowhere":
            beside.equipment = None
            found = await beside.edited(asked.id, {"path": "c.txt"})
            assert found is not None
            assert (found.unseen, found.show, found.previewed) == (ELSEWHERE, {}, "")
            assert (found.arguments, found.edited) == (expected.arguments, expected.edited)
        else:
            assert await beside.edited(asked.id, {"path": "c.txt"}) == expected
            with pytest.raises(Refused, match="cannot be changed so"):
                await beside.edited(asked.id, {"path": "../c.txt"})
        assert await beside.edited(asked.id, {"path": "b.txt"}) is None
    finally:
        await beside.close()
        if where == "engine":
            await engine.close()


async def test_without_an_engine_a_command_is_queued_at_once(beside: AttachedConsole) -> None:
    result = await beside.command(types.CANCEL, "run", by=ME)
    assert (result.status, result.reason, why_queued(result)) == ("accepted", "queued", QUEUED)


async def test_an_engine_that_ends_before_it_answers_is_noticed_and_said(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1e9)
    assert place.lock is not None
    lock = EngineLock(place.lock)
    lock.acquire("fleet run")
    beside.store.signals = signals = Counting(beside.store.signals)  # type: ignore[misc,assignment]
    asking = asyncio.get_running_loop().create_task(beside.command(types.CANCEL, "run", by=ME))
    while ("results", 1) not in signals.asked:  # noqa: ASYNC110  (from then on it waits for an answer)
        await asyncio.sleep(0)
    lock.release()
    assert why_queued(await asking) == ENDED


async def test_an_engine_that_does_not_answer_is_not_said_to_be_gone(
    place: Place, beside: AttachedConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    assert place.lock is not None
    lock = EngineLock(place.lock)
    lock.acquire("fleet run")
    assert why_queued(await beside.command(types.CANCEL, "run", by=ME)) == SILENT
    lock.release()


async def test_what_an_engine_did_last_is_its_answer(place: Place, beside: AttachedConsole) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(file(place)))
    asking = asyncio.get_running_loop().create_task(beside.command(types.CANCEL, run, by=ME))
    await recorded(beside, asking)
    await engine.engine.bus.drain()
    await engine.close()
    result = await asking
    assert (result.status, result.reason) == ("accepted", "")


# ---------------------------------------------------------------- watching


async def seen(console: AttachedConsole, run: str, most: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(120), aclosing(console.watch(run)) as entries:  # type: ignore[type-var]
        async for entry in entries:
            found.append(entry)
            if len(found) == most or isinstance(getattr(entry, "fact", None), RunFinished):
                break
    return found


async def finished(place: Place, runs: int) -> list[str]:
    engine = await embedded(place)
    ids = [await engine.start(start_of(file(place))) for _ in range(runs)]
    await engine.publish(Signal(id="go", type="go", source="test", at=0.0))
    for run in ids:
        await engine.engine.wait(run)
    await engine.close()
    return ids


async def test_everything_is_told_of_a_long_past_although_nothing_new_happens(
    place: Place, beside: AttachedConsole
) -> None:
    engine = await embedded(place)
    same = start_of(file(place))
    await asyncio.gather(*(engine.start(same) for _ in range(800)))
    total = await engine.store.journal.position()
    await engine.close()
    assert total > 2_000, "more than two reads bring"
    entries = await seen(beside, "", total)
    assert [entry.seq for entry in entries] == list(range(1, total + 1))


@pytest.mark.parametrize("one", [True, False])
async def test_nothing_is_read_twice_however_often_something_is_written(
    place: Place, beside: AttachedConsole, one: bool
) -> None:
    (run,) = await finished(place, 1)
    beside.store.journal = journal = Counting(beside.store.journal)  # type: ignore[misc,assignment]
    total = await beside.store.journal.position()
    async with asyncio.timeout(120), aclosing(beside.watch(run if one else "")) as entries:  # type: ignore[type-var]
        for _ in range(total):
            assert isinstance(await anext(entries), Stored)
        more = asyncio.get_running_loop().create_task(anext(entries, None))
        lines: list[str] = []
        for n in range(3):
            before = len(journal.asked)
            engine = await embedded(place)
            await engine.publish(Signal(id=f"s{n}", type="nothing", source="test", at=0.0))
            await engine.close()
            while len(journal.asked) == before:
                if more.done() and isinstance(more.result(), Progress):
                    lines.append(more.result().line.text)
                    more = asyncio.get_running_loop().create_task(anext(entries, None))
                await asyncio.sleep(0.001)
        more.cancel()
        await asyncio.gather(more, return_exceptions=True)
    assert sum(found for name, found in journal.asked if name in ("facts", "since")) == total
    assert [line for line in lines if line.startswith("line ")] == (LINES if one else [])
