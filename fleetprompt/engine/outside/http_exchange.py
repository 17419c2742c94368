"""Send a request and read the answer, and know at every moment whether the other side may have acted on it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from weakref import WeakKeyDictionary

import httpx
from msgspec import Struct

from fleetprompt.engine.outside.http_request import Request, Unusable, checked_url

CONNECT_TIMEOUT = 10.0
"""Seconds to find the host, connect and agree on TLS."""
IDLE_TIMEOUT = 300.0
"""Seconds without a byte after which a step without `timeout` gives up."""
MAX_REDIRECTS = 10
Follow = Literal["anywhere", "same host", "never"]


class Answer(Struct, kw_only=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    url: str
    body: bytes = b""
    complete: bool = True
    """False: the body was larger than the limit and the rest was not read."""
    broken: str = ""
    """Why the body could not be read to its end."""
    processed: bool = False
    """An earlier answer sent us here after the request had been acted on."""


class Trouble(Struct, frozen=True, kw_only=True):
    """Nothing came back."""

    reason: str
    sent: bool
    """The request may have been acted on."""
    retryable: bool = True
    timeout: bool = False


Pin = Callable[[str], Awaitable[str]]
"""Gives the IP address at which the host of an address has to be reached. Raises `Unusable` where it must not be."""


class Clients:
    """Connections of one event loop. No cookies are kept: runs must not meet through them."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.keeping = _client(context, keep=50)
        """Uses connections again."""
        self.fresh = _client(context, keep=0)
        """Opens one for each request: a connection that the server is just closing would leave it in doubt."""
        self.direct = _client(context, keep=0, proxies=False)
        """Like `fresh`, and never through a proxy, which would look the host up again: for pinned addresses."""

    async def aclose(self) -> None:
        """Close all of them."""
        for client in (self.keeping, self.fresh, self.direct):
            await client.aclose()


def _client(context: ssl.SSLContext, keep: int, proxies: bool = True) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        trust_env=proxies,
        verify=context,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=keep),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        event_hooks={"response": [_set_location_aside]},
    )


async def _set_location_aside(response: httpx.Response) -> None:
    # httpx prepares the next request even when it is told not to follow, and raises if the address is malformed: an
    # answer would become an accident.
    response.extensions["location"] = response.headers.pop("location", "")


_open: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Clients, AsyncGenerator[None, None]]] = WeakKeyDictionary()


def clients() -> Clients | None:
    """The running loop's clients, if it has any yet."""
    found = _open.get(asyncio.get_running_loop())
    return found[0] if found is not None else None


async def open_clients(context: ssl.SSLContext) -> Clients:
    """Give the running loop its clients; they are closed when the loop shuts its generators down."""
    known = clients()
    if known is not None:
        return known
    for loop in [loop for loop in _open if loop.is_closed()]:
        del _open[loop]
    mine = Clients(context)
    closer = _close_at_end(mine)
    _open[asyncio.get_running_loop()] = (mine, closer)
    await anext(closer)
    return mine


async def _close_at_end(mine: Clients) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await mine.aclose()


class _Trace:
    """Listens to the connection: whether it is new, and whether the request has begun to leave."""

    def __init__(self) -> None:
        self.connected = False
        self.sent = False

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True
        elif event.endswith("connect_tcp.started"):
            self.connected = True


async def exchange(
    at: Clients,
    request: Request,
    *,
    follow: Follow,
    reuse: bool,
    limit: Callable[[int], int],
    timeout: float | None,
    pin: Pin | None = None,
) -> Answer | Trouble:
    """Send, follow redirects, and read up to `limit(status)` bytes of the body. With `pin`, every request goes to the
    address that it gives."""
    idle = timeout or IDLE_TIMEOUT
    times = httpx.Timeout(idle, connect=min(CONNECT_TIMEOUT, idle), pool=None)
    processed = False
    for _ in range(MAX_REDIRECTS + 1):
        try:
            address = await pin(request.url) if pin is not None else ""
        except Unusable as error:
            return Trouble(reason=error.message, sent=processed, retryable=False)
        response = await _send(at, request, times, reuse, processed, address)
        if isinstance(response, Trouble):
            return response
        try:
            target = _target(request, response, follow)
            if target is None:
                return await _read(response, request.url, processed, limit(response.status_code))
        except Unusable as error:
            reason = f"it redirects to where we do not go: {error.message}"
            return Trouble(reason=reason, sent=processed or _acted(response), retryable=False)
        finally:
            await response.aclose()
        processed = processed or _acted(response)
        request = _redirected(request, response.status_code, target)
    return Trouble(reason=f"more than {MAX_REDIRECTS} redirects", sent=processed, retryable=False)


