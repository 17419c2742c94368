"""What can be wrong with a daemon's set-up: its address, who is let in, its certificate, its clock, its version."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetprompt import __version__
from fleetprompt.client.database import store_of
from fleetprompt.client.diagnosis import Finding
from fleetprompt.client.notifying import behind
from fleetprompt.client.observing import target_of
from fleetprompt.client.opening import Place
from fleetprompt.client.wording import rough
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.notice_settings import NoticeSettings
from fleetprompt.engine.ports import Page, Store
from fleetprompt.engine.runtime.wire import LONGEST_PATH, ask_health

DAY = 86_400.0
SOON_DAYS = 21
"""Days before which a certificate should be a new one."""
AHEAD_SECONDS = 60.0
"""What is recorded may be so far ahead of the clock."""
PATIENCE = 3.0
"""Seconds for an answer."""
MOST_BEHIND = 10_000
"""Facts that a channel may be behind."""


class DaemonSetUp(Struct, frozen=True, kw_only=True):
    """A daemon as the settings say it is to be."""

    host: str
    port: int
    socket: Path
    certificate: Path | None = None
    key: Path | None = None
    traces: bool = False
    trace_headers: Mapping[str, str] = {}
    notifications: Mapping[str, NoticeSettings] = {}

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


async def diagnose_daemon(place: Place, setup: DaemonSetUp) -> list[Finding]:
    """Everything about a daemon, in the order in which it should be put right."""
    answer = await _answer(setup.socket)
    found = [_socket(setup.socket, answer), await _port(setup, answer), _version(answer), _tls(setup)]
    if place.file is None or place.file.exists():
        with suppress(FleetError):  # That it cannot be opened is told already.
            async with store_of(place) as store:
                found += [await _tokens(store, setup), await _clock(store), await _switch(store)]
            found += await _notifications(place, setup)
    if setup.traces and find_spec("opentelemetry.sdk") is None:
        found.append(_missing("traces", "otel", "[telemetry] names a receiver"))
    elif setup.traces and answer is None:
        found.append(_trace_headers(setup))
    return [one for one in found if one is not None]


# ---------------------------------------------------------------- where it listens


async def _answer(socket: Path) -> dict[str, Any] | None:
    """What a daemon says of itself over its socket; None where none answers."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(socket)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            return dict(json.loads(body)) if head.startswith(b"HTTP/1.1 200") else None
    except (OSError, ValueError):  # `TimeoutError` is an `OSError`
        return None


def _socket(path: Path, answer: dict[str, Any] | None) -> Finding:
    if len(bytes(path)) > LONGEST_PATH:
        return Finding("socket", "fail", f"{path} is too long for a socket", "a project with a shorter path")
    if not path.exists():
        return Finding("socket", "ok", f"no daemon: {path} comes with `fleet serve`")
    status = path.stat()
    mode = status.st_mode & 0o777
    if mode & 0o077:
        return Finding("socket", "fail", f"{path} is open to others ({mode:04o})", f"chmod 600 {path}, restart it")
    if status.st_uid != os.getuid():
        return Finding("socket", "warn", f"{path} is of another user (uid {status.st_uid})", "work as that user")
    if answer is None:
        return Finding("socket", "warn", f"nobody answers at {path}", "start `fleet serve`, which replaces it")
    return Finding("socket", "ok", f"{path} ({mode:04o}): the daemon is {answer.get('status')}")


async def _port(setup: DaemonSetUp, answer: dict[str, Any] | None) -> Finding:
    where = f"{setup.host}:{setup.port}"
    if setup.port == 0:
        return Finding("port", "ok", f"{setup.host}, any free port")
    host = "127.0.0.1" if setup.host in ("0.0.0.0", "") else "::1" if setup.host == "::" else setup.host
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, setup.port)
            writer.close()
    except OSError:
        if answer is None:
            return Finding("port", "ok", f"{where} is free")
        return Finding("port", "warn", f"a daemon runs, but not at {where}", "it was started with another --port?")
    if answer is None:
        return Finding("port", "fail", f"something else listens at {where}", "another `port` in [serve], or stop it")
    return Finding("port", "ok", f"somebody listens at {where}, and a daemon runs")


def _version(answer: dict[str, Any] | None) -> Finding | None:
    if answer is None:
        return None
    theirs = str(answer.get("version"))
    if theirs != __version__:
        text = f"the daemon is version {theirs}, this is {__version__}"
        return Finding("version", "warn", text, "restart the daemon: `systemctl restart fleet`")
    return Finding("version", "ok", f"the daemon is version {theirs}, as this")


# ---------------------------------------------------------------- who is let in, and how


