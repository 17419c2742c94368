"""`http` against real servers on loopback: what is sent, what comes back, and what each accident means."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from fleetprompt.engine.ports import Done, Failed, Unknown
from fleetprompt.engine.steps._http_answer import body_value, retry_after
from fleetprompt.engine.steps._http_exchange import clients
from fleetprompt.engine.steps._http_request import Unusable, checked_url, shown
from fleetprompt.engine.steps.http import Http

SECRET = "s3cret-value"


class Received:
    """A request as the server read it from the wire."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body


Handler = Callable[[Received], Any]


def answer(status: int = 200, body: bytes | str = b"", **headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Length": str(len(content)), **{key.replace("_", "-"): value for key, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + content


class Server:
    """Answers each request with the bytes that `handler` gives; None: it closes the connection, saying nothing."""

    def __init__(self) -> None:
        self.handler: Handler = lambda request: answer()
        self.requests: list[Received] = []
        self.connections = 0
        self.after: Callable[[asyncio.StreamWriter], Awaitable[None] | None] | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request = Received(head, b"")
                request.body = await reader.readexactly(int(request.headers.get("content-length", 0)))
                self.requests.append(request)
                reply = self.handler(request)
                if asyncio.iscoroutine(reply):
                    reply = await reply
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if self.after is not None:
                    result = self.after(writer)
                    if result is not None:
                        await result
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    mine = Server()
    listener = await asyncio.start_server(mine.connection, "127.0.0.1", 0)
    mine.port = listener.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    mine.url = f"http://127.0.0.1:{mine.port}"  # type: ignore[attr-defined]
    yield mine
    listener.close()
    mine.close()
    await asyncio.sleep(0)


def done(outcome: Any) -> Any:
    assert isinstance(outcome, Done), outcome
    return outcome.output


def failure(outcome: Any) -> Any:
    assert isinstance(outcome, Failed), outcome
    return outcome.error


# ---------------------------------------------------------------- what is sent


async def test_get(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(
        200, '{"a": [1, null]}', Content_Type="application/json; charset=utf-8", X_A="b"
    )
    ctx = make("http", {"url": f"{server.url}/p?x=1#f", "query": {"q": "a b&c", "n": [1, True], "none": None}})
    output = done(await ctx.perform())
    assert output["status"] == 200
    assert output["body"] == {"a": [1, None]}
    assert output["headers"]["x-a"] == "b"
    assert output["url"] == f"{server.url}/p?x=1&q=a%20b%26c&n=1&n=true"
    assert 0 < output["elapsed_ms"] < 5000
    assert "encoding" not in output
    request = server.requests[0]
    assert (request.method, request.target) == ("GET", "/p?x=1&q=a%20b%26c&n=1&n=true")
    assert "idempotency-key" not in request.headers
    assert request.headers["user-agent"].startswith("fleetprompt/")
    [(level, line)] = ctx.lines
    assert level == "info"
    assert line.startswith(f"GET {server.url}/p?x=1&q=a%20b%26c&n=1&n=true → 200 in ")
    assert line.endswith(" ms (16 B)")


@pytest.mark.parametrize(
    ("fields", "content_type", "body"),
    [
        ({"json": {"a": [1, "ü"]}}, "application/json", b'{"a":[1,"\xc3\xbc"]}'),
        ({"json": False}, "application/json", b"false"),
        ({"body": "plain ü"}, "text/plain; charset=utf-8", b"plain \xc3\xbc"),
        ({"form": {"a": "x y", "b": [1, 2], "c": None}}, "application/x-www-form-urlencoded", b"a=x+y&b=1&b=2"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", b"<a/>"),
        ({}, None, b""),
    ],
)
async def test_bodies(make: Any, server: Any, fields: Any, content_type: Any, body: bytes) -> None:
    done(await make("http", {"url": server.url, "method": "post", **fields}).perform())
    [request] = server.requests
    assert (request.method, request.body, request.headers.get("content-type")) == ("POST", body, content_type)
    assert request.headers["idempotency-key"] == "key-1"


async def test_headers(make: Any, server: Any) -> None:
    headers = {
        "X-Number": 5,
        "X-Text": " ü ",
        "X-Off": None,
        "idempotency-key": "mine",
        "User-Agent": "me",
        "Host": "a.b",
    }
    done(await make("http", {"url": server.url, "method": "DELETE", "headers": headers}).perform())
    [request] = server.requests
    assert request.headers["x-number"] == "5"
    assert request.headers["x-text"].encode("latin-1").decode() == "ü"
    assert "x-off" not in request.headers
    assert (request.headers["idempotency-key"], request.headers["user-agent"]) == ("mine", "me")
    assert request.headers["host"] == "a.b"


async def test_secrets_are_sent_and_never_shown(make: Any, server: Any) -> None:
    echo = lambda request: answer(  # noqa: E731
        418, json.dumps(request.headers), Content_Type="application/json", X_Echo=request.headers["authorization"]
    )
    server.handler = echo
    basic = {"url": server.url, "auth": {"basic": {"user": "ann", "password": "•"}}}
    ctx = make("http", basic, secrets={"/auth/basic/password": SECRET})
    outcome = await ctx.perform()
    token = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    assert server.requests[-1].headers["authorization"] == f"Basic {token}"
    assert not any(part in repr((outcome, ctx.lines)) for part in (SECRET, token))
    outcome = await make("http", {**basic, "expect": 418}, secrets={"/auth/basic/password": SECRET}).perform()
    assert done(outcome)["body"]["authorization"] == "Basic [redacted]"
    assert token not in repr(outcome)

    server.handler = lambda request: answer(500)
    bearer = {"url": server.url, "auth": {"bearer": "•"}, "headers": {"X-Api-Key": "•"}}
    ctx = make("http", bearer, secrets={"/auth/bearer": f"{SECRET}\n", "/headers/X-Api-Key": SECRET})
    outcome = await ctx.perform()
    assert server.requests[-1].headers["authorization"] == f"Bearer {SECRET}"
    assert server.requests[-1].headers["x-api-key"] == SECRET
    assert SECRET not in repr((outcome, ctx.lines))


async def test_credentials_in_an_address_are_used_and_hidden(make: Any, server: Any) -> None:
    url = server.url.replace("http://", "http://ann:p%40ss@")
    ctx = make("http", {"url": f"{url}/?api_key=abc&page=2"})
    outcome = await ctx.perform()
    assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()
    assert server.requests[0].target == "/?api_key=abc&page=2"
    for hidden in ("p%40ss", "p@ss", "ann", "abc"):
        assert hidden not in repr((outcome, ctx.lines))
    assert "page=2" in ctx.log_text
    assert shown("https://u:p@h:1/x?Access_Token=1&b=2") == "https://h:1/x?Access_Token=[redacted]&b=2"


async def test_no_cookies_are_kept(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(200, Set_Cookie="session=1; Path=/")
    for _ in range(2):
        done(await make("http", {"url": server.url}).perform())
    assert "cookie" not in server.requests[1].headers


# ---------------------------------------------------------------- hostile input


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a/b",
        "gopher://a",
        "/relative",
        "example.com/x",
        "http://",
        "http:///x",
        "http://a b/",
        "http://a/\r\nX: y",
        "http://a/\tb",
        "http://a\x00b/",
        "http://good.test\\@evil.test/",
        "http://[::1",
        "http://a:99999/",
        "http://a:x/",
        "http://a:0/",
        "javascript:alert(1)",
        "",
        "http://a/" + "x" * 20_000,
    ],
)
async def test_addresses_that_are_refused(make: Any, url: str) -> None:
    with pytest.raises(ValidationError):
        Http.model_validate({"type": "http", "url": url})
    ctx = make("http", {"url": "${{ inputs.url }}"}, input={"url": url})
    error = failure(await ctx.perform())
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
    assert "etc/passwd" not in error.message
    with pytest.raises(Unusable):
        checked_url(url)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\x1bb", "\r\n\r\nGET / HTTP/1.1\r\n"])
async def test_headers_cannot_be_broken_out_of(make: Any, server: Any, value: str) -> None:
    given = {"url": server.url, "headers": {"X-A": value}}
    for ctx in (
        make("http", {"url": server.url, "headers": {"X-A": "${{ inputs.x }}"}}, input=given),
        make("http", {"url": server.url, "headers": {"X-A": "•"}}, secrets={"/headers/X-A": value}),
        make("http", {"url": server.url, "auth": {"bearer": "•"}}, secrets={"/auth/bearer": value}),
        make("http", {"url": server.url, "method": "POST"}, key=value),
    ):
        outcome = await ctx.perform()
        if value.strip() == value or "\n" in value.strip():
            assert failure(outcome).retryable is False
            assert "Evil" not in repr(outcome)
    assert not any("x-evil" in request.headers for request in server.requests)


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"Bad Name": "x"}},
        {"headers": {"X:": "x"}},
        {"headers": {"X\r\nY": "x"}},
        {"headers": {"": "x"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"X": {"a": 1}}},
        {"json": 1, "body": "x"},
        {"body": "x", "form": {}},
        {"auth": {}},
        {"auth": {"bearer": "x", "basic": {"user": "a"}}},
        {"auth": {"bearer": "x"}, "headers": {"authorization": "y"}},
        {"method": "BREW"},
        {"method": "GET /x HTTP/1.1\r\nX: y"},
        {"expect": [99]},
        {"expect": ["300-200"]},
        {"expect": [True]},
        {"expect": "6xx"},
        {"max_bytes": 0},
        {"query": {"a": {"b": 1}}},
    ],
)
def test_fields_that_are_refused(fields: Any) -> None:
    with pytest.raises(ValidationError):
        Http.model_validate({"type": "http", "url": "http://a", **fields})


