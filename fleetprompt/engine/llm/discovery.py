"""Servers for models on this very machine: found by asking the ports that they usually listen on.

Only 127.0.0.1 is asked, past every proxy. All of them are used through their OpenAI-compatible interface, which numbers
tool calls properly.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.ports.model import (
    Message,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    Probe,
    Provider,
    ToolSpec,
)

PATIENCE: Final = 0.3
"""Seconds that a server on this machine may take to say what it has."""


class Place(Struct, frozen=True):
    """Where a server may be."""

    kind: str
    base: str
    """Its OpenAI-compatible address."""
    models: str
    """The address that lists its models."""


class LocalServer(Struct, frozen=True):
    """A server that is there."""

    kind: str
    base: str
    models: tuple[str, ...]
    """Those that can talk."""


def _place(kind: str, port: int, models: str = "/v1/models") -> Place:
    root = f"http://127.0.0.1:{port}"
    return Place(kind, f"{root}/v1", root + models)


PLACES: Final = (
    _place("Ollama", 11434, "/api/tags"),
    _place("LM Studio", 1234),
    _place("vLLM", 8000),
    _place("llama.cpp", 8080),
)


def places(base: str = "") -> tuple[Place, ...]:
    """Where to look; `base` is `OPENAI_API_BASE`, which comes first where it is on this machine."""
    if not is_loopback(base):
        return PLACES
    own = base.rstrip("/")
    return (Place("OPENAI_API_BASE", own, f"{own}/models"), *PLACES)


def is_loopback(address: str) -> bool:
    """An address is on this machine."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def discover(where: Sequence[Place] = PLACES) -> list[LocalServer]:
    """The servers that answer, in the order of the places; those without a model that can talk are left out."""
    client = httpx.AsyncClient(timeout=PATIENCE, trust_env=False, follow_redirects=False)
    async with client, asyncio.TaskGroup() as group:
        asked = [group.create_task(_models(client, place)) for place in where]
    found = [(place, task.result()) for place, task in zip(where, asked, strict=True)]
    return [LocalServer(place.kind, place.base, models) for place, models in found if models]


async def _models(client: httpx.AsyncClient, place: Place) -> tuple[str, ...]:
    try:
        async with asyncio.timeout(PATIENCE):
            response = await client.get(place.models)
        told = mapping(response.json()) if response.status_code == 200 else {}
    except (httpx.HTTPError, ValueError, TimeoutError, OSError):
        return ()
    listed = [mapping(item) for item in (*items(told.get("data")), *items(told.get("models")))]
    names = [str(item.get("id") or item.get("name") or "") for item in listed]
    return tuple(name for name in names if name and "embed" not in name.lower())


_SAY: Final = ToolSpec(
    "say_yes",
    "Say yes.",
    {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]},
)


async def probe(target: ModelTarget, provider: Provider, credential: str) -> Probe:
    """Ask a model to call a tool, once. It is told in `Probe` when it cannot be asked at all."""
    request = ModelRequest(
        target=target,
        messages=(Message("user", "Call the tool `say_yes` with yes=true. Write nothing else."),),
        tools=(_SAY,),
        max_tokens=256,
        temperature=0.0,
        choice="required",
        key="probe",
        about={"step": "probe"},
    )
    try:
        answer = await provider.answer(request, credential, lambda delta: None)
    except ModelFailed as error:
        return Probe(False, error.message, answered=not error.retryable)
    for call in answer.calls:
        try:
            arguments: Any = json.loads(call.arguments)
        except ValueError:
            return Probe(False, f"`{target.name}` calls tools with arguments that are not JSON")
        if call.name == _SAY.name and isinstance(arguments, dict):
            return Probe(True, "")
    return Probe(False, f"`{target.name}` answers with text where it is told to call a tool")
