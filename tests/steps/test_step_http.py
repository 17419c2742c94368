"""`http` against real servers on loopback: what is sent, and what can never be sent."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from typing import Any

import pytest
from pydantic import ValidationError
from steplab import Server, answer, done, failure

from fleetprompt.engine.outside.http_exchange import clients
from fleetprompt.engine.outside.http_request import Unusable, checked_url, shown
from fleetprompt.engine.steps.http import Http

SECRET = "s3cret-value"


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
    assert done(outcome)["body"]["authorization"] == "Basic •••"
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
    assert shown("https://u:p@h:1/x?Access_Token=1&b=2") == "https://h:1/x?Access_Token=•••&b=2"


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
