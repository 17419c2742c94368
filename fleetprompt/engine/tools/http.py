"""`http.request`: ask a server that the operator allowed, and no other, however it is spelled or redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, cast
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import AfterValidator, Field, model_validator

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.outside.http_answer import body_value, retry_after
from fleetprompt.engine.outside.http_request import (
    FRAMING,
    HEADER,
    REDACTED,
    Request,
    Unusable,
    basic,
    checked_url,
    prepare,
)
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.ports.tool import ActionType, Preview, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome, Unknown
from fleetprompt.engine.tools._hosts import DEFAULT_PORTS, Hosts, Pinning, checked_host, read_host, system_resolve
from fleetprompt.engine.tools._settings import Misfit, Section, Unfit, read_section
from fleetprompt.engine.tools.declare import ToolModel, tool

MOST_BYTES = 1024 * 1024
TIMEOUT = 30.0
BODY_CHARS = 1024 * 1024
SHOWN_BODY = 20_000
TRACE = "traceparent"
OURS = FRAMING | {"host", "idempotency-key", "proxy-authorization", "proxy-connection"}
"""Headers that a call cannot set."""

HeaderName: TypeAlias = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=100)]
HeaderText: TypeAlias = Annotated[str, Field(max_length=8000)]


def _header(name: str) -> str:
    if not HEADER.fullmatch(name):
        raise ValueError(f"`{inert(name)}` is not the name of a header")
    return name


class HostAuth(Section):
    """Who we are to one host. Values are names of secrets, never secrets."""

    bearer: str | None = None
    """Secret with a token: `Authorization: Bearer …`."""
    user: str | None = None
    """Name, for basic authentication."""
    password: str | None = None
    """Secret with the password, for basic authentication."""
    headers: dict[Annotated[str, AfterValidator(_header)], str] = Field({})
    """Secrets by the header that each is sent in: `{X-Api-Key = "DESK_KEY"}`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.bearer is not None and self.password is not None:
            message = "credentials are either `bearer`, or `user` and `password`"
            raise Unfit(message, "keep one of the two", key="password", code=ProblemCode.CONFLICTING_KEYS)
        if self.user is not None and self.password is None:
            raise Unfit("`user` goes with `password`, the name of a secret", key="user", code=ProblemCode.MISSING_KEY)
        if ":" in (self.user or ""):
            raise Unfit("`user` holds a colon, which basic authentication cannot send", key="user")
        return self

    @property
    def names(self) -> dict[str, str]:
        """The headers that it makes, with the name of the secret in each."""
        named = {name: f"secret {secret}" for name, secret in self.headers.items()}
        if self.bearer is not None:
            named["Authorization"] = f"Bearer secret {self.bearer}"
        elif self.password is not None:
            named["Authorization"] = f"Basic {self.user or ''} with secret {self.password}"
        return named


def _host(host: str) -> str:
    read_host(host)
    return host


def _network(network: str) -> str:
    try:
        ip_network(network)
    except ValueError:
        raise ValueError(f"`{network}` is no network: write 10.20.0.0/16") from None
    return network


class HttpSettings(Section):
    """`[tools.http]`."""

    hosts: list[Annotated[str, AfterValidator(_host)]] = Field([])
    """Hosts that may be asked: `["api.example.com", "*.corp.example:8443", "127.0.0.1:8081"]`. Without a port: the
    usual one. Hosts on this machine have to be listed with their port."""
    networks: list[Annotated[str, AfterValidator(_network)]] = Field([])
    """Private networks in which allowed hosts may be: `["10.20.0.0/16"]`."""
    auth: dict[str, HostAuth] = Field({})
    """Credentials by host, as in `hosts`: `[tools.http.auth."api.example.com"] bearer = "API_TOKEN"`."""
    timeout: Annotated[float, Field(gt=0, le=600)] = TIMEOUT
    """Seconds for a whole request with its answer."""

    def doubts(self) -> Iterator[Misfit]:
        """Hosts that are never reached, and credentials that are never sent."""
        known = Hosts(self.hosts, self.networks)
        for i, host in enumerate(self.hosts):
            if reason := known.never(read_host(host).name):
                yield Misfit(("hosts", i), f"`{inert(host)}` is never reached: it {reason}")
        for host in self.auth:
            if said := _never_sent(host, self.hosts):
                yield Misfit(("auth", host), *said)

    def auth_for(self, host: str, port: int, scheme: str) -> HostAuth | None:
        """The credentials for a host."""
        shown = f"[{host}]" if ":" in host else host
        found = self.auth.get(f"{shown}:{port}")
        return found or (self.auth.get(shown) if port == DEFAULT_PORTS[scheme] else None)


