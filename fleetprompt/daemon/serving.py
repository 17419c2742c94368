"""The HTTP server, in the loop of the engine: on an address, and on a Unix socket beside the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from msgspec import Struct

from fleetprompt.daemon.access import is_loopback
from fleetprompt.daemon.connection import Connection
from fleetprompt.engine.core.errors import InvalidInput, Refused

PORT = 8377
"""Where the daemon listens unless it is told otherwise."""
GRACE_SECONDS = 5
"""How long requests that are being answered may take when the daemon ends."""
MOST_CONNECTIONS = 4_000
BACKLOG = 2_048


class Address(Struct, frozen=True, kw_only=True):
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = PORT
    """0: any free one."""
    socket: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        return not is_loopback(self.host)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals of the process belong to the daemon, which closes the engine, too."""
        yield


def bind(address: Address) -> list[socket.socket]:
    """The sockets of an address. Raises `Refused` for one that is taken, `InvalidInput` for one that cannot be."""
    found = [_bound(address.host, address.port)]
    if address.socket is not None:
        found.append(_local(address.socket))
    return found


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
    except socket.gaierror:
        raise InvalidInput(f"`{host}` is no address of this machine") from None
    except OSError as error:
        hint = "give another --port, or stop what listens there"
        raise Refused(f"cannot listen on {host}:{port}: {(error.strerror or '').lower()}", hint=hint) from None
    sock.setblocking(False)
    return sock


def _local(path: Path) -> socket.socket:
    """A Unix socket for its owner only. One that a dead process has left is replaced: whoever holds the engine's lock
    is alone here."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise Refused(f"cannot listen on {path}: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def certificate(address: Address) -> ssl.SSLContext | None:
    """What makes an address one of HTTPS. Raises `InvalidInput` for files that cannot be used."""
    if address.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (address.certificate, address.key):
        if file is not None and not file.is_file():
            hint = "--tls-cert and --tls-key, or [serve] in fleet.toml, name a certificate and its key"
            raise InvalidInput("there is no such file", where=str(file), hint=hint)
    try:
        context.load_cert_chain(address.certificate, address.key)
    except (OSError, ssl.SSLError) as error:
        # OpenSSL has no reason for what is in none of its forms.
        reason = "not in PEM, or not a key" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        why = str(getattr(error, "reason", None) or reason).lower().replace("_", " ")
        hint = "give a certificate in PEM and the key that it was made with: `fleet doctor` looks at both"
        raise InvalidInput(
            f"the certificate and its key cannot be used: {why}", where=str(address.certificate), hint=hint
        ) from None
    return context


@contextlib.asynccontextmanager
async def serving(app: FastAPI, address: Address, closing: asyncio.Event) -> AsyncGenerator[str]:
    """Answer requests while this lasts; the URL. `closing` is set when it ends, before answers are waited for.

    Raises `Refused` where something else listens already, `InvalidInput` for what cannot be listened on.
    """
    context = certificate(address)
    network, *local = bind(address)
    # TLS is for the network: on the Unix socket the kernel says who it is.
    servers = [(_server(app, context), [network]), *((_server(app, None), [sock]) for sock in local)]
    host, port = network.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(server.serve(sockets)) for server, sockets in servers]
            # uvicorn has no other way to say that it has started.
            while not all(server.started or task.done() for (server, _), task in zip(servers, tasks, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            try:
                yield f"{'https' if context is not None else 'http'}://{shown}:{port}"
            finally:
                closing.set()
                for server, _ in servers:
                    server.should_exit = True
    finally:
        for sock in (network, *local):
            sock.close()
        if address.socket is not None:
            address.socket.unlink(missing_ok=True)


def _server(app: FastAPI, context: ssl.SSLContext | None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=BACKLOG,
    )
    config.load()
    config.ssl = context
    return _Server(config)
