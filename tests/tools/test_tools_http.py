"""Asking servers: what comes back, what is never reached, and where credentials go."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.outside import http_exchange
from fleetprompt.engine.outside.http_request import Unusable, prepare
from fleetprompt.engine.ports.world import Done, Failed, Unknown
from fleetprompt.engine.tools._hosts import Hosts, Pinning, checked_host, read_host
from tests.tools.toolkit import Room, call, done, preview, problem, refusal

CANARY = "CANARY/9f+e3 token"


class Server:
    """A server on this machine that remembers what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                server.requests.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                server.answer(self)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.at = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        status, headers, body = 200, {"Content-Type": "application/json"}, b'{"ok": true}'
        if path == "/large":
            headers, body = {"Content-Type": "application/json"}, b"[" + b"1," * 2_000_000 + b"1]"
        elif path == "/echo":
            body = json.dumps(dict(handler.headers)).encode()
        elif path.startswith("/to/"):
            status, headers["Location"] = 302, path.removeprefix("/to/")
        elif path == "/again":
            status, headers["Location"] = 307, "/ok"
        elif path == "/500":
            status = 500
        elif path == "/404":
            status, body = 404, b'{"error": "no such thing"}'
        elif path == "/reset":
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except OSError:
            handler.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def room_for(tmp_path: Path, *hosts: str, **more: Any) -> Room:
    secrets = more.pop("secrets", {})
    return Room(tmp_path, {"hosts": list(hosts), **more}, secrets=secrets)


async def test_an_allowed_host_is_asked(tmp_path: Path, server: Server) -> None:
    room = room_for(tmp_path, server.at)
    shown = await preview(room, "http.request", url=f"http://{server.at}/ok", query={"q": "a b", "r": ["1", "2"]})
    assert (shown.reach, shown.repeat, shown.verdict) == ("read", "safe", "allow")
    assert shown.subject["host"] == "127.0.0.1"
    assert shown.subject["port"] == server.port
    answer = await done(room, "http.request", url=f"http://{server.at}/ok", query={"q": "a b", "r": ["1", "2"]})
    assert (answer["status"], answer["body"], answer["cut"]) == (200, {"ok": True}, False)
    method, path, headers, _ = server.requests[-1]
    assert (method, path) == ("GET", "/ok?q=a%20b&r=1&r=2")
    assert headers["Host"] == server.at
    assert "Idempotency-Key" not in headers
    assert (await done(room, "http.request", url=f"http://{server.at}/404"))["body"] == {"error": "no such thing"}


async def test_what_changes_something_is_asked_for_and_carries_the_key(tmp_path: Path, server: Server) -> None:
    room = room_for(tmp_path, server.at)
    arguments = {"method": "POST", "url": f"http://{server.at}/ok", "json": {"a": 1}}
    shown = await preview(room, "http.request", **arguments)
    assert (shown.reach, shown.verdict, shown.kind) == (None, None, "http")
    assert shown.show["body"] == '{"a":1}'
    await done(room, "http.request", **arguments)
    method, _, headers, body = server.requests[-1]
    assert (method, body, headers["Idempotency-Key"]) == ("POST", b'{"a":1}', room.key)


