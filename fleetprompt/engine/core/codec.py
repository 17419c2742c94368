"""Bytes to facts and back. Tags are never renamed; an old shape is lifted to today's by an upcaster.

Stored form: the JSON of one fact, tagged by `type`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

import msgspec

from fleetprompt.engine.core.facts import AnyFact

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[AnyFact] = msgspec.json.Decoder(AnyFact)

encode: Callable[[AnyFact], bytes] = _encoder.encode

UPCASTERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Tag to a function that lifts an old shape; tried when the plain decode fails."""


class CorruptFact(Exception):
    """Stored bytes that are not a fact."""


def decode(data: bytes | str) -> AnyFact:
    """The fact in these bytes. Raises `CorruptFact` when they are none."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _lift(data, error)


def _lift(data: bytes | str, error: Exception) -> AnyFact:
    try:
        raw = mapping(msgspec.json.decode(data))
        upcaster = UPCASTERS.get(str(raw.get("type")))
        if upcaster is not None:
            return msgspec.convert(upcaster(raw), AnyFact)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        pass
    raise CorruptFact(f"not a fact: {error}") from error


def mapping(value: Any) -> dict[str, Any]:
    """A JSON value as the mapping it should be; an empty one when it is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A JSON value as the list it should be: one thing is a list of one, nothing is an empty one."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    return [] if value is None else [value]


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes (after RFC 8785, for what JSON can hold)."""
    return _canonical.encode(value)


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of a value, as hex."""
    return sha256(canonical(value)).hexdigest()
