"""What a function returned, as the JSON value that the journal will hold: no later reader sees anything else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import msgspec

DEEPEST = 200
"""Levels of nesting that are searched for what cannot be converted."""


class NotJson(Exception):
    """A value that JSON cannot hold: what and where."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def as_json(value: Any) -> Any:
    """The value as plain JSON data, a copy. Raises `NotJson`."""
    if value is None or value is True or value is False:
        return value
    try:
        text = _encode(value)
    except Exception as error:
        # The encoder does not say where, and a conversion of the value's own class may raise anything.
        _search(value, "", 0)
        raise NotJson(f"it cannot be converted: {type(error).__name__}: {error}") from error
    # The encoder writes a number that is not finite as null. Null is rare enough to look closer whenever there is one.
    if b"null" in text:
        _search(value, "", 0)
    return _decode(text)


def _hook(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError("no conversion")
    return dump(mode="json")


_encode = msgspec.json.Encoder(enc_hook=_hook).encode
_decode = msgspec.json.Decoder().decode


def _search(value: Any, at: str, depth: int) -> None:
    """Find the first part that cannot be converted and name its place."""
    if depth > DEEPEST:
        raise NotJson("it is nested too deeply, or refers to itself")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotJson(f"{_place(at)} is {value}, which JSON cannot hold", "return None or a text instead")
    elif isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            _part({key: 0}, at, key, f"a key of {_place(at)}")
            _search(item, f"{at}.{key}", depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for i, item in enumerate(cast("Iterable[Any]", value)):
            _search(item, f"{at}[{i}]", depth + 1)
    else:
        _part(value, at, value, _place(at))


def _part(value: Any, at: str, culprit: Any, place: str) -> None:
    try:
        text = _encode(value)
        plain = _decode(text)
    except Exception as error:
        kind = cast("type[Any]", type(culprit))
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(culprit, str):
            raise NotJson(f"{place} is text with broken Unicode (surrogates)", "decode it properly") from error
        raise NotJson(f"{place} is {name}", "return texts, numbers, lists, mappings or dataclasses") from error
    if isinstance(plain, dict | list) and b"null" in text:
        _search(msgspec.to_builtins(value, enc_hook=_hook), at, 1)


def _place(at: str) -> str:
    return f"`{at.lstrip('.')}`" if at else "it"