def _never_sent(host: str, hosts: Sequence[str]) -> tuple[str, str] | None:
    """Why credentials for what is called so are sent nowhere, and what to do."""
    try:
        found = read_host(host)
    except ValueError as error:
        return str(error), ""
    name = f"[{found.name}]" if ":" in found.name else found.name
    plain = name if found.port is None else f"{name}:{found.port}"
    if name.startswith("*."):
        return f"`{inert(host)}` is no single host, and credentials are for one", "write a table for each"
    if host != plain:
        return f"credentials for `{inert(host)}` are never sent", f'write [tools.http.auth."{plain}"]'
    ports = (found.port,) if found.port is not None else DEFAULT_PORTS.values()
    entries = [read_host(each) for each in hosts]
    if any(entry.is_for(found.name, port, scheme) for entry in entries for port in ports for scheme in DEFAULT_PORTS):
        return None
    return f"`{plain}` is not among the `hosts` that may be asked", f'add it there: hosts = ["{plain}"]'


@tool("http.request")
class HttpRequest(ToolModel):
    """Send an HTTP request to a host that the operator has allowed. At most 1 MiB of the answer is given; JSON comes as
    a value. Redirects are followed within the same host only. Credentials of a host are added by the engine: never put
    any into a call. An error status is a result, not an error of the tool."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("method", "host", "port", "path", "scheme")

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=8, max_length=8000)]
    """Address, beginning with https:// or http://."""
    headers: dict[HeaderName, HeaderText] = Field({}, max_length=50)
    query: dict[str, str | list[str]] = Field({}, max_length=100)
    """Parameters to add to the address, encoded as needed."""
    json_: Any = Field(None, alias="json")
    """Body: this value as JSON."""
    body: Annotated[str, Field(max_length=BODY_CHARS)] | None = None
    """Body: this text."""

    untrusted: ClassVar[bool] = True
    action: ClassVar[ActionType] = "api_call"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.json_ is not None and self.body is not None:
            raise ValueError("`json` and `body` exclude each other: a request has one body")
        if self.is_safe and (self.json_ is not None or self.body is not None):
            raise ValueError(f"a {self.method} request has no body")
        for name in self.headers:
            if name.lower() in OURS:
                raise ValueError(f"the header `{name}` cannot be set: the engine does")
        return self

    @property
    def is_safe(self) -> bool:
        """Whether the request changes nothing."""
        return self.method in ("GET", "HEAD")

    async def preview(self, room: ToolRoom) -> Preview:
        """The request; credentials are shown by name."""
        settings = _settings(room)
        request, auth = self._request(room, settings, reveal=False)
        parts = urlsplit(request.url)
        headers = {**self.headers, **(auth.names if auth is not None else {})}
        host, port = checked_host(parts.hostname or ""), parts.port or DEFAULT_PORTS[parts.scheme]
        show: dict[str, Any] = {"method": self.method, "url": inert(request.url)}
        show["headers"] = {name: inert(text) for name, text in headers.items()}
        if request.content is not None:
            text = request.content.decode()
            more = f" [… {size(len(text) - SHOWN_BODY)} more]" if len(text) > SHOWN_BODY else ""
            show["body"] = text[:SHOWN_BODY] + more
        return Preview(
            summary=f"{self.method} {inert(request.url)[:300]}",
            kind="http",
            show=show,
            risk="" if self.is_safe else f"changes something at {host}",
            subject={"method": self.method, "host": host, "port": port, "path": parts.path, "scheme": parts.scheme},
            reach="read" if self.is_safe else None,
            repeat="safe" if self.is_safe else None,
            verdict="allow" if self.is_safe else None,
            covers=self._covers(request),
        )

    def _covers(self, request: Request) -> dict[str, Any]:
        """The method, the whole address with its query, the headers of the call, and the very body."""
        found: dict[str, Any] = {"method": self.method, "url": request.url}
        if self.headers:
            found["headers"] = {name.lower(): text for name, text in self.headers.items()}
        if request.content is not None:
            found["body"] = {"sha256": sha256(request.content).hexdigest(), "bytes": len(request.content)}
            found["body"]["type"] = self._content()[1]
        return found

    async def call(self, room: ToolRoom) -> Outcome:
        """Send it; each request that a redirect asks for is checked like the first one."""
        settings = _settings(room)
        request, auth = self._request(room, settings, reveal=True)
        exchanging, clients = await http_clients(room)
        line = f"{self.method} {inert(urlsplit(request.url)._replace(query='').geturl())[:300]}"
        try:
            async with asyncio.timeout(settings.timeout):
                answer = await exchanging.exchange(
                    clients,
                    request,
                    follow="same host",
                    reuse=False,
                    limit=_limit,
                    timeout=settings.timeout,
                    pin=Pinning(Hosts(settings.hosts, settings.networks), system_resolve),
                )
        except TimeoutError:
            said = f"{line}: no whole answer within {settings.timeout:g} s"
            room.log(said, "warning")
            return Failed(Failure("TIMEOUT", said)) if self.is_safe else Unknown(said)
        if isinstance(answer, exchanging.Trouble):
            room.log(f"{line}: {answer.reason}", "warning")
            if answer.sent and not self.is_safe:
                return Unknown(f"{line} was sent, then: {answer.reason}")
            code = "TIMEOUT" if answer.timeout else "TOOL_ERROR"
            return Failed(Failure(code, f"{line}: {answer.reason}", retryable=answer.retryable))
        room.log(f"{line} → {answer.status} ({size(len(answer.body))})")
        return self._judged(line, answer, _forms(room, auth, request))

    def _judged(self, line: str, answer: Any, secrets: list[str]) -> Outcome:
        status: int = answer.status
        headers: dict[str, str] = answer.headers
        if not self.is_safe and (answer.broken or (status >= 500 and status != 501 and not retry_after(headers))):
            return Unknown(f"{line} answered {status}, which does not say whether it took effect")
        if answer.broken:
            return Failed(Failure("TOOL_ERROR", f"{line} answered {status}, then it broke off: {answer.broken}"))
        location = headers.get("location", "")
        if status in (301, 302, 303, 307, 308) and location and self.is_safe:
            said = f"{line} redirects to another host, which is not followed: {inert(location)[:300]}"
            hint = "request that address by itself; the operator has to allow its host"
            return Failed(Failure("TOOL_ERROR", said, hint=hint, retryable=False))
        wanted = "auto" if answer.complete else "text"
        body, encoding = body_value(answer.body, headers.get("content-type", ""), wanted)
        result: dict[str, Any] = {"status": status, "headers": headers, "body": body, "cut": not answer.complete}
        if encoding:
            result["encoding"] = encoding
        return Done(_scrubbed(result, secrets), retry_after=retry_after(headers))

    def _request(self, room: ToolRoom, settings: HttpSettings, *, reveal: bool) -> tuple[Request, HostAuth | None]:
        """The request, with its secrets if they are to be revealed. Raises `InvalidInput`."""
        try:
            parts = checked_url(self.url)
            if "@" in parts.netloc:
                raise Unusable("the URL holds a name or a password", "the operator sets credentials of hosts")
            host, port = checked_host(parts.hostname or ""), parts.port or DEFAULT_PORTS[parts.scheme]
            Hosts(settings.hosts, settings.networks).entry(host, port, parts.scheme)
            auth = settings.auth_for(host, port, parts.scheme)
            secret = _secret_headers(room, auth) if auth is not None and reveal else {}
            if auth is not None:
                self._no_second_auth(auth)
                local = host in ("localhost", "::1") or host.startswith("127.")
                if parts.scheme != "https" and not local:
                    raise Unusable(f"credentials of `{host}` are not sent without TLS", "use https://")
            content, kind = self._content()
            query = {name: [value] if isinstance(value, str) else value for name, value in self.query.items()}
            return prepare(
                method=self.method,
                url=self.url,
                key=room.key,
                headers={**traced(room, self.headers), **self.headers, **secret},
                secret_headers=frozenset(secret),
                query=query,
                content=content,
                content_type=kind,
            ), auth
        except Unusable as error:
            raise InvalidInput(error.message, hint=error.hint) from None

    def _no_second_auth(self, auth: HostAuth) -> None:
        taken = {name.lower() for name in auth.names}
        for name in self.headers:
            if name.lower() in taken:
                raise Unusable(f"the header `{name}` is set by the engine for this host", "leave it out")

    def _content(self) -> tuple[bytes | None, str]:
        if self.json_ is not None:
            return msgspec.json.encode(self.json_), "application/json"
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        return None, ""