async def test_no_host_is_allowed_by_itself(tmp_path: Path, server: Server) -> None:
    said = await refusal(room_for(tmp_path), "http.request", url=f"http://{server.at}/ok")
    assert f"`{server.at}` is not an allowed host" in said
    assert f'[tools.http] hosts = ["{server.at}"]' in said
    for hosts in (["127.0.0.1"], [f"127.0.0.2:{server.port}"], ["*.0.0.1"], ["localhost"]):
        assert "is not an allowed host" in await refusal(
            room_for(tmp_path, *hosts) if hosts != ["*.0.0.1"] else room_for(tmp_path),
            "http.request",
            url=f"http://{server.at}/ok",
        )
    assert server.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0x7f.1",
        "017700000001",
        "127.0.0.01",
        "[::ffff:127.0.0.1%25lo]",
        "127.0.0.1.1",
        "①②⑦.0.0.1",
        "exa%6dple.com",
        "a..b",
        "-a.com",
    ],
)
def test_hosts_have_one_spelling(host: str) -> None:
    with pytest.raises(Unusable):
        checked_host(host.strip("[]"))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("evil.test", "169.254.169.254"),
        ("169.254.169.254:80", "169.254.169.254"),
        ("evil.test", "::ffff:169.254.169.254"),
        ("evil.test", "100.100.100.200"),
        ("evil.test", "192.0.0.192"),
        ("evil.test", "0.0.0.0"),
        ("evil.test", "fd00:ec2::254"),
        ("[fd00:ec2::254]:80", "fd00:ec2::254"),
        ("evil.test", "fe80::1"),
        ("evil.test", "::"),
        ("evil.test", "224.0.0.1"),
        ("evil.test", "255.255.255.255"),
        ("evil.test", "10.1.2.3"),
        ("evil.test", "192.168.1.1"),
        ("evil.test", "172.16.0.1"),
        ("evil.test", "100.64.0.1"),
        ("evil.test", "fc00::1"),
        ("evil.test", "127.0.0.1"),
        ("evil.test", "::1"),
        ("evil.test:80", "127.0.0.1"),
        ("evil.test", "::ffff:10.0.0.1"),
        ("evil.test", "64:ff9b::a9fe:a9fe"),
        ("evil.test", "2002:a9fe:a9fe::1"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("evil.test", "::7f00:1"),
    ],
)
def test_addresses_that_are_never_reached(entry: str, address: str) -> None:
    everything = Hosts([entry], ["10.20.0.0/16"])
    assert everything.refusal(read_host(entry), ip_address(address))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("good.test", "93.184.216.34"),
        ("good.test", "2606:2800:220:1::1"),
        ("good.test", "10.20.3.4"),
        ("192.168.7.7", "192.168.7.7"),
        ("127.0.0.1:8081", "127.0.0.1"),
        ("localhost:8081", "::1"),
        ("[::1]:8081", "::1"),
    ],
)
def test_addresses_that_are(entry: str, address: str) -> None:
    assert not Hosts([entry], ["10.20.0.0/16"]).refusal(read_host(entry), ip_address(address))


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:a9fe:a9fe]"])
async def test_nobody_is_told_to_allow_what_is_never_reached(tmp_path: Path, host: str) -> None:
    said = await refusal(room_for(tmp_path), "http.request", url=f"http://{host}/latest/meta-data/")
    assert "link-local, a metadata service" in said
    assert "never reached" in said
    assert "hosts =" not in said


async def test_metadata_cannot_be_allowed(tmp_path: Path) -> None:
    room = room_for(tmp_path, "169.254.169.254", networks=["0.0.0.0/0"])
    said = await refusal(room, "http.request", url="http://169.254.169.254/latest/meta-data/")
    assert "is link-local, a metadata service" in said


async def test_a_name_that_changes_its_address_is_not_followed(tmp_path: Path, server: Server) -> None:
    """DNS rebinding: the first look-up gives a good address, the next one another."""
    answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    context = ssl.create_default_context()
    clients = http_exchange.Clients(context)
    pin = Pinning(Hosts([f"shop.test:{server.port}"], ["127.0.0.0/8"]), resolve)
    try:
        for path, expected in (("/ok", 200), ("/ok", "which is link-local")):
            request = _get(f"http://shop.test:{server.port}{path}")
            answer = await http_exchange.exchange(
                clients, request, follow="same host", reuse=False, limit=lambda status: 1000, timeout=5, pin=pin
            )
            if isinstance(expected, int):
                assert isinstance(answer, http_exchange.Answer)
                assert answer.status == expected
                assert server.requests[-1][2]["Host"] == f"shop.test:{server.port}"
            else:
                assert isinstance(answer, http_exchange.Trouble)
                assert "is link-local" in answer.reason
        # Within one request the name is looked up once: what was looked at is what is connected to.
        assert len(asked) == 2
        assert len(server.requests) == 1
        answers[2:] = [["127.0.0.1"], ["10.0.0.1"]]
        request = _get(f"http://shop.test:{server.port}/again")
        answer = await http_exchange.exchange(
            clients, request, follow="same host", reuse=False, limit=lambda status: 1000, timeout=5, pin=pin
        )
        assert isinstance(answer, http_exchange.Trouble)
        assert "10.0.0.1, which is private" in answer.reason
    finally:
        await clients.aclose()


