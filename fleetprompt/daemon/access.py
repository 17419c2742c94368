"""Who asks: by a bearer token, by the Unix socket, or, from this machine only, by what they say of themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import math
import os
import pwd
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

from fastapi import Request
from msgspec import Struct

from fleetprompt.client.identity import DEFAULT_TENANT, Identity, Role, checked_name
from fleetprompt.daemon.problems import HttpProblem

USER, ORGANIZATION, PROJECT = "X-elevAIte-UserId", "X-elevAIte-OrganizationId", "X-elevAIte-ProjectId"
LOOKED_SECONDS = 4.0
"""For how long it is believed that a token counts, of those who listen by it."""
TICKET_SECONDS = 600.0
"""How long a ticket admits: a browser that loses its connection comes back with the same address."""

Authenticate = Callable[[str], Awaitable[Identity | None]]
"""The identity of a bearer token; None for one that does not count."""


HasTokens = Callable[[], Awaitable[bool]]
"""Whether anybody, of whatever tenant, has a token that counts."""


Counts = Callable[[str], Awaitable[bool]]
"""Whether the token of an id, by which somebody was let in, still counts."""


Failed = Callable[[str, int], Awaitable[None]]
"""Told of who was not let in: their address, and the status that they were answered with."""


class Rules(Struct, frozen=True, kw_only=True):
    """Who is let in."""

    operator: str
    """Who has started the daemon."""
    local_role: Role | None = "admin"
    """What those may do who come from this machine without a token; None: nothing."""
    hosts: frozenset[str] = frozenset()
    """Names by which the daemon may be called besides those of this machine."""
    origins: frozenset[str] = frozenset()
    """Pages that may call it from a browser."""


class Access:
    """Tells the identity behind each request."""

    def __init__(
        self,
        rules: Rules,
        authenticate: Authenticate,
        has_tokens: HasTokens,
        clock: Callable[[], float] = time.time,
        failed: Failed | None = None,
        counts: Counts | None = None,
    ) -> None:
        """`failed` is told of whoever was not let in; `counts` tells of tokens whether they still do (None: always)."""
        self._rules = rules
        self._authenticate = authenticate
        self._has_tokens = has_tokens
        self._clock = clock
        self._failed = failed
        self._counts = counts
        self._looked: dict[str, float] = {}
        """Tokens that counted, and when that was looked at."""
        self._key = secrets.token_bytes(32)

    async def identity(self, request: Request) -> Identity:
        """Who asks. Raises `HttpProblem` with 401 or 403."""
        try:
            return await self._identity(request)
        except HttpProblem as problem:
            if self._failed is not None and problem.status in (401, 403):
                await self._failed(_sender(request), problem.status)
            raise

    async def _identity(self, request: Request) -> Identity:
        token = _bearer(request)
        if token is not None:
            found = await self._authenticate(token)
            if found is None:
                raise _unauthorized("the token is not valid: unknown, expired or revoked", error="invalid_token")
            return found
        ticket = request.query_params.get("ticket")
        if ticket is not None and request.method == "GET":
            return await self._admitted(ticket)
        uid = peer(request)
        if uid is not None:
            return _of_socket(request, uid)
        if self._rules.local_role is None or not _is_local(request):
            raise _unauthorized("a bearer token is needed")
        headers = request.headers
        user, tenant = headers.get(USER, ""), headers.get(ORGANIZATION, "")
        if user or tenant:
            await self.require_claims()
        if user:
            checked_name(user, f"name in {USER}")
        if tenant:
            checked_name(tenant, f"name in {ORGANIZATION}")
        name = user or self._rules.operator
        return Identity(name=name, tenant=tenant or DEFAULT_TENANT, role=self._rules.local_role, via="http")

    async def require_claims(self) -> None:
        """Refuse that somebody only says who they are, where others have to show it. Raises `HttpProblem`."""
        if await self._has_tokens():
            raise _unauthorized("there are tokens: who asks, and for whom, is told by one, and not by what is claimed")

    # ------------------------------------------------------------ browsers

    @property
    def origins(self) -> frozenset[str]:
        """Pages of other sites that may call from a browser."""
        return self._rules.origins

    def check_page(self, request: Request) -> None:
        """Refuse what a page on another site, or a name that was pointed at this machine, has sent. Raises
        `HttpProblem`."""
        if peer(request) is not None:
            return
        asked = request.headers.get("host", "")
        host = _parts(f"//{asked}").hostname or ""
        if not (_is_this_machine(host) or host in self._rules.hosts or host == _address(request)):
            raise HttpProblem(421, "this host is not served here", hint="see `hosts` of [serve] in fleet.toml")
        origin = request.headers.get("origin")
        if origin is None or origin in self._rules.origins:
            return
        parts = _parts(origin)
        if parts.netloc != asked or parts.scheme not in ("http", "https"):
            raise HttpProblem(403, "this page may not call here", hint="see `origins` of [serve] in fleet.toml")

    def ticket(self, identity: Identity) -> tuple[str, float]:
        """A text that admits to streams as this identity, for a while; and until when."""
        until = self._clock() + TICKET_SECONDS
        said = json.dumps([until, identity.name, identity.tenant, identity.credential]).encode()
        return f"{_text(said)}.{_text(self._signed(said))}", until

    async def still(self, identity: Identity) -> bool:
        """Whether somebody who was let in would be now: the token that they have shown counts. Raises
        `StoreUnavailable`."""
        credential, now = identity.credential, self._clock()
        if not credential or self._counts is None or self._looked.get(credential, -math.inf) > now - LOOKED_SECONDS:
            return True
        counts = await self._counts(credential)
        self._looked = {id_: at for id_, at in self._looked.items() if at > now - LOOKED_SECONDS}
        if counts:
            self._looked[credential] = now
        return counts

    async def _admitted(self, ticket: str) -> Identity:
        try:
            said, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in ticket.split("."))
        except ValueError:
            raise _unauthorized("the ticket is not valid") from None
        if not hmac.compare_digest(self._signed(said), signature):
            raise _unauthorized("the ticket is not valid")
        until, name, tenant, credential = json.loads(said)
        if until < self._clock():
            raise _unauthorized("the ticket has expired", hint="POST /api/tickets gives a new one")
        identity = Identity(name=name, tenant=tenant, role="viewer", via="http", credential=credential)
        if not await self.still(identity):
            raise _unauthorized("the token that the ticket was given for is not valid any more")
        return identity

    def _signed(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, hashlib.sha256)


def _parts(text: str) -> SplitResult:
    """The parts of an address; none of what is no address."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def project(request: Request) -> str:
    """The tenant's project that a request is about. Raises `InvalidInput`."""
    said = request.headers.get(PROJECT, "")
    return checked_name(said, f"name in {PROJECT}") if said else ""


