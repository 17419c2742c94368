"""What we rely on inside litellm: to be looked at when another version of it is taken."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llm_kit import GET, KEY
from stub_server import Stub

from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.chunks import Chunks, Made, Straight, chunks_of
from fleetprompt.engine.llm.library import library
from fleetprompt.engine.llm.wire import tools_out
from fleetprompt.engine.ports.model import ToolSpec

LAZY = """
import sys
import fleetprompt.settings
from fleetprompt.engine.llm.models import KnownModels
from fleetprompt.engine.llm.providers import Room
import asyncio
models = KnownModels({}, {"OPENAI_API_KEY": "x"}, Room(), where=())
target = asyncio.run(models.find("default"))
models.provider(target)
assert target.price is not None
print([name for name in ("litellm", "openai", "aiohttp", "mcp") if name in sys.modules])
"""


async def opened(stub: Stub, mode: str, tools: tuple[ToolSpec, ...] = ()) -> Any:
    """A stream of litellm's own."""
    litellm = await library()
    return await litellm.acompletion(
        model=f"openai/stub-{mode}",
        api_base=stub.base,
        api_key=KEY,
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        stream_options={"include_usage": True},
        max_retries=0,
        **({"tools": tools_out(tools)} if tools else {}),
    )


async def stream(stub: Stub, mode: str) -> tuple[Any, list[Any]]:
    """The same, read to its end."""
    found = await opened(stub, mode)
    return found, [chunk async for chunk in found]


async def said(chunks: Chunks) -> dict[str, Any]:
    """What a stream says, and of its end."""
    found: list[Any] = []
    async for chunk in chunks:
        for delta in (choice.delta for choice in chunk.choices):
            found += [delta.content or "", getattr(delta, "reasoning_content", None) or ""]
            found += [
                (call.index, call.id, call.function.name, call.function.arguments) for call in delta.tool_calls or ()
            ]
    usage = [
        (one.prompt_tokens, one.completion_tokens, one.prompt_tokens_details.cached_tokens) for one in chunks.usage
    ]
    return {"said": [one for one in found if one], "end": chunks.finish, "usage": usage, "model": chunks.model}


async def test_only_a_real_finish_reason_is_received(stub: Stub) -> None:
    whole, _ = await stream(stub, "ok")
    assert whole.received_finish_reason == "stop"
    cut, chunks = await stream(stub, "eof")
    assert cut.received_finish_reason is None
    # This is why: it makes one up.
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-2:] != [None, None]


async def test_only_usage_that_was_sent_is_in_the_chunks(stub: Stub) -> None:
    told, _ = await stream(stub, "ok")
    assert any(getattr(chunk, "usage", None) is not None for chunk in told.chunks)
    silent, chunks = await stream(stub, "nousage")
    assert not any(getattr(chunk, "usage", None) is not None for chunk in silent.chunks)
    assert any(getattr(chunk, "usage", None) is not None for chunk in chunks)


@pytest.mark.parametrize(
    ("mode", "tools"),
    [("ok", ()), ("reason", ()), ("nousage", ()), ("eof", ()), ("surrogate", ()), ("noidx", (GET,)), ("utf8", (GET,))],
)
async def test_what_is_read_straight_is_what_litellm_makes_of_it(
    stub: Stub, mode: str, tools: tuple[ToolSpec, ...]
) -> None:
    litellm = await library()
    straight = chunks_of(litellm, await opened(stub, mode, tools))
    # Where this fails, nothing is wrong but the speed: litellm reads with something else now.
    assert isinstance(straight, Straight)
    assert await said(straight) == await said(Made(await opened(stub, mode, tools)))


async def test_it_is_quiet_and_does_nothing_of_its_own() -> None:
    litellm = await library()
    assert (litellm.callbacks, litellm.success_callback, litellm.failure_callback) == ([], [], [])
    assert litellm.suppress_debug_info
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logger = logging.getLogger(name)
        assert not logger.propagate
        assert all(isinstance(handler, logging.NullHandler) for handler in logger.handlers)


def test_nothing_imports_it_before_a_model_is_called() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.long
def test_its_import_reads_no_env_file_and_asks_no_network(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PLANTED=1\n")
    code = """
import os, socket, sys
asked = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        asked.append(args[1])
sys.addaudithook(hook)
from fleetprompt.engine.llm.library import imported
imported()
print(os.environ.get("PLANTED"), [a for a in asked if "127.0.0.1" not in str(a)], os.environ.get("LITELLM_MODE"))
"""
    root = str(Path(__file__).parents[2])
    environment = {name: value for name, value in os.environ.items() if name != "LITELLM_MODE"} | {"PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert (done.stdout.strip(), done.stderr) == ("None [] None", "")


async def test_prices_are_those_that_it_uses_itself() -> None:
    litellm = await library()
    for model in ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash", "gpt-5.4-mini"):
        known = prices.table_price(model if "/" in model else f"openai/{model}")
        own = litellm.get_model_info(model)
        assert known.price is not None
        assert known.price.input == round(own["input_cost_per_token"] * 1e9, 6)
        assert known.price.output == round(own["output_cost_per_token"] * 1e9, 6)
        assert known.context == own["max_input_tokens"]
