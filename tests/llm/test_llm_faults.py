"""Every way a provider can fail, through litellm and a real server: what it becomes, and that one request was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llm_kit import GET, IMPATIENT, KEY, ask, failure, request, target
from stub_server import MODES, Stub, start_stub

from fleetprompt.engine.ports.model import Delta, ModelFailed, ToolCall

FAILS = {
    # mode: kind, code, another attempt, what may be billed, status, tokens that came
    "429": ("overloaded", "RATE_LIMIT", True, "nothing", 429, 0),
    "429date": ("overloaded", "RATE_LIMIT", True, "nothing", 429, 0),
    "quota": ("refused", "RATE_LIMIT", False, "nothing", 429, 0),
    "500": ("server", "AGENT_ERROR", True, "uncertain", 500, 0),
    "503": ("overloaded", "AGENT_ERROR", True, "nothing", 503, 0),
    "529": ("overloaded", "AGENT_ERROR", True, "nothing", 529, 0),
    "401": ("refused", "VALIDATION_ERROR", False, "nothing", 401, 0),
    "400": ("refused", "VALIDATION_ERROR", False, "nothing", 400, 0),
    "404": ("refused", "VALIDATION_ERROR", False, "nothing", 404, 0),
    "ctx": ("context", "VALIDATION_ERROR", False, "nothing", 400, 0),
    "badjson": ("truncated", "AGENT_ERROR", True, "uncertain", None, 0),
    "badchunk": ("broken", "AGENT_ERROR", True, "uncertain", None, 1),
    "hang": ("timeout", "TIMEOUT", True, "uncertain", None, 0),
    "silent": ("timeout", "TIMEOUT", True, "uncertain", None, 1),
    "reset": ("broken", "AGENT_ERROR", True, "uncertain", None, 1),
    "cut": ("broken", "AGENT_ERROR", True, "uncertain", None, 1),
    "close": ("broken", "AGENT_ERROR", True, "uncertain", None, 0),
    "eof": ("truncated", "AGENT_ERROR", True, "uncertain", None, 1),
    "toolcut": ("truncated", "AGENT_ERROR", True, "uncertain", None, 6),
    "errframe": ("broken", "AGENT_ERROR", True, "uncertain", None, 1),
    "errfirst": ("broken", "AGENT_ERROR", True, "uncertain", None, 0),
    "nocall": ("answer", "AGENT_ERROR", True, "uncertain", None, 0),
}
ANSWERS = set(MODES) - set(FAILS)
CALL = ToolCall("get", '{"q":1}', "call_1")
A, B = ToolCall("get", '{"path":"a.txt"}', "call_a"), ToolCall("get", '{"path":"b.txt"}', "call_b")


def told(error: ModelFailed) -> tuple[Any, ...]:
    return error.kind, error.code, error.retryable, error.spent, error.status, error.received


@pytest.mark.parametrize("mode", sorted(FAILS))
async def test_a_failure_is_told_apart_after_one_request(stub: Stub, mode: str) -> None:
    before = len(stub.requests())
    error = await failure(request(target(stub.base, mode, **IMPATIENT.get(mode, {})), (GET,)))
    assert told(error) == FAILS[mode]
    assert error.message.startswith(f"`stub-{mode}` ")
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY not in f"{error} {error.hint} {error.__dict__}"
    assert len(stub.requests()) == before + 1


@pytest.mark.parametrize("mode", ["cut", "reset"])
async def test_a_torn_stream_is_told_in_words_of_ours(stub: Stub, mode: str) -> None:
    error = await failure(request(target(stub.base, mode)))
    assert error.message.endswith(
        "broke off in the middle of its answer: the stream ended before the answer was complete"
    )


async def test_what_a_provider_says_in_the_middle_of_a_stream_is_told(stub: Stub) -> None:
    assert (await failure(request(target(stub.base, "errframe")))).message.endswith(": overloaded")


async def test_an_answer_may_say_the_same_a_hundred_times_over(tmp_path: Path) -> None:
    cell = f"{'| 0.00 | none':<23}\n"
    with start_stub(tmp_path, [{"text": cell * 400}]) as stub:
        answer = await ask(request(target(stub.base), max_tokens=5000))
        assert len(stub.requests()) == 1
    assert answer.text == cell * 400


@pytest.mark.parametrize("mode", sorted(ANSWERS))
async def test_an_answer_takes_one_request(stub: Stub, mode: str) -> None:
    before = len(stub.requests())
    answer = await ask(request(target(stub.base, mode), (GET,)))
    assert answer.model == f"stub-{mode}"
    assert len(stub.requests()) == before + 1


async def test_how_long_to_wait_is_what_the_server_says(stub: Stub) -> None:
    assert (await failure(request(target(stub.base, "429")))).retry_after == 2
    assert (await failure(request(target(stub.base, "503")))).retry_after == 3
    wait = (await failure(request(target(stub.base, "429date")))).retry_after
    assert wait is not None
    assert 30 < wait <= 60
    assert (await failure(request(target(stub.base, "500")))).retry_after is None


async def test_the_limit_that_was_reached_is_named(stub: Stub, tmp_path: Path) -> None:
    assert "did not begin to answer in 0.3 s" in str(await failure(request(target(stub.base, "hang", first=0.3))))
    silent = await failure(request(target(stub.base, "silent", idle=0.3)))
    assert "fell silent for 0.3 s" in silent.message
    assert "`idle`" in silent.hint
    # Every chunk comes in time, all of them together do not.
    with start_stub(tmp_path, [{"text": " ".join(map(str, range(9_999))), "pause": 0.05}]) as own:
        for seconds in (0.12, 1.2, 12.0):
            drip = await failure(request(target(own.base, timeout=seconds)))
            assert f"did not finish its answer in {seconds:g} s" in drip.message
            if drip.received > 0:
                break
        assert drip.received > 0


async def test_what_was_never_sent_costs_nothing() -> None:
    error = await failure(request(target("http://127.0.0.1:9/v1")))
    assert told(error) == ("not_sent", "AGENT_ERROR", True, "nothing", None, 0)
    assert error.hint == "is a server running at http://127.0.0.1:9/v1?"
    unknown = await failure(request(target("http://no-such-host.invalid/v1")))
    assert (unknown.kind, unknown.spent) == ("not_sent", "nothing")


@pytest.mark.parametrize(
    ("mode", "calls", "finish"),
    [
        ("ok", (CALL,), "tool_calls"),
        ("two", (A, B), "tool_calls"),
        ("noidx", (A, B), "tool_calls"),
        ("utf8", (ToolCall("get", '{"path":"café"}', "call_a"),), "tool_calls"),
        ("twofinish", (CALL,), "tool_calls"),
        ("stopcall", (A,), "tool_calls"),
        ("length", (ToolCall("get", '{"q":"hi', "call_a"),), "length"),
    ],
)
async def test_calls_come_whole(stub: Stub, mode: str, calls: tuple[ToolCall, ...], finish: str) -> None:
    deltas: list[Delta] = []
    answer = await ask(request(target(stub.base, mode), (GET,)), deltas)
    assert (answer.calls, answer.finish) == (calls, finish)
    shown = "".join(delta.text for delta in deltas if delta.kind == "tool_args" and delta.call == len(calls) - 1)
    assert shown == calls[-1].arguments


async def test_usage_that_is_missing_is_estimated_and_says_so(stub: Stub) -> None:
    answer = await ask(request(target(stub.base, "nousage")))
    assert answer.usage.source == "estimated"
    assert answer.usage.output >= 20
    assert answer.usage.input > 0
    assert (await ask(request(target(stub.base)))).usage.source == "provider"
