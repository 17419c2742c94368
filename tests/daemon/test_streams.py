"""Server-sent events: everything once and in order, from wherever a listener was cut off."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from daemon_kit import Event, served

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.daemon import broadcast
from fleetprompt.daemon.connection import Connection
from fleetprompt.daemon.events import frames
from fleetprompt.daemon.streams import FleetStream
from fleetprompt.engine.core.errors import Failure, StoreUnavailable
from fleetprompt.engine.core.facts import StepFailed, StepSucceeded, StepWaiting
from fleetprompt.engine.ports import RunHead, Stored


async def test_a_stream_tells_what_happened_and_what_happens_then_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.execute("hello", input={"name": "Ada"})
        asked = await daemon.pending(execution)
        names = []
        async with daemon.listening(f"/api/executions/{execution}/stream") as events:
            async for event in events:
                names.append(event.name)
                assert event.data["execution_id"] == execution
                if event.data.get("waiting_on") == "approval":
                    await daemon.http.post(f"/api/approvals/{asked['id']}", json={"decision": "approved"})
        assert names[0] == "connected"
        assert names[-1] == "complete", "and the server closed"
        whole = await daemon.events(f"/api/executions/{execution}/stream")
        assert [event.name for event in whole] == names, "late listeners are told the same"
        last = whole[-1].data
        assert (last["status"], last["result"]) == ("completed", "Goodbye, Ada.")
        started = [event.data["step"] for event in whole if event.name == "step_start"]
        ended = [(e.data["step"], e.data["status"], e.data["result"]) for e in whole if e.name == "step_complete"]
        assert started == [step for step, _, _ in ended] == ["greet", "gate", "bye"]
        assert ended[0] == ("greet", "completed", "Hello, Ada!")


TALK = """\
name: talk
agents: {sre: {tools: [fs.list]}}
steps:
  - {id: gate, type: approval, message: "Begin?"}
  - {id: say, type: agent, agent: sre, prompt: "Look."}
"""
WORDS = """\
rules:
  - agent: sre
    turn: 0
    think: "Hm, well."
    say: "I look. "
    call: [{tool: fs.list, with: {path: workflows}}, {tool: no.such}]
  - {agent: sre, turn: 1, say: There are files.}
