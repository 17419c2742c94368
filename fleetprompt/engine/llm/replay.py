"""`replay/<file or run>`: a model that answers what it answered when it was recorded.

Strict: what was never asked has no answer. With `@position` at its end the place in the run is what counts, whatever
is asked there: so a changed prompt can be tried against old answers. Nothing is remembered between two calls, so a run
that crashes and goes on is answered the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.llm import recording
from fleetprompt.engine.llm.providers import PROVIDERS, Room
from fleetprompt.engine.llm.recording import Entry, Source, place_of, run_of, within
from fleetprompt.engine.llm.wire import rough_tokens
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
)

BY_POSITION: Final = "@position"
FOLDER: Final = "recordings"


class Replay:
    """Answers from recordings."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._read: dict[Path, tuple[tuple[int, int], list[Entry]]] = {}

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        """What was answered. Raises `ModelFailed`: how it failed, or that it was never asked."""
        entry = await self._found(
            "answer", recording.request_digest(request), request.key, request.target, request.about
        )
        answer = replace(self._made(recording.answer_from, entry), cost_nano=None, price="", seconds=0.0, first=None)
        for delta in recording.deltas_of(answer):
            on_delta(delta)
        return answer

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer:
        entry = await self._found("image", recording.image_digest(request), request.key, request.target, request.about)
        return replace(self._made(recording.image_from, entry), cost_nano=None, price="", seconds=0.0)

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer:
        entry = await self._found("embedding", recording.texts_digest(texts), "", target, {})
        return replace(self._made(recording.embedding_from, entry), cost_nano=None, price="")

    async def count(self, target: ModelTarget, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return rough_tokens(messages, tools)

    async def _found(self, kind: str, digest: str, key: str, target: ModelTarget, about: Any) -> Entry:
        """The entry that answers. Raises `ModelFailed`."""
        name, by_position = _named(target.model)
        source = await self._source(name, run_of(key))
        entries = await asyncio.to_thread(self._entries, source)
        here = [entry for entry in entries if place_of(entry.key) == place_of(key)] if key else []
        same = here if by_position and kind != "embedding" else [entry for entry in entries if entry.digest == digest]
        same = [entry for entry in same if entry.kind in (kind, "failure")]
        # The same attempt, else what was answered at this place in the end, else what was answered to it anywhere.
        found = next((entry for entry in same if key and within(entry.key) == within(key)), None)
        found = found or next((entry for entry in reversed(same) if entry in here and entry.kind == kind), None)
        found = found or next((entry for entry in same if entry.kind == kind), None)
        if found is None:
            where = ", ".join(f"{name} `{about[name]}`" for name in ("step", "agent", "turn") if name in about)
            raise _miss(target.model, f"{key} ({where})" if where else key or digest[:12], here, by_position)
        if found.kind == "failure":
            raise self._made(recording.failed_from, found)
        return found

    def _entries(self, source: Source) -> list[Entry]:
        try:
            if not isinstance(source, Path):
                return list(recording.read(source))
            found = source.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if source not in self._read or self._read[source][0] != stamp:
                self._read[source] = (stamp, list(recording.read(source)))
            return self._read[source][1]
        except FleetError as error:
            raise _failed(error.message, error.hint) from None

    async def _source(self, name: str, asker: str) -> Source:
        """Where the entries are. `asker`: the run that asks, which is answered by runs of its own tenant only."""
        for path in (self._room.root / name, self._room.root / FOLDER / f"{name}.jsonl"):
            if path.is_file():
                return path
        lines = await self._room.recording(name, asker)
        if lines is None:
            hint = f"name a file, {FOLDER}/{name}.jsonl, or the id of a run"
            raise _failed(f"there is no recording `{name}`", hint)
        return lambda: lines

    def _made(self, make: Any, entry: Entry) -> Any:
        try:
            return make(entry)
        except FleetError as error:
            raise _failed(error.message, error.hint) from None


@PROVIDERS.register("replay")
def _replay(room: Room) -> Replay:
    return Replay(room)


def _named(model: str) -> tuple[str, bool]:
    """What is asked, and whether the place alone decides."""
    name = model.partition("/")[2]
    return name.removesuffix(BY_POSITION), name.endswith(BY_POSITION)


def _miss(model: str, asked: str, here: Sequence[Entry], by_position: bool) -> ModelFailed:
    if here and not by_position:
        hint = f"something else was asked at this place when it was recorded; {model}{BY_POSITION} answers all the same"
        return _failed(f"`{model}` was asked something else at {asked}", hint)
    return _failed(f"`{model}` has no answer to {asked}", "record it again, with the workflow as it is now")


def _failed(message: str, hint: str) -> ModelFailed:
    return ModelFailed(message, kind="answer", code="VALIDATION_ERROR", retryable=False, spent="nothing", hint=hint)
