"""The engine's socket: nudges, the live feed, and what becomes of visitors who talk nonsense. Real sockets."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from world import load

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.facts import RunPaused
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import LogLine
from fleetprompt.engine.runtime import wire as wires
from fleetprompt.engine.runtime.changes import MOST_RUNS
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.wire import Wire, nudge
from fleetprompt.engine.store.memory import MemoryStore

LINE = """
name: line
steps:
  - {id: a, type: transform, output: 1}
  - {id: w, type: wait, signal: go}
"""


class Listening:
    """An engine with a socket."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.engine = engine
        self.path = path

    async def ask(self, *lines: bytes) -> list[Any]:
        """Every line that comes back until the engine hangs up, or stops talking for a moment."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        for line in lines:
            writer.write(line)
        writer.write_eof()
        found = [msgspec.json.decode(line) async for line in reader]
        writer.close()
        return found

    async def start(self, run: str) -> None:
        data = {"workflow": "line"}
        await self.engine.bus.submit(Signal(id=run, type=types.START, source="t", at=0.0, data=data))


async def soon(condition: Callable[[], Any]) -> None:
    for _ in range(24_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture
async def listening(tmp_path: Path) -> AsyncIterator[Listening]:
    engine = Engine(MemoryStore())
    await engine.open()
    loaded = load(LINE)
    await engine.workflows.register(loaded.plan, source=loaded.source)
    wire = Wire(engine, tmp_path / "e.sock")
    await wire.open()
    yield Listening(engine, tmp_path / "e.sock")
    await wire.close()
    await engine.close()
    assert not (tmp_path / "e.sock").exists()


async def test_a_nudge_makes_the_engine_look_at_once(listening: Listening) -> None:
    data = {"workflow": "line"}
    await listening.engine.store.signals.publish(Signal(id="run", type=types.START, source="t", at=0.0, data=data))
    assert await nudge(listening.path) is True
    assert await listening.engine.store.runs.get("run") is not None


async def test_nobody_listens_where_there_is_no_engine(tmp_path: Path) -> None:
    assert await nudge(tmp_path / "nobody.sock") is False
    (tmp_path / "file.sock").write_text("not a socket")
    assert await nudge(tmp_path / "file.sock") is False
    assert await nudge(tmp_path / ("x" * 200)) is False


async def test_an_engine_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read():
            pass
        writer.close()

    async with await asyncio.start_unix_server(hang, tmp_path / "e.sock"):
        assert await nudge(tmp_path / "e.sock", 0.05) is False


async def test_only_the_owner_of_the_files_can_connect(listening: Listening) -> None:
    assert listening.path.stat().st_mode & 0o777 == 0o600


async def test_nobody_else_can_connect_before_the_mode_of_the_socket_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    before = os.umask(0)
    wire = Wire(Engine(MemoryStore()), tmp_path / "e.sock")
    try:
        await wire.open()
        assert (tmp_path / "e.sock").stat().st_mode & 0o777 == 0o600
        assert os.umask(0) == 0, "as it was"
    finally:
        os.umask(before)
        await wire.close()


async def test_a_mistake_of_ours_is_told_to_whoever_runs_the_engine(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(tenant: str) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(listening.engine.vitals, "health", broken)
    assert await listening.ask(b'{"op":"health"}\n') == []
    assert [what for _, where, what in listening.engine.troubles if where == "socket"] == [
        "ValueError: a mistake of ours"
    ]


async def test_who_watches_gets_the_past_and_then_the_present(listening: Listening) -> None:
    await listening.start("one")
    reader, writer = await asyncio.open_unix_connection(listening.path)
    writer.write(b'{"op":"watch","after":0}\n')
    past = [msgspec.json.decode(await reader.readline())["fact"] for _ in range(6)]
    assert [fact["n"] for fact in past] == [1, 2, 3, 4, 5, 6]
    await listening.start("two")
    present = msgspec.json.decode(await reader.readline())["fact"]
    assert (present["run"], present["n"], present["fact"]["type"]) == ("two", 1, "RunCreated")
    listening.engine.feed.progress("two", LogLine(at=1.0, level="info", text="hello"))
    while "log" not in (line := msgspec.json.decode(await reader.readline())):
        pass
    assert (line["run"], line["log"]["text"]) == ("two", "hello")
    writer.close()
    await soon(lambda: listening.engine.feed.readers == 0)


async def test_a_watcher_of_one_run_hears_of_no_other_and_nothing_before_its_position(listening: Listening) -> None:
    for run in ("one", "two"):
        await listening.start(run)
    reader, writer = await asyncio.open_unix_connection(listening.path)
    writer.write(b'{"op":"watch","after":7,"run":"two"}\n')
    found = msgspec.json.decode(await reader.readline())["fact"]
    assert (found["run"], found["seq"]) == ("two", 8)
    writer.close()


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b'"text"\n',
        b"null\n",
        b"{}\n",
        b'{"op":["nudge"]}\n',
        b'{"op":"dance"}\n',
        b'{"op":"watch","after":"soon"}\n',
        b'{"op":"watch","after":[1]}\n',
        b'{"op":"watch","after":1e99}\n',
        b"x" * 200_000 + b"\n",
        b"{" * 60_000 + b"\n",
        b"",
    ],
)
async def test_nonsense_is_answered_or_hung_up_on_and_disturbs_nobody(listening: Listening, line: bytes) -> None:
    strays: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: strays.append(context))
    try:
        async with asyncio.timeout(120):
            answers = await listening.ask(line)
    except (ConnectionError, BrokenPipeError):
        answers = []
    assert all("error" in answer for answer in answers)
    assert await nudge(listening.path) is True
    await asyncio.sleep(0)
    assert strays == []


async def test_what_goes_wrong_behind_a_nudge_is_no_reason_to_hang(listening: Listening) -> None:
    class Away:
        async def unrouted(self) -> list[Signal]:
            raise StoreUnavailable("database is locked")

    store: Any = listening.engine.store
    known, store.signals = store.signals, Away()
    async with asyncio.timeout(120):
        await nudge(listening.path)
    store.signals = known
    assert any("locked" in what for _, _, what in listening.engine.troubles)
    assert await nudge(listening.path) is True


async def test_a_path_too_long_for_a_socket_leaves_others_to_polling(tmp_path: Path) -> None:
    engine = Engine(MemoryStore())
    await engine.open()
    wire = Wire(engine, tmp_path / ("x" * 120))
    await wire.open()
    assert any("too long" in what for _, _, what in engine.troubles)
    await wire.close()
    await engine.close()


async def test_a_place_where_there_can_be_no_socket_leaves_others_to_polling(tmp_path: Path) -> None:
    (tmp_path / "e.sock").mkdir()
    engine = Engine(MemoryStore())
    await engine.open()
    for path in (tmp_path / "e.sock", tmp_path / "missing" / "e.sock"):
        wire = Wire(engine, path)
        await wire.open()
        assert "poll" in engine.troubles[-1][1]
        await wire.close()
    await engine.close()


async def test_a_socket_that_a_dead_engine_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    path.write_text("stale")
    engine = Engine(MemoryStore())
    await engine.open()
    wire = Wire(engine, path)
    await wire.open()
    assert await nudge(path) is True
    await wire.close()
    await engine.close()


async def test_closing_does_not_wait_for_those_who_watch(tmp_path: Path) -> None:
    engine = Engine(MemoryStore())
    await engine.open()
    wire = Wire(engine, tmp_path / "e.sock")
    await wire.open()
    connections = [await asyncio.open_unix_connection(tmp_path / "e.sock") for _ in range(3)]
    connections[0][1].write(b'{"op":"watch"}\n')
    connections[1][1].write(b'{"op":"nu')
    await asyncio.sleep(0.05)
    async with asyncio.timeout(120):
        await wire.close()
        await engine.close()
        for reader, writer in connections:
            await reader.read()
            writer.close()


async def test_a_watcher_that_hangs_up_is_forgotten_although_nothing_happens(listening: Listening) -> None:
    for _ in range(5):
        _, writer = await asyncio.open_unix_connection(listening.path)
        writer.write(b'{"op":"watch","run":"over-long-ago"}\n')
        await soon(lambda: listening.engine.feed.readers == 1)
        writer.close()
        await soon(lambda: listening.engine.feed.readers == 0)


async def test_a_loop_that_was_blocked_is_told_for_a_while(listening: Listening) -> None:
    time.sleep(wires.POLL_SECONDS + 0.2)  # noqa: ASYNC251  (it must block)
    await soon(lambda: listening.engine.vitals.lag > 0.1)
    (answer,) = await listening.ask(b'{"op":"health"}\n')
    assert answer["lag"] == listening.engine.vitals.lag


async def test_who_listens_to_changes_is_told_them_and_forgotten_when_it_hangs_up(listening: Listening) -> None:
    reader, writer = await asyncio.open_unix_connection(listening.path)
    writer.write(b'{"op":"changes","seconds":0}\n')
    assert msgspec.json.decode(await reader.readline())["lost"] is True
    await listening.start("one")
    change = msgspec.json.decode(await reader.readline())
    assert change["runs"] == ["one"]
    assert "RunCreated" in change["kinds"]
    writer.close()
    await soon(lambda: listening.engine.feed.readers == 0)


async def test_who_does_not_read_its_changes_holds_up_nobody_and_is_told_more_at_once(listening: Listening) -> None:
    reader, writer = await asyncio.open_unix_connection(listening.path, limit=1024 * 1024)
    writer.write(b'{"op":"changes","seconds":0}\n')
    await soon(lambda: listening.engine.feed.readers == 1)
    rounds, runs = 60, MOST_RUNS // 2
    for round_ in range(rounds):
        for n in range(runs):
            listening.engine.feed.publish(f"{round_}-{n:0200}", round_ * runs + n + 1, 0, (RunPaused(),))
        await asyncio.sleep(2 * wires.SHORTEST)
    assert await nudge(listening.path) is True
    told = [msgspec.json.decode(await reader.readline())]
    while told[-1].get("seq") != rounds * runs:
        told.append(msgspec.json.decode(await reader.readline()))
    assert len(told) < rounds
    assert told[-1]["lost"] is True
    writer.close()
