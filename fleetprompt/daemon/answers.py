"""How answers are given: with an entity tag, and lists in pages."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel, TypeAdapter

from fleetprompt.client.keeping import Changed
from fleetprompt.daemon.problems import HttpProblem
from fleetprompt.engine.core.errors import InvalidInput

_any = TypeAdapter(Any)


def read(request: Request, value: BaseModel | Sequence[BaseModel] | Any, **headers: str) -> Response:
    """What was asked for, or 304 for who has it already (`If-None-Match`, RFC 9110 13.1.2)."""
    return told(request, _any.dump_json(value), "application/json", **headers)


def told(request: Request, body: bytes, media: str, **headers: str) -> Response:
    """The same with a body as it is sent."""
    tag = tag_of(body)
    headers = {"ETag": tag, "Cache-Control": "no-cache", **headers}
    if is_named(tag, request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media, headers=headers)


def tag_of(value: Any) -> str:
    """The entity tag of an answer: of its bytes, or of what it is made from."""
    body = value if isinstance(value, bytes) else _any.dump_json(value)
    return f'"{sha256(body).hexdigest()[:24]}"'


def is_named(tag: str, header: str) -> bool:
    """Whether `If-Match` or `If-None-Match` names a tag. One that was made weak (`W/"…"`) is the same: a proxy that
    compresses an answer makes it so, and what was read is what we have told."""
    named = {each.strip().removeprefix("W/") for each in header.split(",")}
    return tag in named or "*" in named


@contextmanager
def unchanged(if_match: str) -> Generator[None]:
    """While something is written that was looked at before: whoever had a condition and is too late is told that it
    does not hold any more (412)."""
    try:
        yield
    except Changed as error:
        if if_match:
            raise HttpProblem(412, error.message, hint=error.hint) from None
        raise


def page(request: Request, rows: Sequence[BaseModel], cursor: str, name: str = "cursor") -> Response:
    """A page of a list; `Link: …; rel="next"` (RFC 8288) leads to the next one. `name` is what the parameter is called
    that says where it begins."""
    if not cursor:
        return read(request, rows)
    given = [pair for pair in request.query_params.multi_items() if pair[0] not in (name, "ticket")]
    link = f'<{request.url.path}?{urlencode([*given, (name, cursor)])}>; rel="next"'
    return read(request, rows, Link=link)


def position(cursor: str) -> int:
    """The number that a cursor is. Raises `InvalidInput`."""
    if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 16):
        raise InvalidInput("the cursor is not one of this list", hint="take it from the `Link` of the page before")
    return int(cursor or 0)
