"""What an answer says: its body as a value, and how long to wait before another request."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

LONGEST_WAIT = 86_400.0
"""Seconds; a server that asks for more is not believed."""
_TEXT_TYPES = ("json", "xml", "javascript", "yaml", "x-www-form-urlencoded", "graphql", "x-ndjson", "csv")


class NotJson(Exception):
    """The body is not JSON."""


def body_value(content: bytes, content_type: str, wanted: str) -> tuple[Any, str]:
    """The body as a value, and its encoding where that is not plain text: `base64` for bytes.

    `auto` goes by the content type; a body that claims to be JSON and is not stays text. `json` raises `NotJson`.
    """
    kind, charset = _content_type(content_type)
    if wanted == "text":
        return _text(content, charset), ""
    if not content:
        return None, ""
    if wanted == "json" or kind == "application/json" or kind.endswith("+json"):
        try:
            return _json(content, charset), ""
        except (ValueError, RecursionError) as error:
            if wanted == "json":
                raise NotJson(f"{kind or 'no content type'}; {error}") from error
    if kind.startswith("text/") or any(part in kind for part in _TEXT_TYPES):
        return _text(content, charset), ""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    return (b64encode(content).decode(), "base64") if "\0" in text else (text, "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait, from a number or a date (measured by the server's own clock)."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    at = _seconds(text)
    if at is None:
        return None
    now = _seconds(headers.get("date", ""))
    return min(max(0.0, at - (time.time() if now is None else now)), LONGEST_WAIT)


def excerpt(content: bytes, content_type: str, chars: int = 2000) -> str:
    """The beginning of a body for an error, as text."""
    value, encoding = body_value(content, content_type.replace("json", "plain"), "auto")
    return "" if encoding or value is None else str(value)[:chars]


def _content_type(text: str) -> tuple[str, str]:
    kind, *parameters = text.lower().split(";")
    charset = next((item.partition("=")[2] for item in parameters if item.strip().startswith("charset=")), "")
    return kind.strip(), charset.strip().strip("\"'")


def _text(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        # Not an encoding, or one of Python's own that does not give text.
        return content.decode("utf-8", "replace")


def _json(content: bytes, charset: str) -> Any:
    if charset in ("", "utf-8", "utf8", "us-ascii", "ascii"):
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    return msgspec.json.decode(_text(content, charset))


def _seconds(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
