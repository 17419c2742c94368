"""Models through litellm: real ones, and those of local servers. Every method makes one request.

A server that is not the provider's own is always given a key, so that none of the environment goes to it.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import msgspec

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.llm import failures, prices
from fleetprompt.engine.llm.chunks import Chunks, chunks_of
from fleetprompt.engine.llm.images import media_type, parse_size
from fleetprompt.engine.llm.library import image_client, imported, is_imported, library, mark_google_ends
from fleetprompt.engine.llm.providers import LITELLM, PROVIDERS, Room
from fleetprompt.engine.llm.redaction import Redact, redactor
from fleetprompt.engine.llm.stream import Assembler, CallPiece, estimate_tokens
from fleetprompt.engine.llm.wire import messages_out, rough_tokens, tools_out
from fleetprompt.engine.ports.model import (
    EmbeddingAnswer,
    ImageAnswer,
    ImageRequest,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    OnDelta,
    ToolSpec,
    Usage,
)

T = TypeVar("T")

CALL_HEADER: Final = "x-fleetprompt-call"
TRACE_HEADER: Final = "traceparent"
CONNECT: Final = 15.0
"""Seconds to get a connection: one that is not there after them was never sent anything."""
MOST_IMAGE: Final = 64 * 1024 * 1024
NO_KEY: Final = "none"
"""What a server that wants no key is sent in place of one."""
_GOOGLE: Final = ("gemini/", "vertex_ai/")
_WITH_TOOLS: Final = {"openai", "azure"}
"""Providers that take a JSON Schema for the answer beside tools."""


class LiteLLM:
    """Real models, and those of local servers."""

    def __init__(self, redact: Redact = lambda text: text) -> None:
        """`redact` takes secrets out of a text; the key of a request is taken out in any case."""
        self._redact = redact

    @property
    def loaded(self) -> bool:
        """Whether litellm is imported."""
        return is_imported()

    async def load(self) -> None:
        """Import it, in a thread."""
        await library()

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        """The answer, received as a stream. Raises `ModelFailed`."""
        target = request.target
        received = _Received(time.monotonic())

        async def ask() -> ModelAnswer:
            litellm = await library()
            arguments = _asked(litellm, request, credential)
            if target.model.startswith(_GOOGLE):
                mark_google_ends()
            received.began = time.monotonic()
            async with _patience(target, received) as watch:
                stream: Any = await litellm.acompletion(**arguments)
                try:
                    await _receive(chunks_of(litellm, stream), watch, target, received, on_delta)
                finally:
                    await stream.aclose()
            return _answered(request, received)

        return await self._guarded(ask, target, credential, received)

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer:
        """A picture. Raises `ModelFailed`."""
        target = request.target
        received = _Received(time.monotonic())

        async def ask() -> ImageAnswer:
            litellm = await library()
            arguments = {
                **_common(target, credential, request.key),
                "prompt": request.prompt,
                "size": request.size,
                "n": 1,
            }
            if "dall-e" in target.model:
                arguments["response_format"] = "b64_json"
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(_total(target, received))
                if target.model.startswith("openai/"):
                    client = image_client(credential or NO_KEY, target.api_base, arguments["timeout"])
                    arguments["client"] = await stack.enter_async_context(client)
                found: Any = await litellm.aimage_generation(**arguments)
                picture = next(iter(found.data or ()), None)
                if picture is None:
                    raise failures.unusable(target.name, "sent no picture", 0)
                data = await _picture(picture, target)
            told = _usage(getattr(found, "usage", None), "input_tokens", "output_tokens")
            usage = told or _unsaid_usage(request)
            return ImageAnswer(
                data=data,
                media_type=media_type(data),
                usage=usage,
                cost_nano=prices.cost(target.price, usage, images=1),
                price=target.price.source if target.price else "",
                model=target.model,
                seconds=time.monotonic() - received.began,
                revised_prompt=getattr(picture, "revised_prompt", None) or "",
            )

        return await self._guarded(ask, target, credential, received)

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer:
        """Vectors of texts, in their order. Raises `ModelFailed`."""
        received = _Received(time.monotonic())

        async def ask() -> EmbeddingAnswer:
            litellm = await library()
            async with _total(target, received):
                found: Any = await litellm.aembedding(
                    **_common(target, credential), input=list(texts), encoding_format="float"
                )
            rows = sorted((_plain(item) for item in found.data or ()), key=lambda item: int(item.get("index") or 0))
            vectors = tuple(tuple(float(number) for number in row["embedding"]) for row in rows)
            if len(vectors) != len(texts):
                raise failures.unusable(target.name, f"sent {len(vectors)} vectors for {len(texts)} texts", 0)
            usage = _usage(getattr(found, "usage", None)) or Usage(
                input=rough_tokens([Message("user", text) for text in texts]), source="estimated"
            )
            return EmbeddingAnswer(
                vectors=vectors,
                usage=usage,
                cost_nano=prices.cost(target.price, usage),
                price=target.price.source if target.price else "",
                model=str(getattr(found, "model", None) or target.model),
            )

        return await self._guarded(ask, target, credential, received)

    async def count(self, target: ModelTarget, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Tokens that a prompt takes, by the tokenizer that litellm has for the model, and never fewer than two thirds
        of a guess by its size: for most models the tokenizer is another one's."""
        litellm = await library()
        guess = rough_tokens(messages, tools)
        told = tools_out(tools) or None
        counted = await asyncio.to_thread(_counted, litellm, target.model, messages_out(messages), told)
        return max(counted, guess * 2 // 3)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        if is_imported():
            litellm = imported()
            await litellm.close_litellm_async_clients()
            # It keeps what it has closed, and would hand it out to the next engine of this process.
            litellm.in_memory_llm_clients_cache.flush_cache()

    async def _guarded(
        self, ask: Callable[[], Awaitable[T]], target: ModelTarget, credential: str, received: _Received
    ) -> T:
        """Ask, and turn whatever goes wrong into a `ModelFailed` that holds no key and leads to no object that does."""
        try:
            return await ask()
        except ModelFailed as error:
            failed = error
        except Exception as error:
            failed = failures.failure(
                failures.fault_of(error),
                model=target.name,
                base=target.api_base,
                begun=received.begun,
                received=received.tokens,
                now=time.time(),
            )
        # Outside of the handler, so that the original, whose frames hold the key, is not its context.
        clean = redactor(credential, self._redact)
        raise ModelFailed(
            clean(failed.message),
            kind=failed.kind,
            code=failed.code,
            retryable=failed.retryable,
            spent=failed.spent,
            retry_after=failed.retry_after,
            status=failed.status,
            received=failed.received,
            hint=clean(failed.hint),
        )


@PROVIDERS.register(LITELLM)
def _made(room: Room) -> LiteLLM:
    return LiteLLM(room.redact)


class _Received:
    """What came of an answer so far."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.first: float | None = None
        self.assembler = Assembler()
        self.usage: Usage | None = None
        """What the provider said was used."""
        self.model = ""
        self.finish: str | None = None
        """Why it ended, where the provider said so."""
        self.limit = "first"
        """The limit in the model's settings that is the next to be reached."""

    @property
    def begun(self) -> bool:
        return self.first is not None

    @property
    def tokens(self) -> int:
        return self.assembler.tokens


@asynccontextmanager
async def _patience(target: ModelTarget, received: _Received) -> AsyncGenerator[asyncio.Timeout]:
    """Time runs out when nothing comes for too long. Raises `ModelFailed` with the limit that was reached."""
    loop = asyncio.get_running_loop()
    watch = asyncio.timeout_at(loop.time() + min(target.first, target.timeout))
    received.limit = "first" if target.first < target.timeout else "timeout"
    try:
        async with watch:
            yield watch
    except TimeoutError:
        if not watch.expired():
            raise
        seconds = {"first": target.first, "idle": target.idle, "timeout": target.timeout}[received.limit]
        raise failures.silent(target.name, seconds, received.tokens, received.limit) from None


@asynccontextmanager
async def _total(target: ModelTarget, received: _Received) -> AsyncGenerator[None]:
    received.began = time.monotonic()
    watch = asyncio.timeout(target.timeout)
    try:
        async with watch:
            yield
    except TimeoutError:
        if not watch.expired():
            raise
        raise failures.silent(target.name, target.timeout, 0, "timeout") from None


async def _receive(
    chunks: Chunks, watch: asyncio.Timeout, target: ModelTarget, received: _Received, on_delta: OnDelta
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time() - (time.monotonic() - received.began)
    end = began + target.timeout
    add = received.assembler.add
    async for chunk in chunks:
        now = loop.time()
        if received.first is None:
            received.first = now - began
        received.limit = "idle" if now + target.idle < end else "timeout"
        watch.reschedule(min(now + target.idle, end))
        for choice in chunk.choices or ():
            delta = choice.delta
            reasoning = getattr(delta, "reasoning_content", None) or ""
            calls = [_piece(call) for call in delta.tool_calls or ()]
            for shown in add(delta.content or "", reasoning, calls):
                on_delta(shown)
    received.model = chunks.model
    received.finish = chunks.finish
    for usage in filter(None, map(_usage, chunks.usage)):
        received.usage = _later(received.usage, usage)


def _later(before: Usage | None, usage: Usage) -> Usage:
    """What was said of usage last, and what of it was said only before."""
    if before is None:
        return usage
    return Usage(
        usage.input or before.input,
        usage.output or before.output,
        usage.cached or before.cached,
        usage.reasoning or before.reasoning,
    )


def _piece(call: Any) -> CallPiece:
    function = call.function
    return CallPiece(
        call.index,
        call.id or "",
        (function.name or "") if function is not None else "",
        (function.arguments or "") if function is not None else "",
    )


def _answered(request: ModelRequest, received: _Received) -> ModelAnswer:
    """The whole answer. Raises `ModelFailed` for a stream that litellm says is finished and is not."""
    target, assembler = request.target, received.assembler
    finish = received.finish
    if finish is None:
        raise failures.truncated(target.name, received.tokens)
    assembled = assembler.end(finish)
    if finish == "MALFORMED_FUNCTION_CALL":
        raise failures.unusable(target.name, "called a tool in a way that cannot be read", received.tokens)
    if finish in ("tool_calls", "function_call") and not assembled.calls and not assembled.text:
        raise failures.unusable(target.name, "said that it calls tools, and called none", received.tokens)
    usage = received.usage or Usage(
        input=rough_tokens(request.messages, request.tools), output=received.tokens, source="estimated"
    )
    return ModelAnswer(
        text=assembled.text,
        reasoning=assembled.reasoning,
        calls=assembled.calls,
        finish=assembled.finish,
        usage=usage,
        model=received.model or target.model,
        cost_nano=prices.cost(target.price, usage),
        price=target.price.source if target.price else "",
        seconds=time.monotonic() - received.began,
        first=received.first,
    )


def _common(target: ModelTarget, credential: str, key: str = "", traceparent: str = "") -> dict[str, Any]:
    """What every kind of request is given."""
    headers = dict(target.headers) | ({CALL_HEADER: key} if key else {})
    headers |= {TRACE_HEADER: traceparent} if traceparent else {}
    given: dict[str, Any] = {
        "model": target.model,
        "timeout": httpx.Timeout(target.timeout, connect=min(CONNECT, target.timeout)),
        "max_retries": 0,
        "no-log": True,
    }
    if target.api_base:
        given["api_base"] = target.api_base
    if credential or target.api_base:
        given["api_key"] = credential or NO_KEY
    if headers:
        given["extra_headers"] = headers
    return given


def _asked(litellm: Any, request: ModelRequest, credential: str) -> dict[str, Any]:
    target = request.target
    provider = target.model.partition("/")[0]
    given = _common(target, credential, request.key, request.traceparent) | {
        "messages": messages_out(request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
    }
    if request.temperature is not None:
        given["temperature"] = request.temperature
    if request.tools:
        given["tools"] = tools_out(request.tools)
        given["tool_choice"] = request.choice
    if request.schema is not None and (not request.tools or provider in _WITH_TOOLS) and _takes_schema(litellm, target):
        schema = msgspec.to_builtins(request.schema)
        given["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    return given


def _takes_schema(litellm: Any, target: ModelTarget) -> bool:
    try:
        return bool(litellm.supports_response_schema(model=target.model))
    except Exception:
        return False


def _usage(usage: Any, input_key: str = "prompt_tokens", output_key: str = "completion_tokens") -> Usage | None:
    """What a provider says was used; None where it says nothing that makes sense."""
    told = _plain(usage)
    if not told or not (told.get(input_key) or told.get(output_key)):
        return None
    cached = _plain(told.get("prompt_tokens_details")).get("cached_tokens")
    reasoning = _plain(told.get("completion_tokens_details")).get("reasoning_tokens")
    used, made = told.get(input_key), told.get(output_key)
    return Usage(int(used or 0), int(made or 0), int(cached or 0), int(reasoning or 0))


def _unsaid_usage(request: ImageRequest) -> Usage:
    """What a picture took at most, where the provider does not say it and is paid by it."""
    price = request.target.price
    if price is None or price.image or not price.output:
        return Usage()
    width, height = parse_size(request.size)
    return Usage(estimate_tokens(request.prompt), prices.picture_tokens(width * height), source="estimated")


def _plain(value: Any) -> dict[str, Any]:
    """An object of litellm's as the mapping that it was sent as."""
    return mapping(value if value is None or isinstance(value, dict) else value.model_dump())


def _counted(litellm: Any, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> int:
    try:
        return int(litellm.token_counter(model=model, messages=messages, tools=tools))
    except Exception:
        return 0


async def _picture(picture: Any, target: ModelTarget) -> bytes:
    """The bytes of a picture, fetched where only its address was sent."""
    if encoded := getattr(picture, "b64_json", None):
        try:
            return b64decode(encoded, validate=True)
        except NotBase64:
            raise failures.unusable(target.name, "sent a picture that is not base64", 0) from None
    url = str(getattr(picture, "url", None) or "")
    # Elsewhere than at the server itself, only what cannot be an address of the own network by mistake.
    if not url.startswith("https://") and not (target.api_base and _origin(url) == _origin(target.api_base)):
        raise failures.unusable(target.name, "sent a picture without data, or at an address that is not https", 0)
    data = bytearray()
    client = httpx.AsyncClient(timeout=target.timeout, follow_redirects=False)
    async with client, client.stream("GET", url) as response:
        response.raise_for_status()
        async for part in response.aiter_bytes():
            data += part
            if len(data) > MOST_IMAGE:
                raise failures.unusable(target.name, f"sent a picture of more than {MOST_IMAGE:,} bytes", 0)
    return bytes(data)


def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.host, parsed.port