async def _send(
    at: Clients, request: Request, times: httpx.Timeout, reuse: bool, processed: bool, address: str = ""
) -> httpx.Response | Trouble:
    trace = _Trace()
    client = at.direct if address else at.keeping if reuse else at.fresh
    reuse = reuse and not address
    extensions: dict[str, Any] = {"trace": trace}
    try:
        url = httpx.URL(request.url)
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        if address:
            # The server is told the host that was asked for, and has to prove that it is that one.
            headers.append((b"Host", url.netloc))
            extensions["sni_hostname"] = url.host
            url = url.copy_with(host=address)
        sent = client.build_request(
            request.method,
            url,
            headers=headers,
            content=request.content,
            timeout=times,
            extensions=extensions,
        )
        return await client.send(sent, stream=True, auth=None, follow_redirects=False)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        return Trouble(reason=_reason(error), sent=processed, retryable=False)
    except (httpx.HTTPError, OSError) as error:
        stale = reuse and not trace.connected and not isinstance(error, httpx.TimeoutException)
        if not stale:
            late = isinstance(error, httpx.TimeoutException)
            on_the_way = trace.sent and not isinstance(error, httpx.ConnectError | httpx.ProxyError)
            return Trouble(reason=_reason(error), sent=processed or on_the_way, timeout=late)
    # The server closed a connection that it had kept open, at the moment we used it again.
    return await _send(at, request, times, False, processed)


async def _read(response: httpx.Response, url: str, processed: bool, limit: int) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.extensions["location"]:
        headers["location"] = response.extensions["location"]
    answer = Answer(status=response.status_code, headers=headers, url=url, processed=processed)
    if not limit:
        answer.complete = False
        return answer
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                answer.complete = False
                break
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        answer.broken = _reason(error)
    answer.body = bytes(body[:limit])
    return answer


def _acted(response: httpx.Response) -> bool:
    """Whether a redirect comes after the work was done; 307 and 308 ask for the same request elsewhere."""
    return response.status_code in (301, 302, 303)


def _target(request: Request, response: httpx.Response, follow: Follow) -> str | None:
    """Where to go next; None: nowhere, this is the answer. Raises `Unusable`."""
    if response.status_code not in (301, 302, 303, 307, 308) or follow == "never":
        return None
    location = response.extensions["location"]
    if not location:
        return None
    try:
        target = str(httpx.URL(request.url).join(location).copy_with(fragment=None))
    except (httpx.InvalidURL, ValueError) as error:
        raise Unusable("the address cannot be read") from error
    checked_url(target)
    return target if follow == "anywhere" or _same_host(request.url, target) else None


def _same_host(here: str, there: str) -> bool:
    a, b = httpx.URL(here), httpx.URL(there)
    if a.host != b.host:
        return False
    upgrade = (a.scheme, b.scheme, a.port, b.port) == ("http", "https", None, None)
    return upgrade or (a.scheme, a.port) == (b.scheme, b.port)


def _redirected(request: Request, status: int, target: str) -> Request:
    method, content, headers = request.method, request.content, request.headers
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", None
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
    if not _same_host(request.url, target):
        headers = {name: value for name, value in headers.items() if name.lower() not in request.private}
    clean = str(httpx.URL(target).copy_with(userinfo=b""))
    return Request(
        method=method,
        url=clean,
        headers=headers,
        content=content,
        private=request.private,
        derived=request.derived,
    )


_TIMEOUTS: dict[type[BaseException], str] = {
    httpx.ConnectTimeout: "no connection in time",
    httpx.ReadTimeout: "no answer in time",
    httpx.WriteTimeout: "the request was not taken in time",
}


def _reason(error: BaseException) -> str:
    """What went wrong, in words that name neither headers nor bodies."""
    if type(error) in _TIMEOUTS:
        return _TIMEOUTS[type(error)]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'protocol error'}"
        if isinstance(cause, socket.gaierror):
            return "the host name is not known"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        group = getattr(cause, "exceptions", None)
        cause = group[0] if group else cause.__cause__ or cause.__context__
    text = str(error).splitlines()[0] if str(error) else ""
    return text[:200] or type(error).__name__
