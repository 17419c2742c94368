"""Recordings: what models answered, to be asked again without them.

JSON lines, each an entry: `kind` (answer, failure, image, embedding), `digest` of what was asked, `key` (where in the
run, and which attempt), `model`, and what came of it. Written redacted; the digest is of the request before that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import digest, mapping
from fleetprompt.engine.core.errors import InvalidInput, Refused
from fleetprompt.engine.llm.providers import Lines
from fleetprompt.engine.ports.model import (
    Delta,
    EmbeddingAnswer,
    ImageAnswer,
    ImageRequest,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
)

FORMAT: Final = 1
"""Version of the entries; other ones are refused."""
KINDS: Final = ("answer", "failure", "image", "embedding")

_RUN = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/")

Source: TypeAlias = Path | Callable[[], Lines]
"""A file, or what gives the entries, such as the journal of a run."""


class Entry(Struct, frozen=True, kw_only=True):
    """What came of one request."""

    kind: str
    digest: str
    key: str = ""
    model: str = ""
    what: Mapping[str, Any] = {}
    """The answer, or how it failed."""
    place: str = ""
    """Where it is in the recording."""


def request_digest(request: ModelRequest) -> str:
    """What is asked, whoever is asked: messages, tools, temperature, schema and choice."""
    asked = (request.messages, request.tools, request.temperature, request.schema, request.choice)
    return digest(msgspec.to_builtins(asked))


def image_digest(request: ImageRequest) -> str:
    return digest([request.prompt, request.size])


def texts_digest(texts: Sequence[str]) -> str:
    return digest(list(texts))


def place_of(key: str) -> str:
    """The positional key of a call without the attempt at it, and without its run: another one is to be answered."""
    key = within(key)
    return key.rpartition("#")[0] or key


def within(key: str) -> str:
    """The key of an attempt without its run."""
    return _RUN.sub("", key)


def run_of(key: str) -> str:
    """The run in which a call is made; empty where its key does not say it."""
    found = _RUN.match(key)
    return found[0].removesuffix("/") if found else ""


def entry_of(kind: str, digest_: str, key: str, model: str, what: Any) -> dict[str, Any]:
    """An entry as it is written, before redaction."""
    return {"v": FORMAT, "kind": kind, "digest": digest_, "key": key, "model": model, "what": msgspec.to_builtins(what)}


def read(source: Source) -> Iterator[Entry]:
    """The entries of a recording. Raises `InvalidInput`, with the line, for what is none."""
    if not isinstance(source, Path):
        for at, line in enumerate(source(), 1):
            yield _entry(line, f"entry {at}")
        return
    try:
        with source.open("rb") as file:
            for at, text in enumerate(file, 1):
                if text.strip():
                    yield _entry(_decoded(text, f"{source}:{at}"), f"{source}:{at}")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidInput(f"the recording {source} cannot be read: {reason}") from None


def _decoded(text: bytes, place: str) -> Mapping[str, Any]:
    try:
        return mapping(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError):
        hint = "a last line that is cut off belongs to a call that was never finished: remove it"
        raise InvalidInput(f"{place}: this is not JSON", hint=hint) from None


def _entry(line: Mapping[str, Any], place: str) -> Entry:
    if line.get("v") != FORMAT:
        raise InvalidInput(f"{place}: this is not an entry of a recording of version {FORMAT}")
    if line.get("kind") not in KINDS or not isinstance(line.get("what"), dict):
        raise InvalidInput(f"{place}: there is no `kind` of {', '.join(KINDS)} with a `what`")
    texts = {name: str(line.get(name) or "") for name in ("kind", "digest", "key", "model")}
    return Entry(**texts, what=mapping(line["what"]), place=place)


def write(path: Path, entries: Iterable[Mapping[str, Any]], redact: Callable[[str], str] = lambda text: text) -> int:
    """Write a recording to a new file that only its owner can read; how many entries it has. Raises `Refused` where
    there is one already, `InvalidInput` where it cannot be written."""
    lines = [msgspec.json.encode(redacted(entry, redact)) + b"\n" for entry in entries]
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.writelines(lines)
    except FileExistsError:
        raise Refused(f"{path} exists already", hint="give another name") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return len(lines)


def redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """A JSON value with its texts redacted, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redacted(item, redact) for key, item in mapping(value).items()}
    if isinstance(value, list | tuple):
        return [redacted(item, redact) for item in cast("Iterable[Any]", value)]
    return value


def answer_from(entry: Entry) -> ModelAnswer:
    """The answer of an entry. Raises `InvalidInput` for one that is none."""
    return _converted(entry, ModelAnswer)


def image_from(entry: Entry) -> ImageAnswer:
    return _converted(entry, ImageAnswer)


def embedding_from(entry: Entry) -> EmbeddingAnswer:
    return _converted(entry, EmbeddingAnswer)


def _converted(entry: Entry, type_: Any) -> Any:
    try:
        return msgspec.convert(entry.what, type_)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{entry.place}: this is not an {entry.kind}: {error}") from None


def failed_from(entry: Entry) -> ModelFailed:
    """The failure of an entry. Raises `InvalidInput` for one that is none."""
    given = dict(entry.what)
    try:
        return ModelFailed(str(given.pop("message")), **given)
    except (KeyError, TypeError):
        raise InvalidInput(f"{entry.place}: this is not a failure") from None


def deltas_of(answer: ModelAnswer) -> list[Delta]:
    """A recorded answer as pieces to show: it comes whole."""
    deltas = [Delta("reasoning", answer.reasoning)] if answer.reasoning else []
    deltas += [Delta("text", answer.text)] if answer.text else []
    for at, call in enumerate(answer.calls):
        deltas += [Delta("tool_name", call.name, at), Delta("tool_args", call.arguments, at)]
    return deltas