async def test_a_name_with_one_bad_address_is_not_reached(server: Server) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "169.254.169.254"]

    pin = Pinning(Hosts([f"shop.test:{server.port}"], ["127.0.0.0/8"]), resolve)
    with pytest.raises(Unusable, match=r"169\.254\.169\.254"):
        await pin(f"http://shop.test:{server.port}/")


def _get(url: str) -> Any:
    return prepare(method="GET", url=url, key="k", headers={}, secret_headers=frozenset(), query={})


async def test_redirects_stay_on_the_host(tmp_path: Path, server: Server) -> None:
    other = Server()
    room = room_for(tmp_path, server.at, other.at)
    try:
        assert (await done(room, "http.request", url=f"http://{server.at}/to//ok"))["status"] == 200
        outcome = await call(room, "http.request", url=f"http://{server.at}/to/http://{other.at}/ok")
        assert isinstance(outcome, Failed)
        assert "redirects to another host, which is not followed" in outcome.error.message
        assert other.requests == []
        posted = await done(room, "http.request", method="POST", url=f"http://{server.at}/to/http://{other.at}/ok")
        assert posted["status"] == 302
        assert other.requests == []
    finally:
        other.close()


async def test_a_large_answer_is_cut(tmp_path: Path, server: Server) -> None:
    answer = await done(room_for(tmp_path, server.at), "http.request", url=f"http://{server.at}/large")
    assert answer["cut"]
    assert len(answer["body"]) == 1024 * 1024


async def test_credentials_go_to_their_host_and_are_seen_nowhere(tmp_path: Path, server: Server) -> None:
    other = Server()
    auth = {"bearer": "TOKEN", "headers": {"X-Api-Key": "TOKEN"}}
    room = room_for(tmp_path, server.at, other.at, auth={server.at: auth}, secrets={"TOKEN": CANARY})
    try:
        shown = await preview(room, "http.request", url=f"http://{server.at}/echo")
        assert shown.show["headers"] == {"X-Api-Key": "secret TOKEN", "Authorization": "Bearer secret TOKEN"}
        answer = await done(room, "http.request", url=f"http://{server.at}/echo")
        assert server.requests[-1][2]["Authorization"] == f"Bearer {CANARY}"
        assert server.requests[-1][2]["X-Api-Key"] == CANARY
        assert answer["body"]["X-Api-Key"] == "•••"
        await done(room, "http.request", url=f"http://{other.at}/echo")
        assert CANARY not in str(other.requests)
        seen = f"{shown}{answer}{room.logged}"
        assert CANARY not in seen
        said = await refusal(room, "http.request", url=f"http://{server.at}/echo", headers={"authorization": "mine"})
        assert "is set by the engine for this host" in said
    finally:
        other.close()


async def test_basic_credentials_do_not_come_back_encoded(tmp_path: Path, server: Server) -> None:
    auth = {"user": "ana", "password": "TOKEN"}
    room = room_for(tmp_path, server.at, auth={server.at: auth}, secrets={"TOKEN": CANARY})
    answer = await done(room, "http.request", url=f"http://{server.at}/echo")
    assert answer["body"]["Authorization"] == "Basic •••"


async def test_credentials_are_not_sent_in_the_clear(tmp_path: Path) -> None:
    room = room_for(tmp_path, "shop.test:80", auth={"shop.test:80": {"bearer": "T"}}, secrets={"T": CANARY})
    assert "not sent without TLS" in await refusal(room, "http.request", url="http://shop.test/")
    missing = room_for(tmp_path, "shop.test", auth={"shop.test": {"bearer": "NONE"}})
    outcome = await call(missing, "http.request", url="https://shop.test/")
    assert isinstance(outcome, Failed)
    assert "secret `NONE` is not defined" in outcome.error.message


