"""What is sent to a provider, what is made of its answers, and what never leaves: keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llm_kit import GET, IMPATIENT, KEY, PRICE, ask, failure, request, target
from stub_server import MODES, Stub, start_stub

from fleetprompt.engine.llm.library import library
from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.ports.model import (
    Delta,
    ImageRequest,
    Message,
    ModelFailed,
    Price,
    ToolCall,
    ToolSpec,
)

SECRET = "correct horse battery staple"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  a condition in another process
            await asyncio.sleep(0.01)


async def test_a_request_is_what_was_asked(stub: Stub) -> None:
    call = ToolCall("get", '{"q":1}', "call_9")
    messages = (
        Message("system", "be brief"),
        Message("user", "hello"),
        Message("assistant", calls=(call,)),
        Message("tool", '{"n":3}', call_id="call_9", name="get"),
    )
    at = target(stub.base, headers={"x-team": "ops"})
    await ask(request(at, (GET,), messages=messages, temperature=0.5, choice="required"))
    sent = stub.requests()[-1]
    body = sent["body"]
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "get", "arguments": '{"q":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_9", "name": "get", "content": '{"n":3}'},
    ]
    assert body["tools"][0]["function"]["parameters"] == GET.parameters
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert (body["max_tokens"], body["temperature"], body["tool_choice"]) == (50, 0.5, "required")
    headers = sent["headers"]
    assert (headers["x-fleetprompt-call"], headers["x-team"]) == ("s/llm/0#1", "ops")
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_what_is_not_asked_for_is_not_sent(stub: Stub) -> None:
    await ask(request(target(stub.base)))
    assert not {"tools", "tool_choice", "temperature", "response_format", "about"} & set(stub.requests()[-1]["body"])


async def test_a_schema_is_told_to_models_that_take_one(stub: Stub) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await ask(request(target(stub.base, "openai/gpt-4o-mini"), schema=schema))
    assert stub.requests()[-1]["body"]["response_format"]["json_schema"]["schema"] == schema
    await ask(request(target(stub.base), schema=schema))
    assert "response_format" not in stub.requests()[-1]["body"]


async def test_an_answer_has_its_usage_cost_and_times(stub: Stub) -> None:
    answer = await ask(request(target(stub.base)))
    assert answer.text.startswith("w0 w1 ")
    assert (answer.usage.input, answer.usage.output, answer.usage.cached) == (11, 7, 4)
    # 7 tokens of input at 1000, 4 cached at 100, 7 of output at 2000.
    assert (answer.cost_nano, answer.price) == (7 * 1000 + 4 * 100 + 7 * 2000, PRICE.source)
    assert answer.first is not None
    assert 0 < answer.first <= answer.seconds
    unpriced = await ask(request(target(stub.base, price=None)))
    assert (unpriced.cost_nano, unpriced.price) == (None, "")


async def test_no_key_of_the_environment_goes_to_another_server(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    await LiteLLM().answer(request(target(stub.base)), "", lambda delta: None)
    assert "sk-of-the-environment" not in str(stub.requests()[-1])


@pytest.mark.parametrize(
    "mode", ["401", "400", "500", "429", "reset", "errframe", "badchunk", "badjson", "hang", "eof"]
)
async def test_keys_and_secrets_are_in_no_error_and_no_log(
    stub: Stub, mode: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    await library()
    caplog.set_level(logging.DEBUG)
    redact = LiteLLM(lambda text: text.replace(SECRET, "•••"))
    at = target(stub.base, mode, **IMPATIENT.get(mode, {}))
    error = await failure(request(at, messages=(Message("user", SECRET),)), redact)
    seen: list[Any] = [error, *error.args, error.__dict__, error.__cause__, error.__context__]
    out, err = capfd.readouterr()
    told = "\n".join(map(repr, seen)) + out + err + "\n".join(record.getMessage() for record in caplog.records)
    for canary in (KEY, SECRET, KEY[3:]):
        assert canary not in told
    assert (out, err) == ("", "")


async def test_a_provider_that_repeats_a_secret_is_redacted(stub: Stub) -> None:
    error = await failure(request(target(stub.base, "400")), LiteLLM(lambda text: text.replace("bad request", "•••")))
    assert error.message == "`stub-400` refused the request (HTTP 400): •••"


@pytest.mark.parametrize("mode", ["hang", "silent"])
async def test_to_cancel_a_request_closes_its_connection(stub: Stub, mode: str) -> None:
    before, gone = len(stub.requests()), stub.gone()
    asking = asyncio.create_task(ask(request(target(stub.base, mode))))
    await until(lambda: len(stub.requests()) > before)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: stub.gone() > gone)


@pytest.mark.parametrize("mode", ["hang", "silent"])
async def test_to_give_up_closes_the_connection(stub: Stub, mode: str) -> None:
    gone = stub.gone()
    await failure(request(target(stub.base, mode, **IMPATIENT[mode])))
    await until(lambda: stub.gone() > gone)


async def test_200_streams_at_once_all_end(tmp_path: Path) -> None:
    with start_stub(tmp_path) as own:
        at = target(own.base, first=60.0, idle=60.0, timeout=90.0)
        answers = await asyncio.gather(*(ask(request(at, key=f"{i}#1")) for i in range(200)))
        assert {answer.text for answer in answers} == {"".join(f"w{i} " for i in range(20))}
        keys = [sent["headers"]["x-fleetprompt-call"] for sent in own.requests()]
        assert sorted(keys) == sorted(f"{i}#1" for i in range(200))


@pytest.mark.parametrize("vendor", ["anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"])
async def test_other_vendors_come_by_the_same_path(tmp_path: Path, vendor: str) -> None:
    script = [
        {"calls": [{"name": "get", "arguments": {"q": 1}}, {"name": "get", "arguments": {"q": 2}}]},
        {"text": "a longer text that comes in pieces"},
        {"text": "long", "finish": "length"},
        {"text": "cut", "mode": "eof"},
        {"mode": "429"},
        {"mode": "401"},
    ]
    with start_stub(tmp_path, script) as own:
        base = own.root if vendor.startswith("anthropic") else f"{own.root}/v1beta"
        at = target(base, vendor)
        answer = await ask(request(at, (GET,)))
        assert [(call.name, call.arguments.replace(" ", "")) for call in answer.calls] == [
            ("get", '{"q":1}'),
            ("get", '{"q":2}'),
        ]
        assert answer.finish == "tool_calls"
        assert (answer.usage.input, answer.usage.output, answer.usage.source) == (11, 7, "provider")
        answer = await ask(request(at))
        assert (answer.text, answer.finish) == ("a longer text that comes in pieces", "stop")
        assert (await ask(request(at))).finish == "length"
        cut, limited, refused = [await failure(request(at)) for _ in range(3)]
        assert (cut.kind, cut.spent) == ("truncated", "uncertain")
        assert (limited.kind, limited.code, limited.retry_after, limited.spent) == (
            "overloaded",
            "RATE_LIMIT",
            2,
            "nothing",
        )
        assert (refused.kind, refused.code, refused.status) == ("refused", "VALIDATION_ERROR", 401)
        assert KEY not in str(refused)
        assert len(own.requests()) == 6
    litellm = await library()
    assert (litellm.input_callback, litellm.success_callback, litellm.failure_callback) == ([], [], [])


async def test_a_script_answers_in_order_and_by_what_is_said(tmp_path: Path) -> None:
    script = [{"text": "first"}, {"text": "then", "usage": None}, {"when": "magic", "text": "found"}]
    with start_stub(tmp_path, script) as own:
        at = target(own.base)
        said = [(await ask(request(at))).text, (await ask(request(at, messages=(Message("user", "magic"),)))).text]
        said += [(await ask(request(at))).text, (await ask(request(at))).text]
        assert said == ["first", "found", "then", "then"]


async def test_pictures(stub: Stub) -> None:
    provider = LiteLLM()
    price = Price(image=40_000_000, source="test")

    def wanted(model: str) -> ImageRequest:
        return ImageRequest(target=target(stub.base, f"openai/{model}", price=price), prompt="a cat", key="i#1")

    for model in ("stub-image", "stub-url"):
        picture = await provider.image(wanted(model), KEY)
        assert picture.media_type == "image/png"
        assert picture.data.startswith(b"\x89PNG")
        assert (picture.cost_nano, picture.price) == (40_000_000, "test")
    assert stub.requests("images")[-1]["body"]["prompt"] == "a cat"
    assert stub.requests("images")[-1]["headers"]["x-fleetprompt-call"] == "i#1"
    for model, said in (("stub-none", "sent no picture"), ("stub-foreign", "not https")):
        with pytest.raises(ModelFailed, match=said):
            await provider.image(wanted(model), KEY)
    before = len(stub.requests())
    with pytest.raises(ModelFailed) as limited:
        await provider.image(wanted("stub-429"), KEY)
    assert (limited.value.kind, limited.value.retry_after) == ("overloaded", 2)
    with pytest.raises(ModelFailed, match="HTTP 500"):
        await provider.image(wanted("stub-500"), KEY)
    assert len(stub.requests()) == before + 2


async def test_vectors_come_in_the_order_of_the_texts(stub: Stub) -> None:
    answer = await LiteLLM().embed(target(stub.base, "openai/stub-vectors"), ["a", "bbb", "cc"], KEY)
    assert [vector[0] for vector in answer.vectors] == [1.0, 3.0, 2.0]
    assert (answer.usage.input, answer.cost_nano) == (15, 15_000)
    with pytest.raises(ModelFailed) as refused:
        await LiteLLM().embed(target(stub.base, "openai/stub-401"), ["a"], KEY)
    assert refused.value.kind == "refused"
    assert KEY not in str(refused.value)
    before = len(stub.requests())
    for mode in ("429", "500"):
        with pytest.raises(ModelFailed, match=mode):
            await LiteLLM().embed(target(stub.base, f"openai/stub-{mode}"), ["a"], KEY)
    assert len(stub.requests()) == before + 2


async def test_a_prompt_is_counted_from_above_with_its_tools() -> None:
    provider = LiteLLM()
    at = target("http://127.0.0.1:9/v1", "openai/gpt-4o-mini")
    words = [Message("user", "hello " * 300)]
    bare = await provider.count(at, words, ())
    assert bare >= 300
    tool = ToolSpec("long", "word " * 200, {"type": "object", "properties": {}})
    assert await provider.count(at, words, (tool,)) >= bare + 150
    assert await provider.count(target("", "openai/nobody-knows"), words, ()) >= 300


def test_every_mode_says_what_it_does() -> None:
    assert all(name.isalnum() for name in MODES)


async def test_a_slow_answer_is_not_a_silent_one(tmp_path: Path) -> None:
    """It takes longer than its first piece may, and no piece takes longer than one may."""
    with start_stub(tmp_path, [{"text": "x" * 120, "pause": 1.0}]) as own:
        answer = await ask(request(target(own.base, first=4.0, idle=20.0)))
        assert answer.text == "x" * 120


async def test_to_stop_listening_closes_the_connection(stub: Stub) -> None:
    def refuse(delta: Delta) -> None:
        raise ZeroDivisionError

    gone = stub.gone()
    with pytest.raises(ModelFailed) as failed:
        await LiteLLM().answer(request(target(stub.base, "silent")), KEY, refuse)
    assert failed.value.kind == "broken"
    await until(lambda: stub.gone() > gone)


async def test_another_engine_of_the_process_can_ask_after_one_has_closed(stub: Stub) -> None:
    for _ in range(2):
        provider = LiteLLM()
        answer = await provider.answer(request(target(stub.base)), KEY, lambda delta: None)
        assert answer.finish == "stop"
        await provider.close()
