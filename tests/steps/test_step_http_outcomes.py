"""`http` against real servers on loopback: what each answer, and each accident, means."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest
from steplab import Server, answer, done, failure, until

from fleetprompt.engine.outside.http_answer import body_value, retry_after
from fleetprompt.engine.ports import Unknown

SECRET = "s3cret-value"


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


async def test_a_server_that_never_answers(make: Any, server: Any) -> None:
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