def peer(request: Request) -> int | None:
    """The user id at the other end of a Unix socket; None for what came over the network."""
    client = request.scope.get("client")
    host = client[0] if client else ""
    return int(host.removeprefix("uid:")) if host.startswith("uid:") else None


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_socket(request: Request, uid: int) -> Identity:
    if uid not in (os.getuid(), 0):
        raise HttpProblem(403, "this socket is for the user who runs the daemon")
    # The kernel has said who it is. Nothing may get into a tenant that was not meant.
    if request.headers.get(ORGANIZATION, DEFAULT_TENANT) != DEFAULT_TENANT:
        raise HttpProblem(403, "this socket is of the project's own tenant", hint="show a token of the other one")
    return Identity(name=_user(uid), tenant=DEFAULT_TENANT, role="admin", via="http")


def _bearer(request: Request) -> str | None:
    said = request.headers.get("authorization")
    if said is None:
        return None
    scheme, _, token = said.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("this is no bearer token")
    return token.strip()


def _unauthorized(detail: str, *, error: str = "", hint: str = "`fleet token create` makes a token") -> HttpProblem:
    challenge = 'Bearer realm="fleet"' + (f', error="{error}"' if error else "")
    return HttpProblem(401, detail, hint=hint, headers={"WWW-Authenticate": challenge})


def _is_local(request: Request) -> bool:
    """Whether it comes from this machine. A proxy on it does, too: it has to forward a token."""
    client = request.scope.get("client")
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    return client is not None and is_loopback(client[0]) and not forwarded


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def _sender(request: Request) -> str:
    """The address of who asks."""
    client = request.scope.get("client")
    return str(client[0]) if client else "unknown"


def _address(request: Request) -> str:
    server = request.scope.get("server")
    return server[0] if server else ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
