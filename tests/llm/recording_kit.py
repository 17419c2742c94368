"""A provider whose answers and failures become a recording, so that what is replayed is what was really answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetprompt.engine.llm.recording import entry_of, image_digest, request_digest, texts_digest, write
from fleetprompt.engine.ports.model import (
    EmbeddingAnswer,
    ImageAnswer,
    ImageRequest,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    OnDelta,
    Provider,
)


class Recorded:
    """Keeps what came of each request until it is written."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.entries: list[dict[str, Any]] = []

    def write(self, path: Path, redact: Callable[[str], str] = lambda text: text) -> None:
        write(path, self.entries, redact)

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        return await self._noted(
            "answer",
            request_digest(request),
            request.key,
            request.target,
            self._provider.answer(request, credential, on_delta),
        )

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer:
        return await self._noted(
            "image", image_digest(request), request.key, request.target, self._provider.image(request, credential)
        )

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer:
        asked = self._provider.embed(target, texts, credential)
        return await self._noted("embedding", texts_digest(texts), "", target, asked)

    async def _noted(self, kind: str, digest_: str, key: str, target: ModelTarget, asked: Any) -> Any:
        try:
            answer: Any = await asked
        except ModelFailed as error:
            names = ("message", "kind", "code", "retryable", "spent", "retry_after", "status", "received", "hint")
            failure = {name: getattr(error, name) for name in names}
            self.entries.append(entry_of("failure", digest_, key, target.model, failure))
            raise
        self.entries.append(entry_of(kind, digest_, key, target.model, answer))
        return answer