def _tls(setup: DaemonSetUp) -> Finding | None:
    if setup.certificate is None:
        if setup.is_public:
            text = f"{setup.host} can be reached by others, and there is no certificate: `fleet serve` refuses that"
            return Finding("tls", "fail", text, "tls_cert and tls_key in [serve], or 127.0.0.1 behind a proxy")
        return None
    for file in (setup.certificate, setup.key or setup.certificate):
        if not os.access(file, os.R_OK):
            return Finding("tls", "fail", f"{file} cannot be read", "check `tls_cert` and `tls_key` of [serve]")
    key = setup.key or setup.certificate
    if key.stat().st_mode & 0o077:
        return Finding("tls", "fail", f"the private key {key} can be read by others", f"chmod 600 {key}")
    try:
        until = expires(setup.certificate, setup.key)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        return Finding("tls", "fail", f"the certificate cannot be used: {reason}", "get a new one, with its own key")
    left = until - time.time()
    if left < SOON_DAYS * DAY:
        return Finding("tls", "warn", f"the certificate ends in {rough(left)}", "renew it, and restart the daemon")
    return Finding("tls", "ok", f"the certificate is good for {rough(left)}")


def expires(certificate: Path, key: Path | None) -> float:
    """Until when a certificate is good, in epoch seconds. Raises `ssl.SSLError` for one that is not, or that is not of
    this key. It is shown to ourselves in memory: that says what a client would see."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (server.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there))
    left = list(ends)
    while left:
        for end in reversed(ends):
            if end in left:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    left.remove(end)
    shown = ends[1].getpeercert()
    return ssl.cert_time_to_seconds(str(shown["notAfter"])) if shown else 0.0


async def _tokens(store: Store, setup: DaemonSetUp) -> Finding:
    if await store.tokens.any_counts(time.time()):
        return Finding("tokens", "ok", "there are tokens that count (`fleet token`)")
    if setup.is_public:
        text = f"{setup.host} can be reached by others, and there is no token: `fleet serve` refuses that"
        return Finding("tokens", "fail", text, "fleet token create NAME --role operator")
    return Finding("tokens", "ok", "there is none: only this machine is let in")


# ---------------------------------------------------------------- what it works with


async def _clock(store: Store) -> Finding:
    from fleetprompt.engine.core.query import parse
    from fleetprompt.engine.core.query_fields import RUN_FIELDS

    now = time.time()
    heads, _ = await store.runs.list(parse("", RUN_FIELDS), Page(limit=1), now=now)
    ahead = max((head.updated_at - now for head in heads), default=0.0)
    if ahead > AHEAD_SECONDS:
        text = f"the clock is {rough(ahead)} behind what is recorded: schedules and timers wait for it"
        return Finding("clock", "fail", text, "let chrony or systemd-timesyncd set it")
    return Finding("clock", "ok", "nothing that is recorded is ahead of it")


async def _switch(store: Store) -> Finding | None:
    moved = [each for each in await store.operations.switches() if each.position != "on"]
    if not moved:
        return None
    whose = ", ".join(f"{'the fleet' if each.tenant == '*' else each.tenant} is {each.position}" for each in moved)
    return Finding("switch", "warn", f"{whose} (by {moved[0].by})", "`fleet switch on` lets everything go on")


async def _notifications(place: Place, setup: DaemonSetUp) -> list[Finding]:
    channels = setup.notifications
    if not channels:
        return []
    if any(each.apprise for each in channels.values()) and find_spec("apprise") is None:
        return [_missing("notify", "notify", "[notifications] uses apprise")]
    health = await ask_health(place.socket)
    if health is not None and health.unsent:
        remedy = "messages are sent again until they are taken; `fleet notify test` says whether it works"
        return [Finding("notify", "warn", f"{name}: {why}", remedy) for name, why in health.unsent.items()]
    late = {name: left for name, left in (await behind(place, channels)).items() if left and left > MOST_BEHIND}
    if late:
        name, left = next(iter(late.items()))
        text = f"the channel {name} is {left:,} facts behind"
        return [Finding("notify", "warn", text, "`fleet notify test` says whether it works")]
    return [Finding("notify", "ok", f"{len(channels)} channels (`fleet notify test` tries them)")]


def _trace_headers(setup: DaemonSetUp) -> Finding | None:
    """A unit may give the daemon what is not set here, so it is a warning."""
    try:
        target_of("-", setup.trace_headers, "")
    except InvalidInput as error:
        return Finding("traces", "warn", f"{error.where}: {error.message} here, and `fleet serve` needs it", error.hint)
    return None


def _missing(what: str, extra: str, why: str) -> Finding:
    return Finding(what, "fail", f"{why}, and it is not installed", f"pip install 'fleetprompt[{extra}]'")