def traced(room: ToolRoom, headers: Mapping[str, str] = {}) -> dict[str, str]:
    """The header that says where the call is in a trace, unless the call has one of its own."""
    told = any(name.lower() == TRACE for name in headers)
    return {TRACE: room.traceparent} if room.traceparent and not told else {}


def _limit(status: int) -> int:
    del status
    return MOST_BYTES


def _settings(room: ToolRoom) -> HttpSettings:
    return read_section(("tools", "http"), HttpSettings, room.settings)


def _secret_headers(room: ToolRoom, auth: HostAuth) -> dict[str, str]:
    headers = {name: room.secret(secret).strip() for name, secret in auth.headers.items()}
    if auth.bearer is not None:
        headers["Authorization"] = f"Bearer {room.secret(auth.bearer).strip()}"
    elif auth.password is not None:
        headers["Authorization"] = basic(auth.user or "", room.secret(auth.password))
    return headers


def _forms(room: ToolRoom, auth: HostAuth | None, request: Request) -> list[str]:
    """The secrets of a request in each form in which a server may give them back."""
    if auth is None:
        return []
    names = [*auth.headers.values(), *(name for name in (auth.bearer, auth.password) if name is not None)]
    values = {room.secret(name).strip() for name in names}
    values |= {request.headers[name].removeprefix("Basic ") for name in request.headers if name in auth.names}
    forms = {form for value in values for form in (value, quote(value, safe=""), quote(value))}
    forms |= {msgspec.json.encode(value).decode()[1:-1] for value in values}
    return sorted((form for form in forms if len(form) >= 4), key=len, reverse=True)


def _scrubbed(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {_scrubbed(key, secrets): _scrubbed(item, secrets) for key, item in items}
    if isinstance(value, list):
        return [_scrubbed(item, secrets) for item in cast("list[Any]", value)]
    return value


async def http_clients(room: ToolRoom) -> tuple[Any, Any]:
    """The exchange, and the connections of this event loop. Raises `InvalidInput`."""
    try:
        module, context = _load() if _load.cache_info().currsize else await room.in_thread(_load)
        return module, module.clients() or await module.open_clients(context)
    except (OSError, ValueError, ImportError) as error:
        raise InvalidInput(f"requests cannot be sent from here: {type(error).__name__}") from error


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    import httpx

    from fleetprompt.engine.outside import http_exchange

    import_module("anyio._backends._asyncio")
    return http_exchange, httpx.create_ssl_context()