async def test_a_colon_in_a_user_name(make: Any, server: Any) -> None:
    step = {"url": server.url, "auth": {"basic": {"user": "a:b", "password": "x"}}}
    assert "colon" in failure(await make("http", step).perform()).message


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("status", "headers", "safe", "never"),
    [
        (400, {}, "final", "final"),
        (404, {}, "final", "final"),
        (408, {}, "retry", "retry"),
        (425, {}, "retry", "retry"),
        (429, {"Retry_After": "7"}, "retry", "retry"),
        (500, {}, "retry", "unknown"),
        (501, {}, "final", "final"),
        (502, {"Retry_After": "7"}, "retry", "unknown"),
        (503, {}, "retry", "unknown"),
        (503, {"Retry_After": "7"}, "retry", "retry"),
        (599, {}, "retry", "unknown"),
    ],
)
async def test_statuses(make: Any, server: Any, status: int, headers: Any, safe: str, never: str) -> None:
    server.handler = lambda request: answer(status, "reason", **headers)
    for fields, wanted in (({}, safe), ({"method": "POST"}, never), ({"method": "PUT", "repeat": "safe"}, safe)):
        ctx = make("http", {"url": server.url, **fields})
        outcome = await ctx.perform()
        if wanted == "unknown":
            assert isinstance(outcome, Unknown)
            assert f"answered {status}" in outcome.reason
        else:
            error = failure(outcome)
            assert (error.code, error.retryable) == ("TOOL_ERROR", wanted == "retry")
            assert f"answered {status}" in error.message
            assert error.data == {"status": status, "url": f"{server.url}/", "body": "reason"}
            assert outcome.retry_after == (7.0 if headers and wanted == "retry" else None)
        assert ctx.logged("warning")