async def test_nobody_knows_what_became_of_a_request_that_was_lost(tmp_path: Path, server: Server) -> None:
    room = room_for(tmp_path, server.at)
    lost = await call(room, "http.request", method="POST", url=f"http://{server.at}/reset")
    assert isinstance(lost, Unknown)
    error = await call(room, "http.request", method="POST", url=f"http://{server.at}/500")
    assert isinstance(error, Unknown)
    read = await call(room, "http.request", url=f"http://{server.at}/reset")
    assert isinstance(read, Failed)
    assert (await done(room, "http.request", url=f"http://{server.at}/500"))["status"] == 500
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    never = await call(
        room_for(tmp_path, f"127.0.0.1:{port}"), "http.request", method="POST", url=f"http://127.0.0.1:{port}/"
    )
    closed.close()
    assert isinstance(never, Failed)
    assert never.error.retryable


async def test_an_answer_that_does_not_come_ends_with_its_time(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    at = f"127.0.0.1:{silent.getsockname()[1]}"
    room = room_for(tmp_path, at, timeout=0.3)
    read = await call(room, "http.request", url=f"http://{at}/")
    assert isinstance(read, Failed)
    assert read.error.code == "TIMEOUT"
    assert isinstance(await call(room, "http.request", method="PUT", url=f"http://{at}/"), Unknown)
    silent.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"url": "ftp://x.test/"}, "has to begin with http"),
        ({"url": "http://u:p@x.test/"}, "holds a name or a password"),
        ({"url": "http://x.test:99999/"}, "malformed"),
        ({"url": "http://x.test/\\@y.test"}, "a backslash"),
        ({"url": "http://x.test/", "headers": {"X": "a\r\nHost: y"}}, "a line break"),
    ],
)
async def test_addresses_that_cannot_be_meant(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    assert said in await refusal(room_for(tmp_path, "x.test"), "http.request", **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"url": "http://x.test/", "headers": {"Host": "y"}}, "`Host` cannot be set"),
        ({"url": "http://x.test/", "json": 1}, "a GET request has no body"),
        ({"url": "http://x.test/", "method": "POST", "json": 1, "body": "x"}, "exclude each other"),
        ({"url": "http://x.test/", "method": "TRACE"}, "`method` should be 'GET', 'HEAD'"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], said: str) -> None:
    assert said in problem("http.request", arguments)


@pytest.mark.parametrize("hosts", [["127.1"], ["a b"], ["x:0"], ["http://x/y"], ["[::1"]])
async def test_lists_that_cannot_be_meant(tmp_path: Path, hosts: list[str]) -> None:
    said = await refusal(room_for(tmp_path, *hosts), "http.request", url="http://x.test/")
    assert "[tools.http] of the settings cannot be used: `" in said


async def test_a_server_has_to_prove_its_name_at_the_pinned_address(tmp_path: Path) -> None:
    key, certificate = tmp_path / "k", tmp_path / "c"
    await asyncio.to_thread(
        subprocess.run,
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
            "-days",
            "2",
            "-subj",
            "/CN=good.test",
            "-addext",
            "subjectAltName=DNS:good.test",
        ],
        check=True,
        capture_output=True,
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    server = Server(theirs)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    clients = http_exchange.Clients(ssl.create_default_context(cafile=str(certificate)))
    hosts = Hosts([f"good.test:{server.port}", f"evil.test:{server.port}"], ["127.0.0.0/8"])
    try:
        for name, ok in (("good.test", True), ("evil.test", False)):
            answer = await http_exchange.exchange(
                clients,
                _get(f"https://{name}:{server.port}/ok"),
                follow="same host",
                reuse=False,
                limit=lambda status: 1000,
                timeout=5,
                pin=Pinning(hosts, resolve),
            )
            assert isinstance(answer, http_exchange.Answer) is ok, answer
            if isinstance(answer, http_exchange.Trouble):
                assert "certificate is not accepted" in answer.reason
    finally:
        await clients.aclose()
        server.close()


async def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Server()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{proxy.at}")
    outcome = await call(room_for(tmp_path, server.at), "http.request", url=f"http://{server.at}/ok")
    proxy.close()
    assert isinstance(outcome, Done)
    assert proxy.requests == []
