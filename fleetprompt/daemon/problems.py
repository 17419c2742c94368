"""What went wrong, as RFC 9457 problem documents with the product's codes. Nobody ever sees a traceback."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from fleetprompt.client.definitions import InvalidFile, ProblemCode, as_json
from fleetprompt.client.http.messages import PATH as CONSOLE
from fleetprompt.client.identity import Forbidden
from fleetprompt.daemon.models import Problem
from fleetprompt.engine.core.errors import (
    FleetError,
    InvalidInput,
    NotFound,
    RateLimited,
    Refused,
    StoreUnavailable,
    TimedOut,
)

MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[FleetError], int], ...] = (
    (Forbidden, 403),
    (NotFound, 404),
    (Refused, 409),
    (InvalidInput, 422),
    (RateLimited, 429),
    (TimedOut, 504),
    (StoreUnavailable, 503),
)
_LISTED = {
    "runs": "executions",
    "approvals": "approvals",
    "signals": "signals",
    "signals dead": "signals/dead-letters",
    "memory": "memory",
    "workflows": "workflows",
}
_INSTEAD = (
    (re.compile(rf"`fleet ({'|'.join(_LISTED)})` lists"), lambda found: f"GET /api/{_LISTED[found[1]]} lists"),
    (re.compile(r"^fleet workflows activate (\S+)$"), r"POST /api/workflows/\1/activate"),
    (re.compile(r"^--force writes over it$"), "PUT changes what is there"),
)
"""Commands that hints name, and what does the same here."""
GIVEN_OUT: Counter[int] = Counter()
"""Problem documents since this process began, by status: what was refused is counted, and leaves nothing else."""
_log = logging.getLogger(__name__)


class HttpProblem(Exception):
    """An answer other than success that is about HTTP itself: who asks, how much, in what form.

    `code` is one of the product's codes, `headers` go with the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "VALIDATION_ERROR",
        hint: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.hint = hint
        self.headers = headers or {}


def problem(
    status: int,
    detail: str,
    code: str,
    *,
    where: str = "",
    hint: str = "",
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The document as a response, which is counted."""
    GIVEN_OUT[status] += 1
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        where=where,
        hint=hint,
        errors=errors or [],
    )
    return JSONResponse(document.model_dump(exclude_defaults=True), status, headers=headers, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Have an application answer every exception with a problem document."""
    app.add_exception_handler(FleetError, of_fleet)
    app.add_exception_handler(HttpProblem, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(ValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(ClientDisconnect, _of_nobody)
    app.add_exception_handler(Exception, _of_anything)


def status_of(error: FleetError) -> int:
    """The HTTP status of one of the product's errors."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def of_fleet(request: Request, error: Exception) -> JSONResponse:
    """The document about one of the product's errors."""
    assert isinstance(error, FleetError)
    if isinstance(error, InvalidFile):
        found = [as_json(each) for each in error.problems]
        given = all(each.code is ProblemCode.BAD_INPUT for each in error.problems)
        said = "the inputs do not fit what the workflow declares" if given else "the definition has problems"
        return problem(422, said, error.code, errors=found)
    wait = error.retry_after if isinstance(error, RateLimited) else 1.0 if isinstance(error, StoreUnavailable) else None
    headers = {"Retry-After": str(math.ceil(wait))} if wait is not None else None
    hint = error.hint if request.url.path.startswith(f"{CONSOLE}/") else _over_http(error.hint)
    return problem(status_of(error), error.message, error.code, where=error.where, hint=hint, headers=headers)


def _over_http(hint: str) -> str:
    """What to do next, for who has no command line but this."""
    for said, instead in _INSTEAD:
        hint = said.sub(instead, hint)
    return hint


async def answer_to(request: Request, error: HttpProblem | FleetError) -> JSONResponse:
    """The document about either, for who answers before the application does."""
    return await (of_fleet(request, error) if isinstance(error, FleetError) else _of_http(request, error))


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpProblem)
    return problem(error.status, error.detail, error.code, hint=error.hint, headers=error.headers)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)
    if isinstance(error, RequestValidationError) and isinstance(error.body, bytes) and not _says_json(request):
        # The framework leaves such a body as it is, and then says that it is no object.
        return problem(415, "send application/json", "VALIDATION_ERROR", hint="say so in Content-Type")
    skip = 1 if isinstance(error, RequestValidationError) else 0
    found = [
        {
            "pointer": "/" + "/".join(str(part) for part in each["loc"][skip:]),
            "in": str(each["loc"][0]) if skip else "body",
            "detail": each["msg"],
        }
        for each in error.errors()
    ]
    malformed = any(each["type"] == "json_invalid" for each in error.errors())
    said = "the body is not JSON" if malformed else "the request does not fit its description"
    return problem(400 if malformed else 422, said, "VALIDATION_ERROR", errors=found)


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


async def _of_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    hint = "GET /api/openapi.json describes everything" if error.status_code == 404 else ""
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, str(error.detail), "VALIDATION_ERROR", hint=hint, headers=headers)


async def _of_nobody(request: Request, error: Exception) -> Response:
    """Its sender has gone before all of it was there: nobody is left to read an answer, and nothing went wrong here."""
    return Response(status_code=400)


async def _of_anything(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "something went wrong here", "INTERNAL", hint="the log of the daemon says what")
