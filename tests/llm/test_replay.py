"""Recordings: written whole and redacted, answered strictly, and the same after a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llm_kit import GET, KEY, request, target
from msgspec.structs import replace
from recording_kit import Recorded
from stub_server import Stub

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.llm.providers import Lines, Room
from fleetprompt.engine.llm.recording import entry_of, read, request_digest, write
from fleetprompt.engine.llm.replay import Replay
from fleetprompt.engine.ports.model import (
    Delta,
    ImageRequest,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    ToolCall,
)

SECRET = "correct horse battery staple"


def redact(text: str) -> str:
    return text.replace(SECRET, "•••")


def replaying(path: str) -> ModelTarget:
    return ModelTarget(name="x", model=f"replay/{path}", mode="replay")


def at(wanted: ModelRequest, model: str = "run.jsonl", **changed: Any) -> ModelRequest:
    return replace(wanted, target=replaying(model), **changed)


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    return Replay(Room(root=tmp_path))


async def recorded(tmp_path: Path, *wanted: ModelRequest) -> list[ModelAnswer | ModelFailed]:
    """What a live provider answers, recorded in `run.jsonl`."""
    provider = Recorded(LiteLLM())
    found: list[ModelAnswer | ModelFailed] = []
    for one in wanted:
        try:
            found.append(await provider.answer(one, KEY, lambda _: None))
        except ModelFailed as error:
            found.append(error)
    provider.write(tmp_path / "run.jsonl", redact)
    return found


async def test_a_recording_answers_what_was_asked_and_costs_nothing(stub: Stub, tmp_path: Path, replay: Replay) -> None:
    first = request(target(stub.base), (GET,), key="s/llm/0#1")
    second = request(target(stub.base), messages=(Message("user", "and then?"),), key="s/llm/1#1")
    live = await recorded(tmp_path, first, second)
    before, deltas = len(stub.requests()), list[Delta]()
    for wanted, answer in ((second, live[1]), (first, live[0])):
        again = await replay.answer(at(wanted), "", deltas.append)
        assert isinstance(answer, ModelAnswer)
        assert (again.text, again.calls, again.finish, again.usage) == (
            answer.text,
            answer.calls,
            answer.finish,
            answer.usage,
        )
        assert (again.cost_nano, again.price) == (None, "")
    assert answer.cost_nano
    assert "".join(delta.text for delta in deltas if delta.kind == "tool_args") == '{"q":1}'
    assert len(stub.requests()) == before


async def test_a_miss_is_an_error_that_says_what_changed(stub: Stub, tmp_path: Path, replay: Replay) -> None:
    await recorded(tmp_path, request(target(stub.base), key="s/llm/0#1"))
    changed = request(target(stub.base), messages=(Message("user", "something else"),), key="s/llm/0#1")
    with pytest.raises(ModelFailed, match="was asked something else at s/llm/0#1") as missed:
        await replay.answer(at(changed), "", lambda _: None)
    assert (missed.value.kind, missed.value.retryable, missed.value.spent) == ("answer", False, "nothing")
    assert "@position" in missed.value.hint
    elsewhere = replace(changed, key="s/llm/9#1")
    with pytest.raises(ModelFailed, match="has no answer to s/llm/9#1"):
        await replay.answer(at(elsewhere), "", lambda _: None)
    by_place = await replay.answer(at(changed, "run.jsonl@position"), "", lambda _: None)
    assert by_place.text.startswith("w0")
    with pytest.raises(ModelFailed, match="has no answer"):
        await replay.answer(at(elsewhere, "run.jsonl@position"), "", lambda _: None)


async def test_failures_are_replayed_at_their_attempt(stub: Stub, tmp_path: Path, replay: Replay) -> None:
    broken = request(target(stub.base, "429"), key="s/llm/0#1")
    whole = request(target(stub.base), key="s/llm/0#2")
    assert request_digest(broken) == request_digest(whole)
    await recorded(tmp_path, broken, whole)
    for _ in range(2):
        with pytest.raises(ModelFailed) as failed:
            await replay.answer(at(broken), "", lambda _: None)
        assert (failed.value.kind, failed.value.code, failed.value.retry_after) == ("overloaded", "RATE_LIMIT", 2)
        assert (await replay.answer(at(whole), "", lambda _: None)).text.startswith("w0")
    # An attempt that was never made is answered as the last one was.
    assert (await replay.answer(at(whole, key="s/llm/0#3"), "", lambda _: None)).text.startswith("w0")


async def test_equal_requests_are_told_apart_by_their_place(tmp_path: Path, replay: Replay) -> None:
    asked = request(target("http://x/v1"))
    digest, run = request_digest(asked), tmp_path / "run.jsonl"
    write(run, [entry_of("answer", digest, f"{place}/llm/0#1", "m", ModelAnswer(text=place)) for place in ("a", "b")])
    for place in ("b", "a", "b"):
        found = await replay.answer(at(asked, key=f"{place}/llm/0#1"), "", lambda _: None)
        assert found.text == place


def test_the_digest_is_of_what_is_asked_and_not_of_whom() -> None:
    one = request(target("http://x/v1"))
    assert request_digest(one) == request_digest(at(one, key="other", max_tokens=7, about={"turn": 3}))
    changes = ({"temperature": 0.1}, {"tools": (GET,)}, {"choice": "none"}, {"schema": {}}, {"messages": ()})
    assert len({request_digest(replace(one, **change)) for change in changes} | {request_digest(one)}) == 6


async def test_no_secret_is_written_and_only_the_owner_reads(stub: Stub, tmp_path: Path) -> None:
    call = ToolCall("get", "{}", "c")
    asked = (Message("user", SECRET), Message("assistant", calls=(call,)), Message("tool", SECRET, call_id="c"))
    await recorded(tmp_path, request(target(stub.base), messages=asked), request(target(stub.base, "401")))
    said = entry_of("answer", "d", "k", "m", ModelAnswer(text=f"the key is {SECRET}", reasoning=SECRET))
    path = tmp_path / "run.jsonl"
    with pytest.raises(Refused, match="exists already"):
        write(path, [said], redact)
    write(tmp_path / "said.jsonl", [said], redact)
    text = path.read_text() + (tmp_path / "said.jsonl").read_text()
    assert SECRET not in text
    assert KEY not in text
    assert path.stat().st_mode & 0o077 == 0
    assert len(text.splitlines()) == 3


async def test_pictures_and_vectors_are_recorded_too(stub: Stub, tmp_path: Path, replay: Replay) -> None:
    provider = Recorded(LiteLLM())
    picture = ImageRequest(target=target(stub.base, "openai/stub-image"), prompt="a cat", key="i#1")
    live = await provider.image(picture, KEY)
    vectors = await provider.embed(target(stub.base, "openai/stub-vectors"), ["a", "bb"], KEY)
    provider.write(tmp_path / "run.jsonl")
    again = await replay.image(replace(picture, target=replaying("run.jsonl")), "")
    assert (again.data, again.media_type, again.cost_nano) == (live.data, live.media_type, None)
    assert (await replay.embed(replaying("run.jsonl"), ["a", "bb"], "")).vectors == vectors.vectors
    with pytest.raises(ModelFailed, match="has no answer"):
        await replay.embed(replaying("run.jsonl"), ["other"], "")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "run.jsonl:2: this is not JSON"),
        ('{"v": 2}', "run.jsonl:2: this is not an entry of a recording of version 1"),
        ('{"v": 1, "kind": "song", "what": {}}', "run.jsonl:2: there is no `kind`"),
        ('{"v": 1, "kind": "answer", "digest": "DIGEST", "what": {"finish": 3}}', "run.jsonl:2: this is not an answer"),
        (
            '{"v": 1, "kind": "failure", "digest": "DIGEST", "key": "k#1", "what": {}}',
            "run.jsonl:2: this is not a failure",
        ),
    ],
)
async def test_what_is_no_recording_is_told_with_its_line(tmp_path: Path, replay: Replay, line: str, says: str) -> None:
    wanted = at(request(target("http://x/v1"), key="k#1"))
    line = line.replace("DIGEST", request_digest(wanted))
    (tmp_path / "run.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(ModelFailed) as refused:
        await replay.answer(wanted, "", lambda _: None)
    assert says in refused.value.message


async def test_a_run_is_replayed_from_where_its_calls_are_kept(tmp_path: Path) -> None:
    asker = "01a21b03-e811-7787-a1c5-257992d914ef"
    wanted = request(target("http://x/v1"), key=f"{asker}/s/llm/0#1")
    line = entry_of("answer", request_digest(wanted), "s/llm/0#1", "m", ModelAnswer(text="from the journal"))

    async def journal(run: str, by: str) -> Lines | None:
        return [line] if (run, by) == ("run-7", asker) else None

    replay = Replay(Room(root=tmp_path, recording=journal))
    assert (await replay.answer(at(wanted, "run-7"), "", lambda _: None)).text == "from the journal"
    with pytest.raises(ModelFailed, match="there is no recording `run-8`"):
        await replay.answer(at(wanted, "run-8"), "", lambda _: None)
    entries: Callable[[], Lines] = lambda: [line]  # noqa: E731
    assert [entry.key for entry in read(entries)] == ["s/llm/0#1"]
