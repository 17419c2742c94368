"""`http`: send a request. The outcome says whether the other side acted on it, did not, or whether nobody can tell."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias
from urllib.parse import urlencode

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationError, model_validator
from pydantic import WithJsonSchema as Schema

from fleetprompt.engine.core.plan import Repeat
from fleetprompt.engine.definition.fields import Templated, one_or_many, wrong
from fleetprompt.engine.definition.parts import Part
from fleetprompt.engine.definition.step import StepModel, step
from fleetprompt.engine.outside.http_answer import NotJson, body_value, excerpt, retry_after
from fleetprompt.engine.outside.http_request import (
    FRAMING,
    REDACTED,
    SAFE_METHODS,
    Request,
    Unusable,
    basic,
    checked_url,
    prepare,
    shown,
)
from fleetprompt.engine.outside.wording import failed, size, took
from fleetprompt.engine.ports import Context, Done, Outcome, Unknown
from fleetprompt.engine.steps._values import OptionalWord, Words, pointer, revealed, unusable

if TYPE_CHECKING:
    from fleetprompt.engine.outside.http_exchange import Answer, Clients, Follow, Trouble

ERROR_BODY = 64 * 1024
"""Bytes of an unexpected answer that are read."""
COME_BACK = frozenset({408, 425, 429})
"""Client errors that another attempt can cure."""


def _url(text: str) -> str:
    try:
        checked_url(text)
    except Unusable as error:
        raise wrong(error.message, error.hint) from None
    return text


def _headers(headers: dict[str, str | None]) -> dict[str, str | None]:
    for name in headers:
        if name.lower() in FRAMING:
            raise wrong(f"the header `{name}` belongs to the connection and cannot be set")
    return headers


def _status(value: Any) -> str:
    text = str(value)
    if match := re.fullmatch(r"([1-5])xx", text):
        return f"{match[1]}00-{match[1]}99"
    low, _, high = text.partition("-")
    if isinstance(value, bool) or not re.fullmatch(r"[1-5]\d\d(-[1-5]\d\d)?", text) or (high and high < low):
        raise wrong("a status is a number such as 200, a range such as 200-299, or 2xx")
    return text


Url: TypeAlias = Annotated[
    str, AfterValidator(_url), Schema({"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"})
]
Method: TypeAlias = Annotated[
    Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
HeaderName: TypeAlias = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=200)]
TRACE = "traceparent"
"""The header that says where in a trace a request comes from (W3C Trace Context)."""
Headers: TypeAlias = Annotated[dict[HeaderName, OptionalWord], AfterValidator(_headers)]
Status: TypeAlias = Annotated[str, PlainValidator(_status), Schema({"type": ["integer", "string"]})]


class Basic(Part):
    """A name and a password."""

    user: str
    password: str = ""


class Auth(Part):
    """Who we are to the other side: `bearer` or `basic`. Secrets are allowed here."""

    bearer: str | None = None
    """A token: `Authorization: Bearer …`."""
    basic: Basic | None = None
    """`{user, password}`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.bearer is None) == (self.basic is None):
            raise wrong("`auth` is either {bearer: …} or {basic: {user: …, password: …}}")
        return self