async def test_expectations(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(int(request.target[1:]))
    assert done(await make("http", {"url": f"{server.url}/404", "expect": [200, "400-404"]}).perform())["status"] == 404
    assert done(await make("http", {"url": f"{server.url}/503", "expect": "5xx"}).perform())["status"] == 503
    got = failure(await make("http", {"url": f"{server.url}/202", "expect": 200}).perform())
    assert got.retryable is True
    posted = failure(await make("http", {"url": f"{server.url}/202", "expect": 200, "method": "POST"}).perform())
    assert posted.retryable is False, "the request was acted on"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:29:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "9" * 30}, 86_400.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


# ---------------------------------------------------------------- accidents


def refused_url() -> str:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


async def test_nothing_was_sent(make: Any) -> None:
    for method in ("GET", "POST"):
        ctx = make("http", {"url": refused_url(), "method": method})
        error = failure(await ctx.perform())
        assert (error.code, error.retryable) == ("TOOL_ERROR", True)
        assert error.message.endswith("failed: connection refused")
        assert "connection refused" in ctx.logged("warning")[0]
        unknown = failure(await make("http", {"url": "http://no-such-host.invalid/", "method": method}).perform())
        assert unknown.retryable is True
        assert "the host name is not known" in unknown.message


async def test_tls_that_fails_was_not_sent(make: Any) -> None:
    async def plain(reader: Any, writer: Any) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 this is plain text\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(plain, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    error = failure(await make("http", {"url": url, "method": "POST"}).perform())
    assert error.retryable is True
    assert "TLS failed: " in error.message
    listener.close()


async def test_no_connection_in_time_was_not_sent(make: Any, server: Any) -> None:
    url = server.url.replace("http", "https")
    error = failure(await make("http", {"url": url, "method": "POST"}, timeout=0.1).perform())
    assert (error.code, error.retryable) == ("TIMEOUT", True)
    assert error.message.endswith("no connection in time")


@pytest.mark.parametrize("accident", ["closed", "reset", "garbage", "cut head"])
async def test_it_was_sent_and_nobody_knows(make: Any, server: Any, accident: str) -> None:
    def reset(writer: Any) -> None:
        writer.transport.abort()

    replies = {
        "closed": None,
        "reset": b"H",
        "garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
        "cut head": b"HTTP/1.1 200 OK\r\nA",
    }
    server.handler = lambda request: replies[accident]
    server.after = reset
    outcome = await make("http", {"url": server.url, "method": "POST"}).perform()
    assert isinstance(outcome, Unknown), outcome
    assert "was sent, then: " in outcome.reason
    assert len(server.requests) == 1, "it is never sent a second time"
    error = failure(await make("http", {"url": server.url}).perform())
    assert (error.code, error.retryable) == ("TOOL_ERROR", True)


async def test_a_server_that_never_answers(make: Any, until: Any, server: Any) -> None:
    async def forever(request: Any) -> None:
        await asyncio.sleep(600)

    server.handler = forever
    outcome = await make("http", {"url": server.url, "method": "POST"}, timeout=0.1).perform()
    assert isinstance(outcome, Unknown)
    assert "no answer in time" in outcome.reason
    error = failure(await make("http", {"url": server.url}, timeout=0.1).perform())
    assert (error.code, error.retryable) == ("TIMEOUT", True)
    task = asyncio.ensure_future(make("http", {"url": server.url}).perform())
    await until(lambda: len(server.requests) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_that_breaks_off(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(int(request.target[1:]), b"half", Content_Length="1000")
    server.after = lambda writer: writer.close()
    error = failure(await make("http", {"url": f"{server.url}/200"}).perform())
    assert error.retryable is True
    assert "its body broke off" in error.message
    posted = await make("http", {"url": f"{server.url}/200", "method": "POST"}).perform()
    assert isinstance(posted, Unknown)
    clear = failure(await make("http", {"url": f"{server.url}/422", "method": "POST"}).perform())
    assert clear.data["body"] == "half", "a refusal is one, however much of its text arrived"
    gz = answer(200, b"not gzip at all", Content_Encoding="gzip")
    server.handler, server.after = (lambda request: gz), None
    assert "its body broke off" in failure(await make("http", {"url": server.url}).perform()).message


async def test_a_kept_connection_that_was_closed_is_replaced(make: Any, server: Any) -> None:
    drop = False

    def handler(request: Any) -> bytes | None:
        return None if drop and server.connections == 1 else answer(200, "ok")

    server.handler = handler
    for _ in range(2):
        done(await make("http", {"url": server.url}).perform())
    assert server.connections == 1, "safe requests use connections again"
    drop = True
    done(await make("http", {"url": server.url}).perform())
    assert server.connections == 2
    for _ in range(2):
        done(await make("http", {"url": server.url, "method": "POST"}).perform())
    assert server.connections == 4, "a request that must not be repeated gets a connection of its own"


# ---------------------------------------------------------------- redirects


async def test_redirects_within_the_host(make: Any, server: Any) -> None:
    def handler(request: Any) -> bytes:
        status = request.target[1:]
        return (
            answer(200, f"{request.method} {request.body.decode()}")
            if status == "end"
            else answer(int(status), Location="/end")
        )

    server.handler = handler
    for status, method, wanted in [
        (301, "GET", "GET "),
        (302, "POST", "GET "),
        (303, "PUT", "GET "),
        (307, "POST", "POST x"),
        (308, "PATCH", "PATCH x"),
        (302, "PUT", "PUT x"),
    ]:
        fields = {} if method == "GET" else {"body": "x"}
        output = done(await make("http", {"url": f"{server.url}/{status}", "method": method, **fields}).perform())
        assert (output["body"], output["url"]) == (wanted, f"{server.url}/end")
    stay = {"url": f"{server.url}/302", "follow_redirects": False}
    output = done(await make("http", stay).perform())
    assert (output["status"], output["headers"]["location"]) == (302, "/end")


async def test_credentials_stay_with_their_host(make: Any, server: Any) -> None:
    other = Server()
    listener = await asyncio.start_server(other.connection, "127.0.0.1", 0)
    there = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/there"
    server.handler = lambda request: answer(307, Location=there)
    step = {
        "url": server.url,
        "headers": {"X-Api-Key": "•", "X-Plain": "yes", "Cookie": "a=b"},
        "auth": {"bearer": "•"},
    }
    secrets = {"/auth/bearer": SECRET, "/headers/X-Api-Key": SECRET}
    done(await make("http", step, secrets=secrets).perform())
    [request] = other.requests
    assert request.headers["x-plain"] == "yes"
    assert not {"authorization", "x-api-key", "cookie"} & request.headers.keys()
    posted = done(await make("http", {**step, "method": "POST", "body": "x"}, secrets=secrets).perform())
    assert posted["status"] == 307
    assert len(other.requests) == 1, "other methods do not leave their host unless they are told to"
    forced = {**step, "method": "POST", "body": "x", "follow_redirects": True}
    done(await make("http", forced, secrets=secrets).perform())
    assert (other.requests[1].method, other.requests[1].body) == ("POST", b"x")
    assert not {"authorization", "x-api-key", "idempotency-key"} & other.requests[1].headers.keys()
    listener.close()
    other.close()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://a/", "http://a:99999/", "http://[::1", "//\x7f/"])
async def test_redirects_to_nowhere(make: Any, server: Any, location: str) -> None:
    server.handler = lambda request: answer(int(request.target[1:]), Location=location)
    error = failure(await make("http", {"url": f"{server.url}/302"}).perform())
    assert "it redirects to where we do not go" in error.message
    assert error.retryable is False
    assert isinstance(await make("http", {"url": f"{server.url}/302", "method": "POST"}).perform(), Unknown)
    assert failure(await make("http", {"url": f"{server.url}/307", "method": "POST"}).perform()).retryable is False
    stay = done(await make("http", {"url": f"{server.url}/302", "follow_redirects": False}).perform())
    assert stay["headers"]["location"] == location


async def test_what_happens_after_a_redirect_does_not_undo_what_happened_before(make: Any, server: Any) -> None:
    end = 404

    def handler(request: Any) -> bytes:
        return answer(303, Location="/made") if request.method == "POST" else answer(end)

    server.handler = handler
    outcome = await make("http", {"url": server.url, "method": "POST"}).perform()
    assert isinstance(outcome, Unknown), "the page that shows the result is missing, the POST was taken"
    server.handler = lambda request: answer(302, Location="/again")
    loop = failure(await make("http", {"url": server.url}).perform())
    assert "more than 10 redirects" in loop.message
    assert loop.retryable is False
    assert isinstance(await make("http", {"url": server.url, "method": "POST"}).perform(), Unknown)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("content", "kind", "wanted", "value", "encoding"),
    [
        (b'{"a":1}', "application/json", "auto", {"a": 1}, ""),
        (b'\xef\xbb\xbf{"a":1}', "application/problem+json; charset=UTF-8", "auto", {"a": 1}, ""),
        ('{"ä":1}'.encode("latin-1"), "application/json; charset=iso-8859-1", "auto", {"ä": 1}, ""),
        (b"{oops", "application/json", "auto", "{oops", ""),
        (b'{"a":1}', "text/plain", "auto", '{"a":1}', ""),
        (b'{"a":1}', "text/plain", "json", {"a": 1}, ""),
        (b'{"a":1}', "application/json", "text", '{"a":1}', ""),
        ("ä".encode("latin-1"), "text/html; charset=latin-1", "auto", "ä", ""),
        (b"\xff", "text/plain", "auto", "\ufffd", ""),
        (b"\xff", "text/plain; charset=no-such", "auto", "\ufffd", ""),
        (b"ab", "text/plain; charset=rot13", "auto", "ab", ""),
        (b"plain", "", "auto", "plain", ""),
        (b"\x00\x01\xff", "", "auto", "AAH/", "base64"),
        (b"a\x00b", "application/octet-stream", "auto", "YQBi", "base64"),
        (b"\x89PNG\xff", "image/png", "auto", "iVBOR/8=", "base64"),
        (b"", "application/json", "auto", None, ""),
        (b"", "", "json", None, ""),
        (b"", "", "text", "", ""),
        (b"[" * 100_000, "application/json", "auto", "[" * 100_000, ""),
        (
            b'{"n": 123456789012345678901234567890}',
            "application/json",
            "auto",
            {"n": 123456789012345678901234567890},
            "",
        ),
    ],
)
def test_body_values(content: bytes, kind: str, wanted: str, value: Any, encoding: str) -> None:
    assert body_value(content, kind, wanted) == (value, encoding)


async def test_json_that_is_none(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(200, "<html>", Content_Type="text/html")
    got = failure(await make("http", {"url": server.url, "output": "json"}).perform())
    assert "the body is not JSON: text/html" in got.message
    assert got.retryable is True
    assert got.data["body"] == "<html>"
    posted = failure(await make("http", {"url": server.url, "output": "json", "method": "POST"}).perform())
    assert posted.retryable is False


async def test_large_answers(make: Any, server: Any) -> None:
    bomb = gzip.compress(b"0" * 30_000_000)
    server.handler = lambda request: answer(
        int(request.target[1:]), bomb, Content_Encoding="gzip", Content_Type="text/plain"
    )
    error = failure(await make("http", {"url": f"{server.url}/200", "max_bytes": 1_000_000}).perform())
    assert "larger than 1.0 MB" in error.message
    assert (error.retryable, error.hint) == (False, "raise `max_bytes`")
    assert done(await make("http", {"url": f"{server.url}/200", "output": "status"}).perform())["body"] is None
    assert len(failure(await make("http", {"url": f"{server.url}/400"}).perform()).data["body"]) == 2000
    server.handler = lambda request: answer(200, b"x" * 1000)
    assert len(done(await make("http", {"url": server.url, "max_bytes": 1000}).perform())["body"]) == 1000
    assert "larger than" in failure(await make("http", {"url": server.url, "max_bytes": 999}).perform()).message


async def test_head_and_no_content(make: Any, server: Any) -> None:
    server.handler = lambda request: answer(200, Content_Length="5000")
    assert done(await make("http", {"url": server.url, "method": "HEAD", "max_bytes": 10}).perform())["body"] is None
    server.handler = lambda request: b"HTTP/1.1 204 No Content\r\n\r\n"
    assert done(await make("http", {"url": server.url, "output": "json"}).perform())["body"] is None


async def test_chunks_and_repeated_headers(make: Any, server: Any) -> None:
    server.handler = lambda request: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: a\r\nVia: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    output = done(await make("http", {"url": server.url}).perform())
    assert (output["body"], output["headers"]["via"]) == ("abcde", "a, b")


# ---------------------------------------------------------------- the client


def test_each_loop_has_clients_and_closes_them(make: Any) -> None:
    found: list[Any] = []

    async def main() -> None:
        server = Server()
        listener = await asyncio.start_server(server.connection, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*(make("http", {"url": url}).perform() for _ in range(4)))
        assert clients() is not None
        found.append(clients())
        done(await make("http", {"url": url}).perform())
        assert clients() is found[-1]
        listener.close()
        server.close()

    for _ in range(2):
        asyncio.run(main())
    assert found[0] is not found[1]
    assert all(client.is_closed for pair in found for client in (pair.keeping, pair.fresh))


async def test_certificates_that_cannot_be_read(make: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleetprompt.engine.steps import http

    def broken() -> Any:
        raise ssl.SSLError("no certificates")

    broken.cache_info = http._load.cache_info  # type: ignore[attr-defined]
    monkeypatch.setattr(http, "_load", broken)
    error = failure(await make("http", {"url": server.url}).perform())
    assert error.retryable is False
    assert "SSL_CERT_FILE" in error.hint


def test_what_it_declares() -> None:
    for method, repeats in [
        ("GET", "safe"),
        ("HEAD", "safe"),
        ("OPTIONS", "safe"),
        ("POST", "never"),
        ("PUT", "never"),
    ]:
        assert Http.model_validate({"type": "http", "url": "http://a", "method": method}).repeats() == repeats
    model = Http.model_validate(
        {"type": "http", "url": "${{ inputs.u }}", "json": {"a": "${{ inputs.b }}"}, "expect": [200]}
    )
    assert model.config() == {"url": "${{ inputs.u }}", "json": {"a": "${{ inputs.b }}"}, "expect": ["200"]}
    assert Http.model_validate({"type": "http", "url": "http://a", "method": "${{ inputs.m }}"}).repeats() == "never"
    assert Http.secret_fields == ("/headers", "/auth")