"""


async def test_what_models_say_comes_as_they_say_it_after_what_has_happened(tmp_path: Path) -> None:
    (tmp_path / "workflows/simulations").mkdir(parents=True)
    (tmp_path / "workflows/simulations/talk.yaml").write_text(WORDS)
    async with served(tmp_path, talk=TALK) as daemon:
        execution = await daemon.execute("talk")
        asked = await daemon.pending(execution)
        heard: list[Event] = []
        async with daemon.listening(f"/api/executions/{execution}/stream") as events:
            async for event in events:
                heard.append(event)
                if event.data.get("waiting_on") == "approval":
                    await daemon.http.post(f"/api/approvals/{asked['id']}", json={"decision": "approved"})
        said = [event for event in heard if event.name in ("delta", "progress")]
        assert {event.id for event in said} == {""}
        assert {event.data["step"] for event in said} == {"say"}
        answer = "".join(event.data["content"] for event in said if event.name == "delta")
        assert answer == "I look. There are files.", "and nothing else"
        kinds = {event.data["kind"] for event in said if event.name == "progress"}
        assert {"reasoning", "tool_name", "tool_args"} <= kinds
        names = [event.name for event in heard]
        assert names.index("status") < names.index("delta")
        calls = [(event.data["tool"], event.data["arguments"]) for event in heard if event.name == "tool_call"]
        assert calls == [("fs.list", {"path": "workflows"}), ("no.such", {})]
        listed, unknown = [event.data for event in heard if event.name == "tool_result"]
        assert (listed["tool"], listed["result"]["path"]) == ("fs.list", "workflows")
        assert "no.such" in unknown["error"]["message"]
        [agent] = [each for each in (await daemon.http.get("/api/agents")).json() if each["figures"] is not None]
        figures = agent["figures"]
        assert (figures["statuses"], figures["cost_usd"], figures["simulated"]) == ({"completed": 1}, None, 1)
        [spent] = (await daemon.http.get("/api/cost")).json()
        assert (spent["key"], spent["calls"], spent["cost_usd"]) == ("talk", 2, None), "SIMULATED is no price"
        last = figures["last"]
        assert (last["execution_id"], last["step_id"], last["requests"]) == (execution, "say", 2)
        assert {last["started_at"][-1], last["completed_at"][-1]} == {"Z"}
        wanted = await daemon.events(f"/api/executions/{execution}/stream", events="tool_call")
        assert [event.name for event in wanted] == ["connected", "tool_call", "tool_call"]


async def test_who_follows_the_fleet_is_told_what_models_say_if_they_ask_for_it(tmp_path: Path) -> None:
    (tmp_path / "workflows/simulations").mkdir(parents=True)
    (tmp_path / "workflows/simulations/talk.yaml").write_text("pace: 20\n" + WORDS)
    async with served(tmp_path, talk=TALK) as daemon, AsyncExitStack() as stack:

        async def listen(**params: str) -> AsyncIterator[Event]:
            return await stack.enter_async_context(daemon.listening("/api/stream", **params))

        both = await listen(events="delta,complete", filter="wf:talk")
        other, plain = await listen(events="delta,complete", filter="wf:quick"), await listen()
        started = [await daemon.execute("talk") for _ in range(2)]
        for execution in started:
            asked = await daemon.pending(execution)
            await daemon.http.post(f"/api/approvals/{asked['id']}", json={"decision": "approved"})
        said = dict.fromkeys(started, "")
        over = set[str]()
        async for event in both:
            if event.name == "delta":
                said[event.data["execution_id"]] += event.data["content"]
            elif event.name == "complete":
                over.add(event.data["execution_id"])
            if over == set(started):
                break
        assert set(said.values()) == {"I look. There are files."}
        last = await daemon.execute("quick")
        assert {event.name async for event in _until(other, last)} == {"connected", "complete"}
        assert "delta" not in {event.name async for event in _until(plain, last)}


async def _until(events: AsyncIterator[Event], execution: str) -> AsyncIterator[Event]:
    """Events up to the end of an execution."""
    async for event in events:
        yield event
        if event.name == "complete" and event.data["execution_id"] == execution:
            return


async def test_whoever_was_cut_off_anywhere_goes_on_exactly_there(tmp_path: Path) -> None:
    failing = 'name: bad\nsteps: [{id: one, type: transform, output: "${{ 1 / 0 }}"}]\n'
    async with served(tmp_path, bad=failing) as daemon:
        done = await daemon.finished()
        bad = await daemon.execute("bad")
        await daemon.until(bad, "failed")
        for execution in (done, bad):
            path = f"/api/executions/{execution}/stream"
            whole = [event for event in await daemon.events(path) if event.name != "connected"]
            assert all(event.id for event in whole)
            assert len({event.id for event in whole}) == len(whole)
            for k, event in enumerate(whole[:-1]):
                rest = [each for each in await daemon.events(path, event.id) if each.name != "connected"]
                assert [each.id for each in rest] == [each.id for each in whole[k + 1 :]], event
        told = [event.name for event in await daemon.events(f"/api/executions/{bad}/stream")]
        assert told.count("error") == 2, "of the step, and of the execution"


async def test_nothing_is_left_to_tell(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.finished()
        path = f"/api/executions/{execution}/stream"
        *_, last = await daemon.events(path)
        answer = await daemon.http.get(path, headers={"Last-Event-ID": last.id})
        assert (answer.status_code, answer.content) == (204, b"")
        wrong = await daemon.http.get(path, headers={"Last-Event-ID": "yesterday"})
        assert wrong.status_code == 422


async def test_only_what_is_wanted(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.finished()
        path = f"/api/executions/{execution}/stream"
        told = await daemon.events(path, events="step_complete,complete")
        assert [event.name for event in told] == ["connected", *["step_complete"] * 3, "complete"]
        told = await daemon.events(path, events="heartbeat,complete")
        assert [event.name for event in told] == ["connected", "complete"]
        assert (await daemon.http.get(path, params={"events": "step_compleet"})).status_code == 422


def test_times_are_told_as_everywhere() -> None:
    waits = StepWaiting(at=0.0, path="nap", on="timer", until=1_800_000_000.5)
    failed = StepFailed(at=0.0, path="nap", error=Failure("TIMEOUT", "no"), retry_at=1_800_000_000.0)
    [waiting], [error] = (frames(Stored(seq=1, run="r", n=1, fact=fact)) for fact in (waits, failed))
    assert b'"until":"2027-01-15T08:00:00.500Z"' in waiting.wire
    assert b'"retry_at":"2027-01-15T08:00:00.000Z"' in error.wire


async def test_the_whole_fleet_is_followed_by_a_filter(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        before = await daemon.execute("quick")
        await daemon.until(before, "completed")
        async with daemon.listening("/api/stream", filter="wf:quick", events="complete") as events:
            assert (await anext(events)).name == "connected"
            hello = await daemon.finished()
            begun = [await daemon.execute("quick") for _ in range(3)]
            told = [await anext(events) for _ in begun]
        assert {event.data["execution_id"] for event in told} == set(begun), "and neither the one before nor the other"
        async with daemon.listening("/api/stream", told[0].id, events="complete") as events:
            await anext(events)
            rest = [(await anext(events)).data["execution_id"] for _ in told[1:]]
        assert rest == [event.data["execution_id"] for event in told[1:]]
        assert hello not in rest


async def test_many_listeners_of_a_busy_fleet_miss_and_repeat_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        ids: list[list[str]] = [[] for _ in range(20)]
        ready = asyncio.Semaphore(0)

        async def listen(mine: list[str]) -> None:
            async with daemon.listening("/api/stream") as events:
                await anext(events)
                ready.release()
                done = 0
                async for event in events:
                    mine.append(event.id)
                    done += event.name == "complete"
                    if done == 30:
                        return

        async with asyncio.TaskGroup() as group:
            for mine in ids:
                group.create_task(listen(mine))
            for _ in ids:
                await ready.acquire()
            for _ in range(30):
                await daemon.execute("quick")
        assert all(mine == ids[0] for mine in ids)
        numbers = [float(id_) for id_ in ids[0]]
        assert numbers == sorted(set(numbers))
        facts = await daemon.console.store.journal.since(0)
        steps = sum(isinstance(each.fact, StepSucceeded) for each in facts if hasattr(each, "fact"))
        assert steps == 30


async def test_newcomers_are_told_what_was_translated_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anew: list[int] = []
    chosen = FleetStream._chosen

    async def counted(self: FleetStream, cast: broadcast.Broadcast, facts: Sequence[Stored], after: int) -> bytes:
        anew.append(len(facts))
        return await chosen(self, cast, facts, after)

    monkeypatch.setattr(FleetStream, "_chosen", counted)
    async with served(tmp_path) as daemon, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(daemon.listening("/api/stream")) for _ in range(3)]
        for events in opened:
            assert (await anext(events)).name == "connected"
        begun = await daemon.execute("quick")
        for events in opened:
            told = await _take(events, 4)
            assert {event.data["execution_id"] for event in told} == {begun}
    assert not anew


def test_nothing_is_kept_of_what_each_listener_wants_for_itself() -> None:
    facts = [Stored(n, "r", n, StepSucceeded(at=0.0, path="a", output="x" * 1000)) for n in range(1, 5)]
    batch = broadcast.Batch(facts, {})
    every = batch.wire(frozenset(), "", batch.runs, 0)
    for n in range(1_000):
        assert batch.wire(frozenset({"step_complete", f"other-{n}"}), f"id:{n}", batch.runs, 0) == every
    kept = [*batch._wire.values(), *(one for told in batch._told.values() for one in told)]
    assert sum(map(len, kept)) < 40 * len(every)
    assert batch.wire(frozenset(), "", batch.runs, 0) is every


async def test_a_stream_ends_when_the_daemon_does(tmp_path: Path) -> None:
    async with httpx.AsyncClient(timeout=60) as http, AsyncExitStack() as stack:
        async with served(tmp_path) as daemon:
            execution = await daemon.execute("hello")
            await daemon.until(execution, "waiting")
            stream = http.stream("GET", f"{daemon.url}/api/executions/{execution}/stream")
            response = await stack.enter_async_context(stream)
            lines = response.aiter_lines()
            while await anext(lines) != "event: connected":
                pass
        rest = [line async for line in lines]
    assert rest, "it was ended in order"
    assert "event: complete" not in rest


async def test_filters_do_not_ask_the_store_for_each_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = EmbeddedConsole.matching

    async def counted(self: EmbeddedConsole, runs: Sequence[str], filter_: str) -> list[tuple[RunHead, bool]]:
        asked.extend(runs)
        return await ask(self, runs, filter_)

    monkeypatch.setattr(EmbeddedConsole, "matching", counted)
    async with served(tmp_path) as daemon, AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            filters = ("wf:quick", "wf:quick by:ana", "wf:hello")
            opened = [daemon.listening("/api/stream", filter=text, events="complete") for text in filters for _ in "12"]
            listeners = [await stack.enter_async_context(each) for each in opened]
            for events in listeners:
                await anext(events)
            begun = [await daemon.execute("quick") for _ in range(10)]
            told = [group.create_task(_take(events, 10)) for events in listeners[:4]]
        for task in told:
            assert {event.data["execution_id"] for event in task.result()} == {*begun}
        facts = len(await daemon.console.store.journal.since(0))
        assert len(asked) <= 2 * len(begun) < facts, "for each run, and not for each fact, filter or listener"


async def _take(events: AsyncIterator[Event], many: int) -> list[Event]:
    return [await anext(events) for _ in range(many)]


@pytest.mark.parametrize("filter_", ["status:completed", "dur:<1h", "since:today", "-status:failed wf:q*"])
async def test_filters_on_what_changes_hold_for_the_run_as_it_is(tmp_path: Path, filter_: str) -> None:
    async with served(tmp_path) as daemon, daemon.listening("/api/stream", filter=filter_, events="complete") as events:
        await anext(events)
        begun = await daemon.execute("quick")
        assert (await anext(events)).data["execution_id"] == begun


async def test_who_does_not_read_holds_up_nobody_and_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "KEPT_FACTS", 50)
    large = "name: large\nsteps: [{id: one, type: transform, output: \"${{ 'x' * 60000 }}\"}]\n"
    async with served(tmp_path, large=large) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]), limit=1024)
        writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: connected")
        async with daemon.listening("/api/stream", events="complete") as events:
            await anext(events)
            begun = [await daemon.execute("large") for _ in range(150)]
            told = [(await anext(events)).data["execution_id"] for _ in begun]
        assert told == begun, "others are told all of it meanwhile"
        seen = await _ids(reader, len(begun))
        assert seen == sorted({*seen}), "and when it reads on, nothing is missing and nothing comes twice"
        writer.close()
        monkeypatch.setattr(Connection, "write_seconds", 0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]), limit=1024)
        writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 1\r\n\r\n")
        async with asyncio.timeout(60):
            await reader.readuntil(b"event: connected")
            while daemon.console.engine.feed.readers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        writer.close()


async def _ids(reader: asyncio.StreamReader, completed: int) -> list[int]:
    """The ids of whole facts that a raw stream tells, until so many executions are complete."""
    seen, done, buffer = list[int](), 0, b""
    async with asyncio.timeout(60):
        while done < completed:
            buffer += await reader.read(65536)
            *events, buffer = buffer.split(b"\n\n")
            for event in events:
                found = re.search(rb"id: (\d+)\nevent: (\w+)", event)
                if found:
                    seen.append(int(found[1]))
                    done += found[2] == b"complete"
    return seen


async def test_who_was_before_what_retention_has_deleted_begins_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        gone, journal = await daemon.finished(), daemon.console.store.journal
        last = (await journal.facts(gone))[-1].seq
        kept = await daemon.execute("hello")
        await daemon.pending(kept)
        async with daemon.listening("/api/stream", "1", events="complete") as events:
            assert [(await anext(events)).name for _ in "12"] == ["connected", "complete"], "nothing is missing yet"
        assert (await daemon.console.store.prune(before=time.time() + 60))["runs"] == 1
        async with daemon.listening("/api/stream", "1", events="status") as events:
            assert [(await anext(events)).name for _ in "12"] == ["connected", "reset"], "also where nothing happens"
            begun = await daemon.execute("quick")
            assert (await anext(events)).data["execution_id"] == begun, "what is left of before is not told"
        async with daemon.listening("/api/stream", str(last), events="status") as events:
            told = [await anext(events) for _ in "12"]
            assert [told[0].name, told[1].data["execution_id"]] == ["connected", kept], "nothing behind it has gone"
        found = await daemon.http.get(f"/api/executions/{gone}/stream", headers={"Last-Event-ID": "1"})
        assert found.status_code == 404


async def test_who_was_where_nothing_is_begins_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        done = await daemon.finished()
        told = await daemon.events(f"/api/executions/{done}/stream", "999999")
        assert [event.name for event in told[:2]] == ["connected", "reset"]
        assert told[-1].name == "complete"
        async with daemon.listening("/api/stream", "999999", events="complete,reset") as events:
            assert [(await anext(events)).name for _ in "12"] == ["connected", "reset"]
            begun = await daemon.execute("quick")
            assert (await anext(events)).data["execution_id"] == begun


@pytest.mark.parametrize(
    ("error", "level"), [(StoreUnavailable("the disk is gone"), "WARNING"), (RuntimeError("a fault"), "ERROR")]
)
async def test_what_ends_a_stream_is_told_in_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: str,
) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.execute("hello")
        await daemon.pending(execution)

        async def broken(self: EmbeddedConsole, run: str, **which: int) -> list[Stored]:
            raise error

        monkeypatch.setattr(EmbeddedConsole, "facts", broken)
        [connected] = await daemon.events(f"/api/executions/{execution}/stream")
        assert connected.name == "connected"
    [told] = [record for record in caplog.records if record.name == "fleetprompt.daemon.streams"]
    assert told.levelname == level
    assert str(error) in caplog.text
    assert execution in told.message
