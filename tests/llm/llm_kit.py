"""What the tests of the model layer share: requests to a stub server, and what came of them."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.ports.model import (
    Delta,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    Price,
    ToolSpec,
)

KEY = "sk-canary-0123456789abcdef"
PRICE = Price(input=1000, output=2000, cached=100, source="test")
GET = ToolSpec("get", "Get a thing.", {"type": "object", "properties": {"q": {"type": "integer"}}})


IMPATIENT: dict[str, dict[str, float]] = {"hang": {"first": 2.0}, "silent": {"idle": 0.3}}
"""The limits that end what would never end. A request is sent within the first of them on slow machines, too; where
something comes, nobody is impatient."""


def target(base: str, mode: str = "stub", **more: Any) -> ModelTarget:
    """A model of the stub server; `mode` is one of its ways to answer."""
    name = mode if "/" in mode or mode == "stub" else f"stub-{mode}"
    model = name if "/" in name else f"openai/{name}"
    given = {"idle": 30.0, "first": 30.0, "timeout": 60.0, "price": PRICE} | more
    return ModelTarget(name=name, model=model, api_base=base, credential="env:KEY", **given)


def request(at: ModelTarget, tools: tuple[ToolSpec, ...] = (), **more: Any) -> ModelRequest:
    """Somebody says hello."""
    given: dict[str, Any] = {"messages": (Message("user", "hello"),), "max_tokens": 50, "key": "s/llm/0#1"} | more
    return ModelRequest(target=at, tools=tools, **given)


async def ask(wanted: ModelRequest, deltas: list[Delta] | None = None, provider: LiteLLM | None = None) -> ModelAnswer:
    """The answer."""
    return await (provider or LiteLLM()).answer(wanted, KEY, deltas.append if deltas is not None else lambda _: None)


async def failure(wanted: ModelRequest, provider: LiteLLM | None = None) -> ModelFailed:
    """How it fails."""
    with pytest.raises(ModelFailed) as raised:
        await ask(wanted, None, provider)
    return raised.value
