"""What is sent: an address, headers and a body that no input can turn into something else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from fleetprompt import __version__

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, so that they may be sent again."""
FRAMING = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)  # fmt: skip
"""Headers that say where a message ends; the connection sets them."""
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""The name of a header."""
URL_CHARS = 16_384
SHOWN_CHARS = 300
REDACTED = "•••"

_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_NOT_IN_A_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN_IN_QUERY = re.compile(
    r"((?:^|&)[^=&]*(?:token|secret|passw|api_?key|signature|credential|auth)[^=&]*=)[^&]+", re.IGNORECASE
)


class Unusable(Exception):
    """Something that cannot be sent. Names the field, never its value."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Request(Struct, frozen=True, kw_only=True):
    """A request that is ready to be sent."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None = None
    private: frozenset[str] = frozenset()
    """Lower-case names of headers that are for this origin only."""
    derived: tuple[str, ...] = ()
    """Forms of secrets that no redactor by value can know, such as encoded passwords."""


def checked_url(text: str) -> SplitResult:
    """The parts of an `http` or `https` address. Raises `Unusable`."""
    if len(text) > URL_CHARS:
        raise Unusable(f"the URL is longer than {URL_CHARS} characters")
    if _NOT_IN_A_URL.search(text):
        raise Unusable(
            "the URL holds a space, a backslash or a control character",
            "put values into `query`, which encodes them",
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Unusable("the URL cannot be read: its host or port is malformed") from error
    if parts.scheme not in ("http", "https"):
        raise Unusable("the URL has to begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise Unusable("the URL names no host")
    return parts


def prepare(
    *,
    method: str,
    url: str,
    key: str,
    headers: Mapping[str, str],
    secret_headers: frozenset[str],
    query: Mapping[str, list[str]],
    authorization: str = "",
    derived: tuple[str, ...] = (),
    content: bytes | None = None,
    content_type: str = "",
) -> Request:
    """Put a request together. Headers given by the user win over those that we add. Raises `Unusable`."""
    parts = checked_url(url)
    sent = {name: _header_value(name, value) for name, value in headers.items()}
    present = {name.lower() for name in sent}
    if not authorization and parts.username is not None and "authorization" not in present:
        authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        derived = (*derived, authorization.removeprefix("Basic "))
    ours = {
        "User-Agent": f"fleetprompt/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": content_type if content is not None else "",
        "Authorization": _header_value("auth", authorization),
        "Idempotency-Key": "" if method in SAFE_METHODS else _header_value("Idempotency-Key", key),
    }
    sent.update({name: value for name, value in ours.items() if value and name.lower() not in present})
    pairs = [(name, value) for name, values in query.items() for value in values]
    whole = "&".join(part for part in (parts.query, urlencode(pairs, quote_via=quote)) if part)
    private = {name.lower() for name in secret_headers}
    return Request(
        method=method,
        url=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", whole, "")),
        headers=sent,
        content=content,
        private=frozenset(private | {"authorization", "cookie", "host", "idempotency-key"}),
        derived=derived,
    )


def basic(user: str, password: str) -> str:
    """The value of an `Authorization` header with a name and a password. Raises `Unusable`."""
    if ":" in user:
        raise Unusable("`auth.basic.user` must not hold a colon")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def shown(url: str) -> str:
    """An address for logs and errors: without credentials, without what a query calls a token, and not too long."""
    parts = urlsplit(url)
    query = _TOKEN_IN_QUERY.sub(rf"\1{REDACTED}", parts.query)
    text = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _header_value(name: str, value: Any) -> str:
    text = str(value).strip()
    if _NOT_IN_A_HEADER.search(text):
        raise Unusable(f"`{name}` holds a line break or another control character")
    return text
