"""Bodies that are definitions: YAML, or JSON."""

from __future__ import annotations

import json

from fastapi import Request

from fleetprompt.daemon.problems import HttpProblem

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def content_type(request: Request) -> str:
    """The media type of a body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def sent_text(request: Request, most: int) -> str:
    """The text of a definition of at most so many bytes. Raises `HttpProblem`."""
    kind = content_type(request)
    if kind != JSON and kind not in YAML:
        raise HttpProblem(415, "send application/yaml or application/json")
    body = await request.body()
    if len(body) > most:
        raise HttpProblem(413, f"a definition may have {most:,} bytes")
    try:
        text = body.decode()
        if kind == JSON:
            json.loads(text)
    except UnicodeDecodeError:
        raise HttpProblem(400, "the definition is not UTF-8") from None
    except (ValueError, RecursionError):
        raise HttpProblem(400, "the body is not JSON") from None
    return text