@step("http")
class Http(StepModel):
    """Send an HTTP request. Output: `{status, headers, body, url, elapsed_ms}`.

    GET, HEAD and OPTIONS may be repeated; other methods are sent once with an `Idempotency-Key` header that is the same
    for every attempt. An answer whose status `expect` does not name fails the step with TOOL_ERROR; `retry` applies to
    server errors and to 408, 425 and 429, and waits as long as `Retry-After` asks; so it does where `expect` names the
    status, and `assert` or `poll` asks again, as of `http.request` in a step `tool`. When a request that must not be
    repeated was sent and no clear answer came back (a lost connection, a 5xx), the step is in doubt. Without a
    `timeout`, a step gives up after 5 minutes in which not a byte came.
    """

    secret_fields: ClassVar[tuple[str, ...]] = ("/headers", "/auth")

    url: Templated[Url]
    """Address, beginning with http:// or https://."""
    method: Templated[Method] = "GET"
    headers: Headers = Field({})
    """Headers by name; null leaves one out. Secrets are allowed here."""
    query: dict[str, Words] = Field({})
    """Parameters to add to the address, encoded as needed; a list repeats its parameter, null leaves it out."""
    json_: Any = Field(None, alias="json")
    """Body: this value as JSON."""
    body: str | None = None
    """Body: this text, as UTF-8."""
    form: dict[str, Words] | None = None
    """Body: these fields as a web form sends them."""
    auth: Auth | None = None
    """`{bearer: …}` or `{basic: {user: …, password: …}}`."""
    expect: Annotated[list[Status], one_or_many(lambda value: isinstance(value, int | str))] = Field(["200-399"])
    """Statuses that mean success: numbers, ranges such as `200-299`, or `2xx`."""
    follow_redirects: Templated[bool] | None = None
    """Whether to follow redirects. Default: GET and HEAD everywhere, other methods within the same host. Credentials
    are never taken to another host."""
    max_bytes: Templated[Annotated[int, Field(ge=1, le=1024**3)]] = 10 * 1024 * 1024
    """Largest body, in bytes after decompression; a larger one fails the step."""
    output: Literal["auto", "json", "text", "status"] = "auto"
    """What `body` becomes. `auto`: JSON if the content type says so, else text, or base64 with `encoding: base64` for
    bytes; `json`: has to be JSON; `text`: always text; `status`: the body is not read."""

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [
            name
            for name, value in (("json", self.json_), ("body", self.body), ("form", self.form))
            if value is not None
        ]
        if len(given) > 1:
            raise wrong(f"`{given[0]}` and `{given[1]}` exclude each other: a request has one body")
        if self.auth is not None and any(name.lower() == "authorization" for name in self.headers):
            raise wrong("`auth` and the header `Authorization` exclude each other")
        return self

    def repeats(self) -> Repeat:
        return self.repeat or ("safe" if self.method in SAFE_METHODS else "never")

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        try:
            wanted = cls.rendered(ctx.effect.input)
        except ValidationError as error:
            return unusable(error)
        try:
            request = _request(wanted, ctx)
            at = await _clients(ctx)
        except Unusable as error:
            return failed(error.message, code="VALIDATION_ERROR", hint=error.hint, retryable=False)

        from fleetprompt.engine.outside.http_exchange import Trouble, exchange

        started = time.perf_counter()
        answer = await exchange(
            at,
            request,
            follow=_follow(wanted),
            reuse=ctx.effect.repeat == "safe",
            limit=lambda status: _limit(wanted, status),
            timeout=ctx.effect.timeout,
        )
        seconds = time.perf_counter() - started
        line = f"{request.method} {shown(request.url)}"
        if isinstance(answer, Trouble):
            ctx.log(f"{line} → {answer.reason} after {took(seconds)}", "warning")
            return _no_answer(line, answer, ctx.effect.repeat)
        outcome = _judged(wanted, request, answer, ctx.effect.repeat, line, seconds)
        got = f"{line} → {answer.status} in {took(seconds)} ({size(len(answer.body))})"
        ctx.log(got, "info" if isinstance(outcome, Done) else "warning")
        return outcome


async def _clients(ctx: Context) -> Clients:
    try:
        # In a thread: the import and reading the certificates take as long as a hundred requests.
        module, certificates = _load() if _load.cache_info().currsize else await ctx.in_thread(_load)
        return module.clients() or await module.open_clients(certificates)
    except (OSError, ValueError, ImportError) as error:
        hint = "look at SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY of the engine's environment"
        raise Unusable(f"requests cannot be sent from here: {type(error).__name__}", hint) from error


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    import httpx

    from fleetprompt.engine.outside import http_exchange

    # httpx would import it with the first request, in the middle of the event loop.
    import_module("anyio._backends._asyncio")
    return http_exchange, httpx.create_ssl_context()


def _request(wanted: Http, ctx: Context) -> Request:
    headers: dict[str, str] = {}
    secret: set[str] = set()
    for name, value in wanted.headers.items():
        if value is not None:
            headers[name] = revealed(ctx, value, pointer("headers", name))
            if headers[name] != value:
                secret.add(name)
    if ctx.effect.traceparent and not any(name.lower() == TRACE for name in headers):
        headers[TRACE] = ctx.effect.traceparent
    authorization, derived = "", ()
    if wanted.auth is not None and wanted.auth.bearer is not None:
        authorization = f"Bearer {revealed(ctx, wanted.auth.bearer, '/auth/bearer').strip()}"
    elif wanted.auth is not None and wanted.auth.basic is not None:
        user = revealed(ctx, wanted.auth.basic.user, "/auth/basic/user")
        password = revealed(ctx, wanted.auth.basic.password, "/auth/basic/password")
        authorization = basic(user, password)
        derived = (authorization.removeprefix("Basic "),)
    content, content_type = _content(wanted)
    return prepare(
        method=wanted.method,
        url=wanted.url,
        key=ctx.effect.key,
        headers=headers,
        secret_headers=frozenset(secret),
        query=wanted.query,
        authorization=authorization,
        derived=derived,
        content=content,
        content_type=content_type,
    )


