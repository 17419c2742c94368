"""How answers are given: with an entity tag, and lists in pages."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel, TypeAdapter

_any = TypeAdapter(Any)


def read(request: Request, value: BaseModel | Sequence[BaseModel] | Any, **headers: str) -> Response:
    """What was asked for, or 304 for who has it already (`If-None-Match`, RFC 9110 13.1.2)."""
    body = _any.dump_json(value)
    tag = tag_of(body)
    headers = {"ETag": tag, "Cache-Control": "no-cache", **headers}
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def tag_of(value: Any) -> str:
    """The entity tag of an answer: of its bytes, or of what it is made from."""
    body = value if isinstance(value, bytes) else _any.dump_json(value)
    return f'W/"{sha256(body).hexdigest()[:24]}"'


def page(request: Request, rows: Sequence[BaseModel], cursor: str) -> Response:
    """A page of a list; `Link: …; rel="next"` (RFC 8288) leads to the next one."""
    if not cursor:
        return read(request, rows)
    given = [(name, value) for name, value in request.query_params.multi_items() if name not in ("cursor", "ticket")]
    link = f'<{request.url.path}?{urlencode([*given, ("cursor", cursor)])}>; rel="next"'
    return read(request, rows, Link=link)
