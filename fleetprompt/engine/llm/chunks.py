"""The chunks of an answer, through litellm, and what they say of its end.

litellm makes new objects of each chunk three times over, keeps them all, and counts tokens in them at the end: two
thirds of the processor time of a stream. Where it reads through OpenAI's library, what that has read is taken as it is
if it is a piece of text or of reasoning and nothing else, and litellm is given the rest: calls, usage and endings.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import httpx

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.llm.library import SAID, openai_below


class Chunks(Protocol):
    """The chunks of a stream. Once all are read, how it ended."""

    model: str
    usage: list[Any]
    """What the provider said of usage, in its order."""

    @property
    def finish(self) -> str | None:
        """Why it ended, where the provider said so."""
        ...

    def __aiter__(self) -> Chunks: ...

    async def __anext__(self) -> Any: ...


def chunks_of(litellm: Any, stream: Any) -> Chunks:
    """The chunks of a stream that litellm has opened."""
    refused = openai_below(stream)
    return Straight(litellm, stream, refused) if refused is not None else Made(stream)


class Made:
    """As litellm makes them."""

    def __init__(self, stream: Any) -> None:
        self.model = ""
        self.finish: str | None = None
        self.usage: list[Any] = []
        self._stream = stream

    def __aiter__(self) -> Made:
        return self

    async def __anext__(self) -> Any:
        stream = self._stream
        try:
            chunk = await anext(stream)
        except StopAsyncIteration:
            # What a chunk says of a finish can be made up; this was sent.
            sent = stream.received_finish_reason or getattr(stream.completion_stream, SAID, None)
            self.finish = str(sent) if sent else None
            # litellm makes usage up where the provider sent none: only what is in the chunks themselves was sent.
            if not any(getattr(one, "usage", None) is not None for one in stream.chunks):
                self.usage = []
            raise
        if not self.model:
            self.model = getattr(chunk, "model", None) or ""
        if (usage := getattr(chunk, "usage", None)) is not None:
            self.usage = [usage]
        return chunk


class Straight:
    """As OpenAI's library reads them, by the rules by which litellm passes them on."""

    def __init__(self, litellm: Any, stream: Any, refused: type[Exception]) -> None:
        self.model = str(stream.model)
        self.usage: list[Any] = []
        self._litellm = litellm
        self._refused = refused
        self._stream = stream
        self._source: Final = stream.completion_stream

    @property
    def finish(self) -> str | None:
        sent = self._stream.received_finish_reason
        return str(sent) if sent else None

    def __aiter__(self) -> Straight:
        return self

    async def __anext__(self) -> Any:
        try:
            while True:
                chunk = await anext(self._source)
                if _is_plain(chunk):
                    return chunk
                made = self._stream.chunk_creator(chunk=chunk)
                if made is None:
                    continue
                if (usage := getattr(made, "usage", None)) is not None:
                    self.usage.append(usage)
                return made
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if self.finish is None:
                raise
            # Nothing is missing of an answer that has said why it ends.
            raise StopAsyncIteration from None
        except self._refused as error:
            # An error as a frame of the stream.
            raise self._litellm.exceptions.MidStreamFallbackError(
                message=str(error), model=self.model, llm_provider="openai", original_exception=error
            ) from error


def _is_plain(chunk: Any) -> bool:
    """It holds a piece of text or of reasoning, and nothing else that matters. Nothing of it has been checked."""
    choices: Any = getattr(chunk, "choices", None)
    if type(choices) is not list or getattr(chunk, "usage", None) is not None:
        return False
    choice, *others = cast("list[Any]", choices) or [None]
    if others:
        return False
    delta = getattr(choice, "delta", None)
    if getattr(choice, "finish_reason", None) or getattr(delta, "tool_calls", None) is not None:
        return False
    if getattr(delta, "function_call", None) is not None:
        return False
    more = mapping(getattr(delta, "model_extra", None))
    reasoning = more.get("reasoning_content")
    if any(value and name != "reasoning_content" for name, value in more.items()):
        return False
    text = getattr(delta, "content", None)
    return isinstance(text or "", str) and isinstance(reasoning or "", str) and bool(text or reasoning)