def _content(wanted: Http) -> tuple[bytes | None, str]:
    if wanted.json_ is not None:
        return msgspec.json.encode(wanted.json_), "application/json"
    if wanted.body is not None:
        return wanted.body.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
    if wanted.form is not None:
        return urlencode(wanted.form, doseq=True).encode(), "application/x-www-form-urlencoded"
    return None, ""


def _follow(wanted: Http) -> Follow:
    if wanted.follow_redirects is None:
        return "anywhere" if wanted.method in ("GET", "HEAD") else "same host"
    return "anywhere" if wanted.follow_redirects else "never"


def _expected(wanted: Http, status: int) -> bool:
    for entry in wanted.expect:
        low, _, high = entry.partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


def _limit(wanted: Http, status: int) -> int:
    if not _expected(wanted, status):
        return ERROR_BODY
    return 0 if wanted.output == "status" else wanted.max_bytes


def _no_answer(line: str, trouble: Trouble, repeat: Repeat) -> Outcome:
    if trouble.sent and repeat == "never":
        return Unknown(f"{line} was sent, then: {trouble.reason}")
    code = "TIMEOUT" if trouble.timeout else "TOOL_ERROR"
    return failed(f"{line} failed: {trouble.reason}", code=code, retryable=trouble.retryable)


def _judged(wanted: Http, request: Request, answer: Answer, repeat: Repeat, line: str, seconds: float) -> Outcome:
    if not _expected(wanted, answer.status):
        return _refused(request, answer, repeat, line)
    data = {"status": answer.status, "url": shown(answer.url)}
    safe = repeat == "safe"
    if answer.broken:
        reason = f"{line} answered {answer.status}, but its body broke off: {answer.broken}"
        return failed(reason, data=data) if safe else Unknown(reason)
    if not answer.complete and wanted.output != "status":
        message = f"{line} answered {answer.status} with a body larger than {size(wanted.max_bytes)}"
        return failed(message, hint="raise `max_bytes`", retryable=False, data=data)
    kind = answer.headers.get("content-type", "")
    result: dict[str, Any] = {"status": answer.status, "headers": _scrubbed_headers(request, answer)}
    try:
        result["body"], encoding = body_value(_scrubbed(request, answer.body), kind, wanted.output)
    except NotJson as error:
        message = f"{line} answered {answer.status}, but the body is not JSON: {error}"
        data["body"] = excerpt(_scrubbed(request, answer.body), kind)
        return failed(message, retryable=safe, data=data)
    if encoding:
        result["encoding"] = encoding
    result["url"] = shown(answer.url)
    result["elapsed_ms"] = round(seconds * 1000, 1)
    return Done(result, retry_after=retry_after(answer.headers))


def _refused(request: Request, answer: Answer, repeat: Repeat, line: str) -> Outcome:
    """The outcome of a status that was not expected."""
    status, wait = answer.status, retry_after(answer.headers)
    said = f"{line} answered {status} {_phrase(status)}".rstrip()
    not_done = status < 500 or status == 501 or (status == 503 and wait is not None)
    if repeat == "never" and (answer.processed or not not_done):
        return Unknown(f"{said}, which does not say whether it took effect")
    retryable = _curable(status, repeat)
    text = excerpt(_scrubbed(request, answer.body), answer.headers.get("content-type", ""))
    data = {"status": status, "url": shown(answer.url), "body": text}
    return failed(said, retryable=retryable, data=data, retry_after=wait if retryable else None)


def _curable(status: int, repeat: Repeat) -> bool:
    """Whether another attempt can bring another answer."""
    if status < 400:
        # The work was done, with a result that the workflow's author did not expect.
        return repeat == "safe"
    return status in COME_BACK if status < 500 else status != 501


def _scrubbed(request: Request, body: bytes) -> bytes:
    for form in request.derived:
        body = body.replace(form.encode(), REDACTED.encode())
    return body


def _scrubbed_headers(request: Request, answer: Answer) -> dict[str, str]:
    headers = dict(answer.headers)
    for form in request.derived:
        headers = {name: value.replace(form, REDACTED) for name, value in headers.items()}
    return headers


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
